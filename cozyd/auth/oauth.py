"""OAuth 2 by Authlib's grants, in the words of the reference (RFC 6749, 7009, 7636, 8414, 9207, 9700; docs/http/oauth.md)."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from cozyd.auth.bearer import EVERYTHING, LINKED, LOGIN
from cozyd.auth.clients import Client, Clients
from cozyd.auth.grants import Code, Grant, Grants
from cozyd.auth.tokens import Audience, Claims
from cozyd.errors import BadRequest, BadToken, NotFound
from cozyd.permissions import parse_scope

Form = Mapping[str, Sequence[str]]
"""The fields of a form or query; a field that is there twice is no field of ours."""
TOKEN_METHODS = ["client_secret_post", "none"]
_CHALLENGE = 43


@dataclass(frozen=True, slots=True)
class Tokens:
    """How tokens of clients are made and read.

    :param sign: audience, client id, scope, grant, id -> text.
    :param read: text -> claims; raises BadToken.
    :param domain: who issues them now.
    """

    domain: str
    sign: Callable[[Audience, str, str, str, str], str]
    read: Callable[[str], Claims]


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked authorization request: what a client asks the owner for.

    :param scope: empty for a log-in only.
    """

    client: Client
    scope: str
    redirect_uri: str
    state: str
    challenge: str = ""

    @property
    def is_uncertified(self) -> bool:
        """Whether everything is asked for by a client that the owner has not certified."""
        return self.scope == EVERYTHING and self.client.stored.doc.get("flagship") is not True


