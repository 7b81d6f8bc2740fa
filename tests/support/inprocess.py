"""A tenant's JSON services in this process, through the front, without a socket: any principal, any configuration."""

import json
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from werkzeug.test import Client as WsgiClient
from werkzeug.test import TestResponse

from blueprints import create_app
from cozyd.auth import Credentials
from cozyd.auth.clients import Client
from cozyd.config import Config, Storage
from cozyd.instance import Instance
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from dav import mounts
from tests.support.stack import Clock
from workers import TABLE

JSONAPI = "application/vnd.api+json"


class Place:
    """A stack and its front, for the tests of a module: each has a tenant of its own there.

    :param tables: of the configuration, other than the defaults.
    """

    def __init__(self, folder: Path, **tables: Any) -> None:
        self.clock = Clock()
        self.stack = Stack(replace(Config(storage=Storage(path=folder)), **tables), TABLE, now=self.clock)
        self.client = WsgiClient(Front(self.stack, create_app(self.stack).wsgi_app, mounts(), self.stack.config.limits), use_cookies=False)
        self._made = 0

    def tenant(self, **options: Any) -> "Tenant":
        """A new instance, whose owner has chosen a passphrase."""
        self._made += 1
        instance = self.stack.create(f"alice{self._made}.localhost", **options)
        instance.amend(onboarding_finished=True, password_defined=True)
        return Tenant(self, instance)


class Tenant:
    """One instance and whoever asks it something."""

    def __init__(self, place: Place, instance: Instance) -> None:
        self.place = place
        self.stack = place.stack
        self.clock = place.clock
        self.instance = instance

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str = "", cookie: str = "", host: str = "", **headers: str
    ) -> TestResponse:
        """A request; a body that is no bytes is sent as JSON."""
        given = {"Host": host or self.instance.domain, "Accept": JSONAPI} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        if token:
            given["Authorization"] = f"Bearer {token}"
        if cookie:
            given["Cookie"] = f"cozysessid={cookie}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return self.place.client.open(path, method=method, data=data, headers=given, buffered=True)

    def cli(self, method: str, path: str, body: Any = None, *, scope: str = "io.cozy.settings", **headers: str) -> TestResponse:
        """As the command line does, with a scope."""
        return self.ask(method, path, body, token=self.instance.auth.cli_token(scope), **headers)

    def app(self, method: str, path: str, body: Any = None, *, slug: str = "settings", scope: str = "io.cozy.settings") -> TestResponse:
        """As a web app does, beside the owner's session."""
        cookie = self.session()
        token = self.instance.auth.app_token(slug, scope, session_id=self.instance.auth.sessions.id_of(cookie))
        return self.ask(method, path, body, token=token, cookie=cookie)

    def letters(self) -> list[tuple[str, str]]:
        """Addressees and texts of the mails that wait to be sent, oldest first."""
        jobs = [stored.doc for stored in self.instance.docs.all("io.cozy.jobs").rows if stored.doc.get("worker") == "sendmail"]
        found = [one for job in jobs for one in self.instance.mails.mailings(job["message"])]
        return [(",".join(one.recipients), _plain(one.message)) for one in found]

    def session(self) -> str:
        """The cookie of a session of the owner."""
        return self.instance.auth.open_session(Credentials(), long_run=True)

    def connected(self, name: str, kind: str = "desktop") -> Client:
        """A client that she let in."""
        clients = self.instance.auth.clients
        made = clients.register({"redirect_uris": ["app://x"], "client_name": name, "client_kind": kind, "software_id": "x"})
        return clients.note(made, pending=...)

    def access(self, client: Client, scope: str) -> str:
        """An access token of a client."""
        return self.instance.auth._sign("access", client.id, scope=scope)


def _plain(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())
