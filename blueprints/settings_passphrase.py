"""`/settings/passphrase`, `/settings/hint`, `/settings/instance/auth_mode`: her secrets, for applications (docs/http/auth.md)."""

import base64
import binascii
from typing import Any

from flask import Response, request

from blueprints import _jsonapi
from blueprints._answers import private, redirect
from blueprints._documents import answer
from blueprints._login import refused, with_session
from blueprints._request import SESSION_COOKIE, Service, body, by_secret, credentials, instance, principal, rule
from blueprints._targets import start, target
from blueprints.passphrase import choose_form, new_error, new_passphrase
from cozyd.auth.passphrase import NewPassphrase
from cozyd.auth.vault import VaultKeys
from cozyd.errors import BadRequest, BadToken, Forbidden, Invalid, NotFound, TooManyRequests, Unauthorized

service = Service("settings_passphrase", __name__)

SETTINGS = "io.cozy.settings"


@service.get("/settings/passphrase", access=rule("GET", SETTINGS))
def parameters() -> Response:
    """How a client derives what it sends."""
    kdf = instance().auth.passphrase.kdf()
    attributes = {"salt": kdf.salt, "kdf": 0, "iterations": kdf.iterations}
    shown = _jsonapi.resource(SETTINGS, f"{SETTINGS}.passphrase", attributes, links={"self": "/settings/passphrase"})
    return _jsonapi.answer(shown)


# -- the first one ------------------------------------------------------------------------------------------------------


@service.post("/settings/passphrase", access=by_secret)
def choose() -> Response:
    """The first passphrase, for who has the invitation; she is logged in with it."""
    given: Any = body() if request.is_json else request.form
    wants_page = "text/html" in request.headers.get("Accept", "")
    try:
        _register(given)
    except (Invalid, TooManyRequests) as error:
        if not wants_page:
            raise
        return choose_form(_text(given, "register_token"), _text(given, "redirection"), error=new_error(error), status=error.status)
    next_page = _redirection(_text(given, "redirection"))
    cookie = instance().auth.open_session(credentials(), "invitation", long_run=True)
    done = redirect(next_page) if wants_page else private(answer({"redirect": next_page}))
    return with_session(done, cookie, long_run=True)


@service.post("/settings/passphrase/flagship", access=by_secret)
def choose_flagship() -> Response:
    """The same for an application that will have everything: its tokens; one that is not certified gets a session code."""
    given, auth = body(), instance().auth
    oauth = auth.oauth(request.host_url.rstrip("/"))
    try:
        oauth.check_client(_text(given, "client_id"), _text(given, "client_secret"))
    except BadRequest as error:
        return refused(error, error.detail)
    _register(given)
    tokens = oauth.certified(_text(given, "client_id"), _text(given, "client_secret"))
    if tokens is not None:
        return private(answer(tokens))
    client = auth.clients.get(_text(given, "client_id"))
    auth.clients.note(client, created_at_onboarding=True)
    return private(answer({"session_code": auth.new_session_code()}, 202))


def _register(given: Any) -> None:
    """Take the first passphrase.

    :raises BadRequest: another invitation, or it is finished.
    """
    auth = instance().auth
    try:
        auth.register_principal(_text(given, "register_token"))
    except BadToken:
        raise BadRequest("Invalid register token") from None
    auth.attempts.limit("registering", 20, 3600)
    auth.replace_passphrase(new_passphrase(given), credentials(), "passphrase_chosen")


def _redirection(wanted: str) -> str:
    try:
        return target(wanted)
    except BadRequest:
        return start()


# -- another one --------------------------------------------------------------------------------------------------------


@service.put("/settings/passphrase", access=rule("PUT", SETTINGS))
def change() -> Response:
    """Another passphrase in place of the present one, or by force where she has none."""
    given, auth, seen = body(), instance().auth, credentials()
    current, token = _text(given, "current_passphrase"), _decoded_token(given)
    new = _changed(given)
    if given.get("force") is True:
        if principal().kind != "cli" and auth.passphrase.is_defined:
            raise BadRequest("The passphrase cannot be changed by force")
        current = ""
    elif token:
        try:
            auth.check_factor(token, _text(given, "two_factor_passcode"), seen)
        except Forbidden:
            raise BadRequest("Invalid two-factor parameters") from None
    else:
        clear = _check_current(current)
        if auth.factors.kind:
            made = auth.factors.challenge().encode()
            return private(answer({"two_factor_token": base64.b64encode(made).decode()}))
        current = clear
    session = _session()
    auth.replace_passphrase(new, seen, current=current)
    cookie = auth.sessions.open(seen, long_run=session is None or session.get("long_run") is True)
    return with_session(Response(status=204), cookie, long_run=session is None or session.get("long_run") is True)


