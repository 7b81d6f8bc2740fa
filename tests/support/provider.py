"""A small OpenID Connect provider on loopback, made of Authlib's server grants: it knows one client, and whoever `user` says."""

import os
import threading
import time
from typing import Any, Self

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode as BaseOpenIDCode
from authlib.oidc.core import UserInfo
from flask import Flask, jsonify, request
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

from tests.support.serving import free_port

CLIENT, SECRET = "cozyd", "a secret of the operator"


class Provider:
    """The provider; `claims` changes what it says, `key` what it signs with, `asked` is what came to its token endpoint."""

    def __init__(self, *, public: bool = False) -> None:
        os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.user: dict[str, Any] = {"sub": "alice"}
        self.claims: dict[str, Any] = {}
        self.nonces = True
        self.key = self.signs_with = RSAKey.generate_key(2048, {"kid": "1"})
        self.asked: list[dict[str, str]] = []
        self.redirects: list[str] = []
        self.codes: dict[str, Any] = {}
        self.app = self._made(public)
        self._server = make_server("127.0.0.1", self.port, self.app, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def _made(self, public: bool) -> Flask:
        app = Flask("provider")
        server = AuthorizationServer(app, query_client=lambda _: _Client(self, public), save_token=lambda *_: None)
        server.register_grant(_grant(self, public), [_OpenIDCode(self), CodeChallenge(required=True)])

        @app.get("/authorize")
        def authorize() -> Any:
            return server.create_authorization_response(grant_user=self.user, grant=server.get_consent_grant(self.user))

        @app.post("/token")
        def token() -> Any:
            self.asked.append(request.form.to_dict())
            return server.create_token_response()

        @app.get("/jwks")
        def jwks() -> Any:
            return jsonify(KeySet([self.key]).as_dict(private=False))

        @app.get("/.well-known/openid-configuration")
        def description() -> Any:
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks", "end_session_endpoint": "logout"}
            return jsonify({"issuer": self.issuer} | {name: f"{self.issuer}/{path}" for name, path in names.items()})

        return app


class _Client:
    def __init__(self, provider: Provider, public: bool) -> None:
        self.provider, self.public = provider, public
        self.client_id = CLIENT
        self.id_token_signed_response_alg = "RS256"

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self.provider.redirects[0]

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, uri: str) -> bool:
        return uri in self.provider.redirects

    def check_client_secret(self, secret: str) -> bool:
        return secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == ("none" if self.public else "client_secret_post")

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"

    def check_grant_type(self, kind: str) -> bool:
        return kind == "authorization_code"


class _Code:
    def __init__(self, given: Any) -> None:
        data = given.payload.data
        self.redirect_uri, self.scope, self.nonce = data["redirect_uri"], data["scope"], data.get("nonce", "")
        self.code_challenge, self.code_challenge_method = data.get("code_challenge"), data.get("code_challenge_method")

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str:
        return str(self.nonce)

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


def _grant(provider: Provider, public: bool) -> Any:
    class Grant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["none" if public else "client_secret_post"]

        def save_authorization_code(self, code: str, given: Any) -> None:
            provider.codes[code] = _Code(given)

        def query_authorization_code(self, code: str, client: Any) -> Any:
            return provider.codes.get(code)

        def delete_authorization_code(self, code: Any) -> None:
            provider.codes = {name: one for name, one in provider.codes.items() if one is not code}

        def authenticate_user(self, code: Any) -> Any:
            return provider.user

    return Grant


class _OpenIDCode(BaseOpenIDCode):
    def __init__(self, provider: Provider) -> None:
        super().__init__(require_nonce=True)
        self.provider = provider

    def exists_nonce(self, nonce: str, given: Any) -> bool:
        return False

    def resolve_client_private_key(self, client: Any) -> Any:
        return self.provider.signs_with

    def get_client_claims(self, client: Any) -> dict[str, Any]:
        return {"iss": self.provider.issuer, "aud": [CLIENT]}

    def get_authorization_code_claims(self, code: Any) -> Any:
        return super().get_authorization_code_claims(code) if self.provider.nonces else {"nonce": "another"}

    def generate_user_info(self, user: Any, scope: str) -> UserInfo:
        return UserInfo(**(user | self.provider.claims))
