"""`/auth`: what an application that has everything logs in with, and hands to a browser (docs/http/oauth.md)."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from blueprints._answers import private
from blueprints._documents import answer
from blueprints._request import Service, body, by_secret, credentials, instance, principal
from cozyd.errors import BadRequest, CozyError, Forbidden, Unauthorized

service = Service("flagship", __name__, errors="oauth")


@service.post("/auth/session_code", access=by_secret)
def session_code() -> Response:
    """A code that opens a session once: for a token for everything, or the passphrase and the second factor."""
    if not _has_everything():
        try:
            token = _check(body())
        except Forbidden:
            token = instance().auth.factors.challenge()
        except (BadRequest, Unauthorized):
            raise Unauthorized("Not authorized") from None
        if token:
            return private(answer({"error": "two factor needed", "two_factor_token": token}, 403))
    return private(answer({"session_code": instance().auth.new_session_code()}, 201))


@service.post("/auth/login/flagship", access=by_secret)
def login() -> Response:
    """Tokens for everything, for the passphrase; a client that is not certified gets a session code, to be let in on the page."""
    given, auth = body(), instance().auth
    oauth = auth.oauth(request.host_url.rstrip("/"))
    client = _text(given, "client_id"), _text(given, "client_secret")
    token = _check(given)
    if token:
        return private(answer({"two_factor_token": token}, 401))
    tokens = oauth.certified(*client)
    if tokens is None:
        return private(answer({"session_code": auth.new_session_code()}, 202))
    auth.trail.note("logged_in", credentials(), "passphrase, flagship application")
    return private(answer(tokens))


def _has_everything() -> bool:
    try:
        return principal().everything
    except CozyError:
        return False


def _check(given: Mapping[str, Any]) -> str:
    """The derived passphrase in a JSON body, counted as each attempt to log in; a token when a code is needed, too.

    :raises Unauthorized: it is not hers.
    :raises Forbidden: the code is not right.
    :raises TooManyRequests: too many were tried.
    """
    auth, seen = instance().auth, credentials()
    auth.attempts.count(seen)
    auth.check_passphrase(_text(given, "passphrase"), seen)
    mailed = _text(given, "email_verified_code")
    if not auth.factors.kind or (mailed and auth.once.take("mailed", mailed) is not None):
        return ""
    token = _text(given, "two_factor_token")
    if not token:
        return auth.factors.challenge()
    auth.check_factor(token, _text(given, "two_factor_passcode"), seen)
    return ""


def _text(given: Mapping[str, Any], name: str) -> str:
    found = given.get(name) or ""
    if not isinstance(found, str):
        raise BadRequest(f"{name} must be a text")
    return found