class OAuth:
    """The authorization server of one instance, for one request.

    :param issuer: its address without a slash at the end, as the client asked it (RFC 8414, section 2).
    """

    def __init__(self, clients: Clients, grants: Grants, tokens: Tokens, issuer: str) -> None:
        self._clients = clients
        self._grants = grants
        self.issuer = issuer
        self._server = _Server(clients, grants, tokens, issuer)

    def asked(self, form: Form, *, reads_scope: bool = True) -> Asked:
        """Check an authorization request; its errors are for the owner to see, and never redirected.

        :param reads_scope: whether the rules of the scope are looked at; who logs in first, and comes back, is told of them then.
        :raises BadRequest: something is missing or wrong.
        """
        given = _single(form)
        client = self._check_request(given)
        scope = self._scope(client, given, is_read=reads_scope)
        try:
            self._server.get_consent_grant(_Request(given | {"scope": scope}))
        except OAuth2Error as error:
            raise BadRequest(f"Error {error.description or error.error}") from error
        return Asked(client, scope, given["redirect_uri"], given["state"], given.get("code_challenge", ""))

    def approve(self, asked: Asked, client_os: str = "") -> str:
        """Make the code, as the owner said yes; where to send it, code, state and issuer in the query.

        :param client_os: of the browser that was used.
        :raises BadRequest: everything is asked for by a client that is not certified.
        """
        if asked.is_uncertified:
            raise BadRequest("Error This application is not certified for such a scope")
        noted = {"client_os": client_os} if client_os else {}
        client = self._clients.note(asked.client, pending=..., created_at_onboarding=..., **noted)
        given = {
            "response_type": "code",
            "client_id": client.id,
            "redirect_uri": asked.redirect_uri,
            "scope": asked.scope,
            "state": asked.state,
        }
        if asked.challenge:
            given |= {"code_challenge": asked.challenge, "code_challenge_method": "S256"}
        request = _Request(given)
        grant = self._server.get_authorization_grant(request)
        answer: _Answer = self._server.create_authorization_response(request, grant_user=asked, grant=grant)
        return answer.location + "#"  # browsers would carry over the fragment of the page before

    def denial(self, asked: Asked) -> str:
        """Where to go when the owner says no."""
        more = {"error": "access_denied", "state": asked.state, "iss": self.issuer}
        return _with_query(asked.redirect_uri, more)

    def token(self, form: Form) -> Mapping[str, Any]:
        """Exchange a code or a refresh token.

        :returns: what RFC 6749, section 5.1, has; `refresh_token` is left out on refresh when the old one stays good.
        :raises BadRequest: with the sentences that clients of the reference know.
        """
        given = _single(form)
        for name in ("grant_type", "client_id"):
            if not given.get(name):
                raise BadRequest(f"the {name} parameter is mandatory")
        self._check_client(given)
        if given["grant_type"] == "authorization_code" and not given.get("code"):
            raise BadRequest("the code parameter is mandatory")
        given.pop("scope", None)
        answer: _Answer = self._server.create_token_response(_Request(given))
        made: Mapping[str, Any] = answer.body
        return made

    def check_client(self, client_id: str, client_secret: str) -> None:
        """:raises BadRequest: the client is unknown, or shows another secret."""
        self._check_client({"client_id": client_id, "client_secret": client_secret})

    def certified(self, client_id: str, client_secret: str) -> Mapping[str, Any] | None:
        """Tokens for everything, for a flagship to which the owner gave her passphrase; None: the client is none.

        :raises BadRequest: the client is unknown, or shows another secret.
        """
        client = self._check_client({"client_id": client_id, "client_secret": client_secret})
        if client.stored.doc.get("flagship") is not True:
            return None
        client = self._clients.note(client, pending=...)
        return self._server.make_tokens(client, self._grants.start(client.id, EVERYTHING))

    def revoke(self, form: Form) -> None:
        """End the grant that a token came from (RFC 7009); a token that is none is fine.

        :raises BadRequest: the client is unknown, or the token is another one's.
        """
        given = _single(form)
        self._check_client(given)
        self._server.create_endpoint_response("revocation", _Request(given))

    def metadata(self) -> Mapping[str, Any]:
        """What clients may know beforehand (RFC 8414)."""
        found = AuthorizationServerMetadata(
            issuer=self.issuer,
            authorization_endpoint=f"{self.issuer}/auth/authorize",
            token_endpoint=f"{self.issuer}/auth/access_token",
            registration_endpoint=f"{self.issuer}/auth/register",
            revocation_endpoint=f"{self.issuer}/auth/revoke",
            response_types_supported=["code"],
            response_modes_supported=["query"],
            grant_types_supported=["authorization_code", "refresh_token"],
            token_endpoint_auth_methods_supported=TOKEN_METHODS,
            revocation_endpoint_auth_methods_supported=TOKEN_METHODS,
            code_challenge_methods_supported=["S256"],
            authorization_response_iss_parameter_supported=True,
        )
        return dict(found)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _check_request(self, given: Mapping[str, str]) -> Client:
        """In the order of the reference.

        :raises BadRequest: the first thing that is wrong.
        """
        for name in ("state", "client_id", "redirect_uri"):
            if not given.get(name):
                raise BadRequest(f"Error No {name} parameter")
        if given.get("response_type") != "code":
            raise BadRequest("Error Invalid response type")
        challenge, method = given.get("code_challenge", ""), given.get("code_challenge_method", "")
        if challenge and method != "S256":
            raise BadRequest("Error Invalid challenge code method")
        if method and not challenge:
            raise BadRequest("Error No challenge code")
        if challenge and len(challenge) != _CHALLENGE:
            raise BadRequest("Error Invalid challenge code")
        try:
            client = self._clients.get(given["client_id"])
        except NotFound:
            raise BadRequest("Error No registered client") from None
        if not client.check_redirect_uri(given["redirect_uri"]):
            raise BadRequest("Error Incorrect redirect_uri")
        if client.is_public and not challenge:
            raise BadRequest("Error No challenge code")
        return client

    @staticmethod
    def _scope(client: Client, given: Mapping[str, str], *, is_read: bool) -> str:
        """What is asked for; a client linked to an app asks for what that has."""
        scope = " ".join(given.get("scope", "").split())
        if scope == EVERYTHING:
            if not given.get("code_challenge"):
                raise BadRequest("Error No challenge code")
            return scope
        if client.linked_app:
            return LINKED + client.linked_app
        if scope == LOGIN and client.stored.doc.get("allow_login_scope") is True:
            return ""
        if not scope or scope == LOGIN:
            raise BadRequest("Error No scope parameter")
        if not is_read:
            return scope
        try:
            parse_scope(scope)
        except BadRequest:
            raise BadRequest("Error Invalid scope") from None
        return scope

    def _check_client(self, given: Mapping[str, str]) -> Client:
        """The client shows who it is, in the reference's words.

        :raises BadRequest: it does not.
        """
        secret = given.get("client_secret", "")
        try:
            client = self._clients.get(given.get("client_id", ""))
        except NotFound:
            client = None
        if not secret and not (client is not None and client.is_public):
            raise BadRequest("the client_secret parameter is mandatory")
        if client is None:
            raise BadRequest("the client must be registered")
        if client.is_public != (not secret) or (secret and not client.check_client_secret(secret)):
            raise BadRequest("invalid client_secret")
        return client


