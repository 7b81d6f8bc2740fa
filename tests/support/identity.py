"""What tests of passphrases, codes and mails share: a person's cloud in this process, her browsers, and the mails it wrote."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from werkzeug.test import Client as WsgiClient
from werkzeug.test import TestResponse

from blueprints import create_app
from cozyd.auth import Credentials
from cozyd.auth.passphrase import NewPassphrase
from cozyd.auth.passwords import ITERATIONS, derive
from cozyd.auth.values import Kdf
from cozyd.instance import Instance
from cozyd.mails import Mailing
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from dav import mounts
from tests.support.serving import PASSPHRASE
from tests.support.stack import Clock, open_stack
from tests.support.visitor import Visitor
from workers import TABLE

FEW = 50_000
"""Iterations, so that deriving costs little."""
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def derived(passphrase: str = PASSPHRASE, host: str = "alice.localhost") -> str:
    """What an official client sends."""
    return derive(passphrase, Kdf(f"me@{host}", ITERATIONS))


def private_key_of(vault: Mapping[str, Any], passphrase: str, host: str) -> RSAPrivateKey:
    """What a Bitwarden client opens with the passphrase: the key, and with that the private half of the pair."""

    def decrypted(text: str, key: bytes) -> bytes:
        iv, content = (base64.b64decode(part) for part in text.split("|")[:2])
        decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
        padded = decryptor.update(content) + decryptor.finalize()
        return padded[: -padded[-1]]

    master = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), f"me@{host}".encode(), vault["passphrase_kdf_iterations"])
    assert vault["key"].startswith("0.")
    assert vault["private_key"].startswith("2.")
    key, sealed = decrypted(vault["key"][2:], master), vault["private_key"][2:]
    iv, content, mac = (base64.b64decode(part) for part in sealed.split("|"))
    assert hmac.digest(key[32:], iv + content, "sha256") == mac
    private = load_der_private_key(decrypted(sealed, key[:32]), None)
    assert isinstance(private, RSAPrivateKey)
    assert private.key_size == 2048
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert base64.b64decode(vault["public_key"]) == public
    return private


class Home:
    """One person's cloud in this process, with its pages as browsers see them and the mails it wrote.

    :param stack: with the workers' table, so that mails are jobs.
    """

    def __init__(self, stack: Stack, name: str, *, email: bool = True, passphrase: str | None = PASSPHRASE) -> None:
        self.stack = stack
        self.instance: Instance = stack.create(f"{name}.localhost", email=f"{name}@example.org" if email else "")
        self.host = self.instance.domain
        self.read = 0
        self._app = WsgiClient(Front(stack, create_app(stack).wsgi_app, mounts(), stack.config.limits), use_cookies=False)
        if passphrase is not None:
            self.choose(passphrase)

    def choose(self, passphrase: str) -> None:
        """Have a passphrase, by few iterations; nobody has tried to log in yet, and no mail is there."""
        value = derive(passphrase, Kdf(f"me@{self.host}", FEW))
        self.instance.auth.replace_passphrase(NewPassphrase(value, FEW), None, "passphrase_chosen")

    @property
    def invitation(self) -> str:
        """Its token as links carry it."""
        return base64.b64decode(self.instance.doc["register_token"]).hex()

    def browser(self, agent: str = AGENT) -> "Browser":
        """Somebody's browser."""
        return Browser(self, agent)

    def owner(self, agent: str = AGENT) -> "Browser":
        """The owner's browser, logged in by a session of its own."""
        found = self.browser(agent)
        auth = self.instance.auth
        found.cookies["cozysessid"] = auth.open_session(Credentials(address="127.0.0.1", agent=agent), "passphrase", long_run=False)
        return found

    def token(self, scope: str, app: str = "") -> dict[str, str]:
        """Headers of the operator's script, or of an app."""
        auth = self.instance.auth
        token = auth.app_token(app, scope) if app else auth.cli_token(scope)
        return {"Authorization": f"Bearer {token}", "Content_Type": "application/json", "Accept": "application/json"}

    def open(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> "Page":
        """A request."""
        return Page(
            self._app.open(path, method=method, data=body, headers=headers, environ_base={"REMOTE_ADDR": "127.0.0.1"}, buffered=True)
        )

    # -- mails ------------------------------------------------------------------------------------------------------

    def mails(self) -> list[Mailing]:
        """The mails it wrote since they were looked at last."""
        jobs = sorted(self.instance.jobs.queue("sendmail"), key=lambda job: job.id)
        new, self.read = jobs[self.read :], len(jobs)
        return [mailing for job in new for mailing in self.instance.mails.mailings(job.message)]

    def mail(self) -> str:
        """The one mail it wrote meanwhile, as text."""
        (found,) = self.mails()
        part = found.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content())

    def code(self) -> str:
        """The six digits in that mail."""
        found = re.search(r"\b(\d{6})\b", self.mail())
        assert found is not None
        return found[1]

    def link(self) -> str:
        """The path of the link in that mail."""
        found = re.search(r"https?://[^/\s]+(/auth/\S+)", self.mail())
        assert found is not None
        return found[1]


class Page:
    """What came: status, headers, body, as `Answer` has them."""

    def __init__(self, response: TestResponse) -> None:
        self.status = response.status_code
        self.headers = Message()
        for name, value in response.headers:
            self.headers[name] = value
        self.body = response.get_data()
        response.close()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Browser(Visitor):
    """A browser without script in front of a `Home`."""

    def __init__(self, home: Home, agent: str) -> None:
        self.home = home
        self.host = home.host
        self.cookies: dict[str, str] = {}
        self.agent = agent

    def ask(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Any:
        """A request with the browser's cookies; those of the answer are kept."""
        given = {"Host": self.host, "Accept": "text/html", "User-Agent": self.agent}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer: Any = self.home.open(method, path, body, given)
        self._keep(answer)
        return answer

    def send(self, method: str, path: str, body: Any, **headers: str) -> Any:
        """JSON."""
        return self.ask(
            method, path, json.dumps(body).encode(), **{"Content_Type": "application/json", "Accept": "application/json"} | headers
        )

    def enter(self, passphrase: str = PASSPHRASE, **more: str) -> Any:
        """Fill in the log-in form with the passphrase as clients derive it; the answer is JSON."""
        named = {name.replace("_", "-"): value for name, value in more.items()}
        value = derive(passphrase, Kdf(f"me@{self.host}", self.home.instance.auth.passphrase.kdf().iterations))
        fields = {"passphrase": value, "csrf_token": self.csrf("/auth/login")} | named
        return self.post("/auth/login", fields, Accept="application/json")


@contextmanager
def homes(folder: Path) -> Iterator[tuple[Stack, Clock]]:
    """A stack in this process with its workers' table, and its clock."""
    clock = Clock()
    stack = open_stack(folder / "data", clock, TABLE)
    try:
        yield stack, clock
    finally:
        stack.close()
