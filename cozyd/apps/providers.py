"""Providers that konnectors sign in at, by OAuth 2 (RFC 6749): where the owner is sent, and what a code or refresh token gives.

What is known of a provider (`account_types`) is the operator's; applications never see it.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from cozyd import jsons
from cozyd.errors import BadGateway, BadRequest, CozyError, NotFound, TokenRefused, Unauthorized
from cozyd.outbound import Outbound

LARGEST, WITHIN = 1 << 20, 15.0
SECRET = "secret"  # noqa: S105
"""The grant mode of services that nobody signs in at: the operator's own secret opens them."""
_TOKENS = ("access_token", "token_type", "refresh_token")
BANKS = ("bi_webview", "bi_webview+secret", "bi_webauth", "bi_webauth+secret")
"""Ways to sign in at providers of bank accounts: by pages of theirs, which name a connection."""
BY_REDIRECT_URL = "token_redirect_url"
_CODE, _TOKEN = {"response_type": "code"}, {"response_type": "token"}
_ASKED: Mapping[str, Mapping[str, str]] = {
    "authorization_code": _CODE,
    "authorization_code+secret": _CODE,
    "token": _TOKEN,
    BY_REDIRECT_URL: _TOKEN,
    **{bank: {} for bank in BANKS},
}
"""What each grant mode asks for."""
_WEBVIEW = {"scope": "scope", "code": "token", "connector_ids": "id_connector", "connector_uuids": "connector_uuids"}
_WEBAUTH = {name: name for name in ("scope", "token", "source", "id_connector", "id_connection")}
_TOLD_BANKS: Mapping[str, Mapping[str, str]] = {bank: _WEBVIEW if bank.startswith("bi_webview") else _WEBAUTH for bank in BANKS}
"""What pages of banks are told -> how the page that sends her calls it."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    :param fields: as the file has them.
    """

    type: str
    fields: Mapping[str, Any]

    @classmethod
    def named(cls, file: Path, type: str) -> "Provider":
        """The provider of an account type.

        :raises NotFound: the file has none of this name.
        """
        try:
            found = jsons.load_object(file.read_bytes()).get(type)
        except (OSError, CozyError):
            found = None
        if not isinstance(found, dict) or not (found.get("client_id") or found.get("grant_mode") == SECRET):
            raise NotFound("This account type is not known")
        return cls(type, found)

    def text(self, name: str) -> str:
        """A field, empty when it has none."""
        found = self.fields.get(name)
        return found if isinstance(found, str) else ""

    def start(self, redirect_uri: str, state: str, given: Mapping[str, str]) -> str:
        """Where the owner is sent.

        :param given: what the page that sends her adds: `scope`, `nonce`, and what providers of bank accounts want to know.
        :raises BadRequest: the provider has no such page.
        """
        parts = urlsplit(self.text("auth_endpoint"))
        grant = self.text("grant_mode") or "authorization_code"
        if parts.scheme not in ("http", "https") or grant not in _ASKED:
            raise BadRequest("This account type has no page to sign in")
        asked = {"state": state, **_ASKED[grant]}
        if grant != BY_REDIRECT_URL:
            asked["client_id"] = self.text("client_id")
        if self.fields.get("skip_redirect_uri_on_authorize") is not True:
            asked["redirect_url" if grant == BY_REDIRECT_URL else "redirect_uri"] = redirect_uri
        told = _TOLD_BANKS.get(grant, {"scope": "scope", "nonce": "nonce"})
        asked |= {name: given[source] for name, source in told.items() if given.get(source)}
        extras = self.fields.get("extras")
        asked |= {str(name): str(value) for name, value in extras.items()} if isinstance(extras, dict) else {}
        query = "&".join(part for part in (parts.query, urlencode(asked)) if part)
        return urlunsplit(parts._replace(query=query, fragment=""))

    def page(self, name: str, redirect_uri: str, state: str, *, code: str, connection: str) -> str:
        """Where the owner manages a connection (`manage`) or signs in again (`reconnect`), at providers of bank accounts.

        :raises BadRequest: the provider has no such page.
        """
        parts = urlsplit(self.text(f"{name}_endpoint"))
        if self.text("grant_mode") not in BANKS or parts.scheme not in ("http", "https"):
            raise BadRequest("This account type has no such page")
        asked = {
            "client_id": self.text("client_id"),
            "code": code,
            "connection_id": connection,
            "redirect_uri": redirect_uri,
            "state": state,
        }
        return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(asked)))), fragment=""))

    def own(self) -> Mapping[str, str]:
        """What the operator has at the provider."""
        return {name: self.text(name) for name in ("client_id", "client_secret")}

    @property
    def has_secret(self) -> bool:
        """Whether the operator's own secret is for its konnector, alone or beside what she signs in with."""
        grant = self.text("grant_mode")
        return grant == SECRET or grant.endswith(f"+{SECRET}")

    def exchange(self, outbound: Outbound, code: str, redirect_uri: str, *, state: str = "", nonce: str = "") -> Mapping[str, Any]:
        """What a code gives.

        :param state: of the request she was sent with; providers that want none are spared it.
        :raises Unauthorized: the provider does not take it.
        :raises CozyError: the provider cannot be understood.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if state and self.fields.get("skip_state_on_token") is not True:
            form["state"] = state
        status, answer = self._ask(outbound, form | ({"nonce": nonce} if nonce else {}))
        if status in (400, 401, 403):
            raise Unauthorized("The provider does not take this code")
        return _good(status, answer)

    def refresh(self, outbound: Outbound, token: str) -> Mapping[str, Any]:
        """What a refresh token gives.

        :raises TokenRefused: the provider does not take it any more.
        :raises BadGateway: it refuses for another reason.
        """
        status, answer = self._ask(outbound, {"grant_type": "refresh_token", "refresh_token": token})
        if status != 200 and answer.get("error") in ("invalid_token", "invalid_grant"):
            raise TokenRefused("OAuth refresh token is invalid or expired; reconnect account.")
        return _good(status, answer)

    def _ask(self, outbound: Outbound, form: dict[str, str]) -> tuple[int, Mapping[str, Any]]:
        mode = self.text("token_mode") or "form"
        secrets = {"client_id": self.text("client_id"), "client_secret": self.text("client_secret")}
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        url, body, method = self.text("token_endpoint"), urlencode(form | ({} if mode == "basic" else secrets)), "POST"
        if mode == "basic":
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(secrets.values()).encode()).decode()
        if mode == "get":
            url, body, method = f"{url}{'&' if '?' in url else '?'}{body}", "", "GET"
        answer = outbound.request(method, url, headers=headers, body=body.encode() or None, limit_bytes=LARGEST, timeout=WITHIN)
        return answer.status, _read(answer.body)


def _good(status: int, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """:raises BadGateway: it is another than that all went well."""
    if status != 200 or answer.get("error"):
        raise BadGateway(f"The provider answered {status}")
    return answer


def brought(given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What an account keeps of the address that a provider without tokens of its own sent her back to: the konnector asks there itself."""
    return {"query": {name: [value[:2000] for value in values] for name, values in given.items() if name != "state"}}


def tokens_of(answer: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What an account keeps of an answer.

    :raises BadGateway: it has no access token.
    """
    token = answer.get("access_token") or answer.get("id_token")
    if not isinstance(token, str):
        raise BadGateway("The provider's answer has no token")
    found = {name: answer[name] for name in _TOKENS if isinstance(answer.get(name), str)} | {"access_token": token}
    life = answer.get("expires_in")
    if isinstance(life, int | float | str) and str(life).replace(".", "", 1).isdigit():
        found["expires_at"] = (now + timedelta(seconds=min(float(life), 1e9))).astimezone(UTC).isoformat().replace("+00:00", "Z")
    return found


def rest_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What else an answer tells, for the konnector."""
    return {name: value for name, value in answer.items() if name not in (*_TOKENS, "expires_in")}


def _read(body: bytes) -> Mapping[str, Any]:
    """JSON as RFC 6749 has it, or a form as some providers still send."""
    try:
        return jsons.load_object(body)
    except CozyError:
        form = parse_qs(body.decode("utf-8", "replace"))
        return {name: values[0] for name, values in form.items()}