# -- Authlib's side -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Answer:
    """What Authlib answers, before it is HTTP."""

    status: int
    body: Any
    location: str


class _Request(OAuth2Request):
    """A form as Authlib reads it; TLS is the matter of who stands in front of the server."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__("POST", "https://localhost/")
        self.payload = BasicOAuth2Payload(dict(given))

    @property
    def form(self) -> dict[str, str]:
        """The fields."""
        data: dict[str, str] = self.payload.data
        return data


class _Server(AuthorizationServer):
    """Authlib's server with our stores behind it."""

    def __init__(self, clients: Clients, grants: Grants, tokens: Tokens, issuer: str) -> None:
        super().__init__()
        self.clients, self.grants, self.tokens, self.issuer = clients, grants, tokens, issuer
        self.register_grant(_CodeGrant, [_Challenge()])
        self.register_grant(_RefreshGrant)
        self.register_endpoint(_Revocation)
        self.register_token_generator("default", self.make_tokens)

    def query_client(self, client_id: str) -> Client | None:
        """Asked by Authlib."""
        try:
            return self.clients.get(client_id)
        except NotFound:
            return None

    def save_token(self, token: Any, request: Any) -> None:
        """Tokens are not kept: they name what is."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: _Request) -> _Request:
        """It is one already."""
        return request

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> _Answer:
        """What a method of `OAuth` gets."""
        return _Answer(status, body, dict(headers).get("Location", ""))

    def handle_error_response(self, request: Any, error: OAuth2Error) -> _Answer:  # noqa: ARG002
        """:raises BadRequest: always."""
        known = {"unsupported_grant_type": "invalid grant type", "invalid_request": "invalid refresh token"}
        raise BadRequest(known.get(error.error, error.error)) from error

    def make_tokens(self, client: Client, user: Grant, *, include_refresh_token: bool = True, **_: Any) -> dict[str, str]:
        """The tokens of a grant, in the shape of the reference."""
        access = self.tokens.sign("access", client.id, user.scope, user.id, secrets.token_hex(8))
        made = {"token_type": "bearer", "scope": user.scope, "access_token": access}
        if include_refresh_token:
            made["refresh_token"] = self.tokens.sign("refresh", client.id, user.scope, user.id, user.refresh)
        return made


class _Challenge(CodeChallenge):
    """PKCE by S256 only; a verifier that nobody asked for is refused, so that no challenge is dropped on the way."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        """In the reference's words."""
        try:
            super().validate_code_verifier(grant, result)
        except OAuth2Error as error:
            raise OAuth2Error(error="invalid code_verifier") from error


class _CodeGrant(AuthorizationCodeGrant):
    """RFC 6749, section 4.1. The "user" is what was granted: an instance has one owner."""

    TOKEN_ENDPOINT_AUTH_METHODS = TOKEN_METHODS

    def create_authorization_response(self, redirect_uri: str, grant_user: Asked) -> tuple[int, str, list[tuple[str, str]]]:
        """As Authlib's, with `iss` (RFC 9207), and `access_code`, which clients of the reference read."""
        asked = grant_user
        code = self.server.grants.new_code(asked.client.id, asked.scope, redirect_uri, asked.challenge)
        location = _with_query(redirect_uri, {"access_code": code, "code": code, "state": asked.state, "iss": self.server.issuer})
        return 302, "", [("Location", location)]

    def query_authorization_code(self, code: str, client: Client) -> Code:
        """Asked by Authlib."""
        found: Code | None = self.server.grants.find_code(code, client.id)
        if found is None:
            raise OAuth2Error(error="invalid code")
        given = self.request.payload.redirect_uri
        if given and given != found.get_redirect_uri():
            raise OAuth2Error(error="invalid redirect_uri")
        self.request.payload.data["redirect_uri"] = found.get_redirect_uri()  # clients of the reference send none
        return found

    def authenticate_user(self, authorization_code: Code) -> Grant:
        """What the owner granted with this code."""
        grant: Grant = self.server.grants.make(authorization_code, is_public=self.request.client.is_public)
        self._granted = grant
        return grant

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """The code goes and the grant comes in one step."""
        if not self.server.grants.exchange(authorization_code, self._granted):
            raise OAuth2Error(error="invalid code")
        self.server.clients.note(self.request.client, **self.server.clients.refreshed())