@service.post("/settings/passphrase/check", access=rule("PUT", SETTINGS))
def check() -> Response:
    """Whether a passphrase, as clients derive it, is hers."""
    auth, seen = instance().auth, credentials()
    auth.attempts.count(seen)
    try:
        auth.check_passphrase(_text(body(), "passphrase"), seen)
    except Unauthorized:
        raise Forbidden("Invalid passphrase") from None
    return Response(status=204)


def _check_current(current: str) -> str:
    """The present passphrase, derived or in clear; what came in clear is given back.

    :raises BadRequest: it is not hers.
    """
    auth, seen = instance().auth, credentials()
    auth.attempts.count(seen)
    is_derived = auth.passphrase.is_derived(current)
    try:
        auth.check_passphrase(current if is_derived else auth.passphrase.derive(current), seen)
    except Unauthorized:
        raise BadRequest("Invalid passphrase") from None
    return "" if is_derived else current


def _changed(given: Any) -> NewPassphrase:
    """The new passphrase of a change: derived by the client when it says how often, else in clear."""
    iterations = given.get("iterations") or 0
    if isinstance(iterations, bool) or not isinstance(iterations, int):
        raise BadRequest("iterations must be a number", source="iterations")
    keys = VaultKeys(_text(given, "key"), _text(given, "publicKey"), _text(given, "privateKey"))
    new = NewPassphrase(_text(given, "new_passphrase"), iterations, keys if given.get("force") is True else VaultKeys(keys.key))
    new.check()
    return new


def _decoded_token(given: Any) -> str:
    """The token of the first step: base64 of its text, as here alone it is an array of bytes."""
    try:
        return base64.b64decode(_text(given, "two_factor_token"), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise BadRequest("Invalid two-factor parameters") from None


def _session() -> Any:
    try:
        return instance().auth.sessions.get(request.cookies.get(SESSION_COOKIE, "")).doc
    except Unauthorized:
        return None


@service.post("/settings/vault", access=rule("POST", "com.bitwarden.ciphers"))
def vault() -> Response:
    """Have a vault: it comes with the passphrase, so there is nothing left to do for who has one.

    :raises BadRequest: there is no passphrase to lock it with.
    """
    if not instance().auth.passphrase.exists:
        raise BadRequest("The vault needs a passphrase")
    return Response(status=204)


# -- hint, second factor --------------------------------------------------------------------------------------------------


@service.get("/settings/hint", access=rule("GET", SETTINGS))
def hint() -> Response:
    """Whether there is a hint."""
    if not instance().auth.passphrase.hint():
        raise NotFound("No hint")
    return Response(status=204)


@service.put("/settings/hint", access=rule("PUT", SETTINGS))
def put_hint() -> Response:
    """Another hint; an empty one removes it."""
    given = body()
    if "hint" not in given:
        raise BadRequest("hint is mandatory", source="hint")
    instance().auth.passphrase.put_hint(_text(given, "hint"))
    return Response(status=204)


@service.put("/settings/instance/auth_mode", access=rule("PUT", SETTINGS))
def auth_mode() -> Response:
    """Turn codes by mail on, in two steps, or every second factor off."""
    given, auth, seen = body(), instance().auth, credentials()
    mode, code = given.get("auth_mode"), _text(given, "two_factor_activation_code")
    if mode == "basic":
        auth.turn_off_factor(seen)
    elif mode != "two_factor_mail":
        raise BadRequest("Unknown auth_mode", source="auth_mode")
    elif not auth.factors.kind and not code:
        auth.factors.ask_for_mail()
    elif not auth.factors.kind:
        try:
            auth.factors.turn_on_mail(code)
        except Invalid:
            return _empty(422)
        auth.trail.note("factor_on", seen, "mail")
    return Response(status=204)


def _empty(status: int) -> Response:
    """A status that says all."""
    found = Response(status=status)
    del found.headers["Content-Type"]
    return found


def _text(given: Any, name: str) -> str:
    found = given.get(name) or ""
    if not isinstance(found, str):
        raise BadRequest(f"{name} must be a text", source=name)
    return found
