"""An OAuth client in tests: registers, is let in by the owner, has its tokens."""

import base64
import hashlib
import json
import secrets
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.client import Answer, Client
from tests.support.serving import Served
from tests.support.visitor import Visitor, field

REDIRECT = "https://client.example/cb"
NOTES = "io.cozy.test.notes"


def challenge_of(verifier: str) -> str:
    """PKCE's S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


class Application:
    """One client of one instance.

    :param owner: her browser, logged in.
    :param public: without a secret.
    """

    def __init__(self, owner: Visitor, *, public: bool = False, **metadata: Any) -> None:
        self.owner = owner
        self.served = owner.served
        self.host = owner.host
        given = {"redirect_uris": [REDIRECT], "client_name": "Notes", "software_id": "example.org/notes", "client_kind": "mobile"}
        if public:
            given["token_endpoint_auth_method"] = "none"
        made = self.post_json("/auth/register", given | metadata)
        assert made.status == 201, made.body
        self.registration: dict[str, Any] = made.json
        self.id: str = made.json["client_id"]
        self.secret: str = made.json.get("client_secret", "")
        self.registration_token: str = made.json["registration_access_token"]
        self.verifier = secrets.token_urlsafe(48)

    def post_json(self, path: str, body: Any, method: str = "POST", **headers: str) -> Answer:
        given = {"Content_Type": "application/json", "Accept": "application/json"} | headers
        return Visitor(self.served, self.host).ask(method, path, json.dumps(body).encode(), **given)

    def request(self, scope: str = NOTES, *, pkce: bool = True, **more: str) -> dict[str, str]:
        """The parameters of an authorization request; an empty one is left out."""
        given = {
            "client_id": self.id,
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "scope": scope,
            "state": "s1",
            "code_challenge": challenge_of(self.verifier) if pkce else "",
            "code_challenge_method": "S256" if pkce else "",
        }
        return {name: value for name, value in (given | more).items() if value}

    def page(self, scope: str = NOTES, *, pkce: bool = True, **more: str) -> Answer:
        """What the owner sees."""
        return self.owner.get(f"/auth/authorize?{urlencode(self.request(scope, pkce=pkce, **more))}")

    def agree(self, scope: str = NOTES, *, pkce: bool = True, **more: str) -> Answer:
        """The owner agrees on the page."""
        page = self.page(scope, pkce=pkce)
        assert page.status == 200, page.body
        return self.owner.post("/auth/authorize", self.request(scope, pkce=pkce) | {"csrf_token": field(page, "csrf_token")} | more)

    def code(self, scope: str = NOTES, *, pkce: bool = True) -> str:
        """A fresh code."""
        agreed = self.agree(scope, pkce=pkce)
        assert agreed.status == 302, agreed.body
        return parse_qs(urlsplit(agreed.headers["Location"]).query)["code"][0]

    def ask_token(self, **fields: str) -> Answer:
        """A request to the token endpoint with the client's credentials; an empty field is left out."""
        given = {"client_id": self.id, "client_secret": self.secret} | fields
        return Visitor(self.served, self.host).post("/auth/access_token", {name: value for name, value in given.items() if value})

    def exchange(self, code: str, **fields: str) -> Answer:
        """A code for tokens."""
        return self.ask_token(**{"grant_type": "authorization_code", "code": code, "code_verifier": self.verifier} | fields)

    def refresh(self, token: str, **fields: str) -> Answer:
        """A refresh token for tokens."""
        return self.ask_token(**{"grant_type": "refresh_token", "refresh_token": token} | fields)

    def tokens(self, scope: str = NOTES, *, pkce: bool = True) -> dict[str, str]:
        """What the whole way gives."""
        answer = self.exchange(self.code(scope, pkce=pkce), **{} if pkce else {"code_verifier": ""})
        assert answer.status == 200, answer.body
        found: dict[str, str] = answer.json
        return found


def with_token(served: Served, token: str, host: str | None = None) -> Client:
    """Somebody with this token."""
    found = Client.__new__(Client)
    found.served, found.domain, found.host, found.token, found.password = served, served.domain, host or served.domain, token, ""
    found.patience = 30
    return found