@dataclass(frozen=True, slots=True)
class _Refresh:
    """A refresh token that was read, with the grant it names."""

    claims: Claims
    grant: Grant

    def check_client(self, client: Client) -> bool:
        """Whether it is this client's."""
        return self.claims.subject == client.id == self.grant.client_id

    def get_scope(self) -> str:
        """What the owner agreed to."""
        return self.grant.scope


class _RefreshGrant(RefreshTokenGrant):
    """RFC 6749, section 6. Tokens of clients without a secret rotate; one that was used already ends its whole family."""

    TOKEN_ENDPOINT_AUTH_METHODS = TOKEN_METHODS

    def authenticate_refresh_token(self, refresh_token: str) -> _Refresh:
        """Asked by Authlib."""
        server, client = self.server, self.request.client
        found = _read_refresh(server, refresh_token)
        if found is None or not found.check_client(client):
            raise OAuth2Error(error="invalid refresh token")
        if found.grant.id and found.claims.id != found.grant.refresh:
            server.grants.revoke(found.grant.id)
            raise OAuth2Error(error="invalid refresh token")
        if client.is_public and (not found.grant.id or server.grants.is_over(found.grant)):
            raise OAuth2Error(error="invalid refresh token")
        self.INCLUDE_NEW_REFRESH_TOKEN = client.is_public or found.claims.issuer != server.tokens.domain
        return found

    def authenticate_user(self, refresh_token: _Refresh) -> Grant:
        """What the owner granted; a client that was linked to an app meanwhile has what that has."""
        grant, client = refresh_token.grant, self.request.client
        scope = LINKED + client.linked_app if client.linked_app else grant.scope
        self._fresh = secrets.token_hex(16) if client.is_public else grant.refresh
        return replace(grant, scope=scope, refresh=self._fresh)

    def revoke_old_credential(self, refresh_token: _Refresh) -> None:
        """The new token takes the old one's place."""
        server, client = self.server, self.request.client
        if client.is_public and not server.grants.rotate(refresh_token.grant, self._fresh):
            raise OAuth2Error(error="invalid refresh token")
        server.clients.note(client, **server.clients.refreshed())


def _read_refresh(server: _Server, text: str) -> _Refresh | None:
    """A refresh token and the grant it names; those that the reference made name none."""
    try:
        claims = server.tokens.read(text)
        if claims.audience != "refresh":
            return None
        grant = server.grants.get(claims.grant) if claims.grant else Grant("", claims.subject, claims.scope)
    except (BadToken, NotFound):
        return None
    return _Refresh(claims, grant)


class _Revocation(RevocationEndpoint):
    """RFC 7009: whichever token of a grant is shown, the grant ends."""

    CLIENT_AUTH_METHODS = TOKEN_METHODS

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Refresh | None:  # noqa: ARG002
        """Asked by Authlib."""
        try:
            claims: Claims = self.server.tokens.read(token_string)
            grant: Grant = self.server.grants.get(claims.grant)
        except (BadToken, NotFound):
            return None
        return _Refresh(claims, grant)

    def revoke_token(self, token: _Refresh, request: Any) -> None:  # noqa: ARG002
        """Asked by Authlib."""
        self.server.grants.revoke(token.grant.id)


def _single(form: Form) -> dict[str, str]:
    """The fields of a form, each once (RFC 6749, section 3.1).

    :raises BadRequest: one is there twice.
    """
    for name, values in form.items():
        if len(values) > 1:
            raise BadRequest(f"Error Multiple {name} parameters")
    return {name: values[0] for name, values in form.items() if values and values[0]}


def _with_query(uri: str, more: Mapping[str, str]) -> str:
    """An address with more in its query, without its fragment; the rest is left as the client registered it."""
    head, _, query = uri.partition("#")[0].partition("?")
    kept = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name not in more]
    return f"{head}?{urlencode([*kept, *more.items()])}"
