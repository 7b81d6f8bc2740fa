"""A browser without script: keeps cookies, sends forms, follows nothing by itself."""

import http.client
import re
from html import unescape
from http.cookies import SimpleCookie
from typing import Self
from urllib.parse import urlencode

from cozyd.auth.passwords import ITERATIONS, derive
from cozyd.auth.values import Kdf
from tests.support.client import Answer
from tests.support.serving import PASSPHRASE, Served


class Visitor:
    """One person's browser on one host.

    :param host: Host header; the address is always loopback.
    """

    def __init__(self, served: Served, host: str | None = None) -> None:
        self.served = served
        self.host = host or served.domain
        self.cookies: dict[str, str] = {}
        self.agent = ""

    def ask(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Answer:
        """A request with her cookies; those of the answer are kept."""
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=30)
        given = {"Host": self.host, "Accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if self.agent:
            given["User-Agent"] = self.agent
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request(method, path, body, given)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        self._keep(answer)
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, fields: dict[str, str] | list[tuple[str, str]], **headers: str) -> Answer:
        """Send a form."""
        return self.ask("POST", path, urlencode(fields).encode(), Content_Type="application/x-www-form-urlencoded", **headers)

    def csrf(self, path: str) -> str:
        """The token in the forms of a page."""
        return field(self.get(path), "csrf_token")

    def submit_login(self, passphrase: str = PASSPHRASE, *, clear: bool = False, **more: str) -> Answer:
        """Fill in the log-in form: derived as official clients do, or in clear as without script; `more` are fields, or Accept."""
        salt = f"me@{self.served.domain.partition(':')[0]}"
        given = passphrase if clear else derive(passphrase, Kdf(salt, ITERATIONS))
        accept = {"Accept": more.pop("Accept")} if "Accept" in more else {}
        named = {name.replace("_", "-"): value for name, value in more.items()}
        fields = {"passphrase": given, "csrf_token": self.csrf("/auth/login"), "clear": "1" if clear else "0"} | named
        return self.post("/auth/login", fields, **accept)

    def log_in(self) -> Self:
        """As the owner."""
        assert self.submit_login().status == 303
        return self

    def _keep(self, answer: Answer) -> None:
        for line in answer.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                if morsel.value and morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)


def field(page: Answer, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.body.decode())
    assert found is not None, page.body[:500]
    return unescape(found[1])
