"""`/auth`: what an application that has everything logs in with, and hands to a browser (docs/http/oauth.md)."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from blueprints._answers import private
from blueprints._documents import answer
from blueprints._request import Service, body, by_secret, credentials, instance, principal
from cozyd.errors import BadRequest, CozyError, Unauthorized

service = Service("flagship", __name__, errors="oauth")


@service.post("/auth/session_code", access=by_secret)
def session_code() -> Response:
    """A code that opens a session once: for a token for everything, or the passphrase."""
    if not _has_everything():
        try:
            _check_passphrase(body())
        except Unauthorized:
            raise Unauthorized("Not authorized") from None
    return private(answer({"session_code": instance().auth.new_session_code()}, 201))


@service.post("/auth/login/flagship", access=by_secret)
def login() -> Response:
    """Tokens for everything, for the passphrase; a client that is not certified gets a session code, to be let in on the page."""
    given = body()
    _check_passphrase(given)
    auth = instance().auth
    tokens = auth.oauth(request.host_url.rstrip("/")).certified(_text(given, "client_id"), _text(given, "client_secret"))
    if tokens is None:
        return private(answer({"session_code": auth.new_session_code()}, 202))
    return private(answer(tokens))


def _has_everything() -> bool:
    try:
        return principal().everything
    except CozyError:
        return False


def _check_passphrase(given: Mapping[str, Any]) -> None:
    """The derived passphrase in a JSON body, counted as each attempt to log in.

    :raises Unauthorized: it is not hers.
    :raises TooManyRequests: too many were tried.
    """
    auth, seen = instance().auth, credentials()
    auth.attempts.count(seen)
    auth.check_passphrase(_text(given, "passphrase"), seen)


def _text(given: Mapping[str, Any], name: str) -> str:
    found = given.get(name) or ""
    if not isinstance(found, str):
        raise BadRequest(f"{name} must be a text")
    return found
