"""Plays the requests that were recorded from a lived-in cozy against our server, and compares the answers (fixture/README.md)."""

import hashlib
import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

FIXTURE = Path(__file__).parent / "fixture"
EXPECTED = json.loads((FIXTURE / "expected.json").read_text(encoding="utf-8"))
ACCESS = EXPECTED["access"]
_PLACEHOLDER = re.compile(r"<[a-z_]+>")


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Player:
    """One run, in the recorded order.

    :param port: where the server listens on loopback.
    :param token: of the CLI, with the scope `ACCESS["cli_scope"]`.
    """

    port: int
    token: str
    access_token: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    def play(self, recorded: Mapping[str, Any]) -> list[str]:
        """Send a request; how its answer differs from the recorded one, nothing when it does not."""
        answer = self.send(recorded)
        if recorded["title"] == "refresh" and answer.status == 200:
            self.access_token = json.loads(answer.body)["access_token"]
        return differences(recorded, answer)

    def send(self, recorded: Mapping[str, Any]) -> Answer:
        """Send a request as whoever it was recorded for."""
        headers = {"Accept": "application/json", **recorded.get("headers", {})}
        who = recorded["as"]
        if who == "login":
            return self.log_in(recorded, headers)
        token = self.token_of(who)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if self.cookies and "cookie of the previous answer" in recorded.get("note", ""):
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        path = recorded["path"]
        if "<secret>" in path:
            path = self._followed(recorded["note"])
        body = None
        if "form" in recorded:
            body = urlencode(recorded["form"]).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif "body" in recorded:
            body = json.dumps(recorded["body"]).encode()
            headers.setdefault("Content-Type", "application/json")
        return self.ask(recorded["method"], path, headers, body, host=recorded.get("host", ACCESS["domain"]))

    def token_of(self, who: str) -> str:
        """The bearer token of somebody, empty when there is none."""
        kind, _, rest = who.partition(":")
        name, _, code = rest.partition(":")
        if kind == "share":
            return str(ACCESS["share_codes"][name][code])
        if kind == "short":
            return str(ACCESS["share_shortcodes"][name][code])
        known = {"cli": self.token, "registration": ACCESS["oauth"]["registration_access_token"], "oauth-refreshed": self.access_token}
        return str(known.get(kind, ""))

    def _followed(self, note: str) -> str:
        """`follow links.small of GET /files/...`."""
        link, path = re.fullmatch(r"follow links\.(\w+) of GET (\S+)", note).groups()  # type: ignore[union-attr]
        answer = self.ask("GET", path, {"Authorization": f"Bearer {self.token}"})
        return str(json.loads(answer.body)["data"]["links"][link])

    def log_in(self, recorded: Mapping[str, Any], headers: dict[str, str]) -> Answer:
        """Send the form of the log-in page."""
        page = self.ask("GET", "/auth/login", {"Accept": "text/html"})
        token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', page.body)
        assert token, page.body[:2000]
        form = recorded["form"] | {"csrf_token": token[1].decode()}
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = headers | {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
        return self.ask("POST", recorded["path"], sent, urlencode(form).encode())

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None, *, host: str = ACCESS["domain"]
    ) -> Answer:
        """Send a request to the server, under the name of the instance."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie") or ():
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def differences(recorded: Mapping[str, Any], answer: Answer) -> list[str]:
    """How an answer differs from the recorded one."""
    found = []
    if answer.status != recorded["status"]:
        return [f"status {answer.status}, not {recorded['status']}: {answer.body[:200]!r}"]
    for name, value in recorded["answer_headers"].items():
        got = answer.headers.get(name, "")
        if (got.partition(";")[0] if name == "content-type" else got) != value:
            found.append(f"{name}: {got!r}, not {value!r}")
    if "sha256" in recorded and hashlib.sha256(answer.body).hexdigest() != recorded["sha256"]:
        found.append(f"other bytes ({len(answer.body)}, not {recorded['length']})")
    if "lines" in recorded and [json.loads(line) for line in answer.body.splitlines()] != recorded["lines"]:
        found.append(f"other lines: {answer.body[:300]!r}")
    if "json" in recorded:
        try:
            got = json.loads(answer.body)
        except ValueError:
            return [*found, f"no JSON: {answer.body[:200]!r}"]
        want, got = _ordered(recorded, recorded["json"]), _ordered(recorded, got)
        found += compare(want, got, "")
    return found


def _ordered(recorded: Mapping[str, Any], value: Any) -> Any:
    """A list whose order does not count, in one that does not change."""
    name = recorded.get("unordered")
    if name == "top" and isinstance(value, list):
        return sorted(value, key=_plain)
    if name and isinstance(value, dict) and isinstance(value.get(name), list):
        return value | {name: sorted(value[name], key=_plain)}
    return value


def _plain(value: Any) -> str:
    """What is compared of an entry first: its id, without what changes."""
    return str(value.get("id") or value) if isinstance(value, dict) else str(value)


def compare(want: Any, got: Any, where: str) -> list[str]:
    """How two JSON values differ; placeholders of the recorded one stand for any text."""
    if isinstance(want, dict) and isinstance(got, dict):
        found = [f"{where}.{name} is missing" for name in want.keys() - got.keys()]
        found += [f"{where}.{name} is new: {got[name]!r}" for name in got.keys() - want.keys()]
        return found + [line for name in want.keys() & got.keys() for line in compare(want[name], got[name], f"{where}.{name}")]
    if isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            return [f"{where} has {len(got)} entries, not {len(want)}"]
        return [line for at, pair in enumerate(zip(want, got, strict=True)) for line in compare(*pair, f"{where}[{at}]")]
    if isinstance(want, str) and _PLACEHOLDER.fullmatch(want):
        return []
    if isinstance(want, str) and _PLACEHOLDER.search(want) and isinstance(got, str):
        pattern = "".join(".*" if _PLACEHOLDER.fullmatch(part) else re.escape(part) for part in re.split(r"(<[a-z_]+>)", want))
        return [] if re.fullmatch(pattern, got, re.DOTALL) else [f"{where}: {got!r}, not {want!r}"]
    return [] if want == got and isinstance(want, bool) == isinstance(got, bool) else [f"{where}: {got!r}, not {want!r}"]
