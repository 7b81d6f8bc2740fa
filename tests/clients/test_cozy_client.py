"""cozy-client from npm, unmodified: registers, is let in with PKCE, works, shares, refreshes by itself, learns that it was revoked."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.serving import Served
from tests.support.visitor import Visitor, field

HERE = Path(__file__).parent / "cozy_client"
REDIRECT = "http://localhost:9/callback"
NOTES = "io.cozy.test.cozyclient"
SCOPE = ("io.cozy.files", "io.cozy.permissions", NOTES)


class CozyClient:
    """cozy-client in a node process.

    :param owner: the browser of the owner, logged in.
    """

    def __init__(self, owner: Visitor) -> None:
        if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
            pytest.skip("cozy-client is not installed: `make test` does it where node and npm are")
        self.owner = owner
        self._node = subprocess.Popen(["node", "flow.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str, **given: Any) -> Any:
        """Run a command; its answer. When it opens the browser, the owner lets it in."""
        answer = self._exchange({"command": command, **given})
        while "open" in answer:
            answer = self._exchange({"landed": self._let_in(answer["open"])})
        assert "error" not in answer, answer
        return answer["value"]

    def fails(self, command: str, **given: Any) -> str:
        """The message of a command that fails."""
        return str(self._exchange({"command": command, **given})["error"])

    def _let_in(self, address: str) -> str:
        parts = urlsplit(address)
        page = self.owner.get(f"{parts.path}?{parts.query}")
        assert page.status == 200, page.body
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        agreed = self.owner.post("/auth/authorize", asked | {"csrf_token": field(page, "csrf_token")})
        assert agreed.status == 302, agreed.body
        return str(agreed.headers["Location"])

    def _exchange(self, message: Any) -> Any:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps(message) + "\n")
        self._node.stdin.flush()
        guard = threading.Timer(60, self._node.kill)
        guard.start()
        line = next((line for line in self._node.stdout if line.startswith(">> ")), "")
        guard.cancel()
        assert line, f"cozy-client did not answer {message}"
        return json.loads(line.removeprefix(">> "))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._node.kill()
        self._node.communicate()


@pytest.fixture(scope="module")
def owner(served: Served) -> Visitor:
    return Visitor(served, f"localhost:{served.port}").log_in()


@pytest.fixture
def client(owner: Visitor) -> Iterator[CozyClient]:
    with CozyClient(owner) as found:
        oauth = {"redirectURI": REDIRECT, "softwareID": "example.org/test", "clientName": "cozy-client", "clientKind": "desktop"}
        found.ask("connect", uri=owner.served.base, scope=list(SCOPE), oauth=oauth)
        yield found


def test_it_registers_is_let_in_with_pkce_and_works(client: CozyClient):
    token = client.ask("authorize")
    assert token["tokenType"] == "bearer"
    assert token["scope"] == " ".join(SCOPE)
    made = client.ask("create", doctype=NOTES, fields={"title": "from cozy-client"})
    assert made["title"] == "from cozy-client"
    assert client.ask("list", doctype=NOTES) >= 1


def test_it_refreshes_when_asked_and_by_itself(client: CozyClient):
    first = client.ask("authorize")
    second = client.ask("refresh")
    assert second["accessToken"] != first["accessToken"]
    assert second["refreshToken"] == first["refreshToken"]
    client.ask("forget")
    assert client.ask("create", doctype=NOTES, fields={"title": "after a refresh"})["title"] == "after a refresh"


def test_it_shares_a_file_by_link_finds_the_link_and_ends_it(client: CozyClient):
    client.ask("authorize")
    client.ask("create", doctype=NOTES, fields={})
    root = "io.cozy.files.root-dir"
    shared = client.ask("share", file=root)
    assert len(shared["codes"]) == len(shared["shortcodes"]) == 1
    assert client.ask("links", file=root) == 1
    client.ask("stopSharing", file=root)
    assert client.ask("links", file=root) == 0


def test_it_reads_changes_and_ends_its_registration(client: CozyClient):
    client.ask("authorize")
    assert client.ask("information")["client_name"].startswith("cozy-client")
    client.ask("update", fields={"clientName": "Renamed"})
    assert client.ask("information")["client_name"].startswith("Renamed")
    assert client.ask("isRevoked") is False
    client.ask("unregister")
    assert "registered" in client.fails("information")


def test_it_learns_that_it_was_revoked(owner: Visitor, client: CozyClient):
    client.ask("authorize")
    options = client.ask("options")
    answer = owner.ask(
        "DELETE", f"/auth/register/{options['clientID']}", None, Authorization=f"Bearer {options['registrationAccessToken']}"
    )
    assert answer.status == 204
    assert client.ask("isRevoked") is True
