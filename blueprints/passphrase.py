"""`/auth/passphrase*`, `/auth/hint`: a passphrase is chosen, or renewed by mail (docs/http/auth.md, section 2)."""

from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from blueprints import _pages
from blueprints._answers import private, redirect
from blueprints._documents import answer
from blueprints._login import go, kdf_values, refused, wants_json, without_session
from blueprints._request import Service, credentials, instance, logged_in, public
from blueprints._targets import here, start
from cozyd.auth.passphrase import NewPassphrase, check_iterations
from cozyd.auth.vault import VaultKeys
from cozyd.errors import BadRequest, BadToken, CozyError, Invalid, TooManyRequests, Unauthorized

service = Service("passphrase", __name__, errors="page")

LOST_SETTINGS = "#/profile/email"


# -- chosen ---------------------------------------------------------------------------------------------------------------


@service.get("/auth/passphrase", access=public)
def choose_page() -> Response:
    """The form for the first passphrase, for who has the invitation."""
    if instance().doc.get("onboarding_finished"):
        return redirect(start())
    token = request.args.get("registerToken", "")
    try:
        instance().auth.register_principal(token)
    except BadToken:
        return _pages.page("welcome.html", 200, resent=False)
    return choose_form(token, request.args.get("redirection", ""))


@service.post("/auth/onboarding/resend", access=public)
def resend() -> Response:
    """Mail the invitation again; the answer is the same whether one left."""
    _pages.check_origin()
    instance().auth.letters.send_onboarding()
    return _pages.page("welcome.html", resent=True)


def choose_form(token: str, redirection: str, *, error: str = "", status: int = 200) -> Response:
    """The form itself, again with what was wrong."""
    words = _pages.words()
    return _new_form(
        status,
        title=words("choose.title"),
        lead=words("choose.lead", domain=instance().domain),
        action="/settings/passphrase",
        fields={"register_token": token, "redirection": redirection},
        error=error,
    )


# -- renewed --------------------------------------------------------------------------------------------------------------


@service.get("/auth/passphrase_reset", access=public)
def reset_page() -> Response:
    """Ask for the mail that leads to a new passphrase."""
    token = _pages.csrf_token()
    page = _pages.page(
        "reset.html",
        csrf=token,
        domain=instance().domain,
        origin=request.args.get("from", ""),
        redirect=request.args.get("redirect", ""),
        offers_back=request.args.get("hideBackButton") != "true",
        has_hint=bool(instance().auth.passphrase.hint()),
    )
    return _pages.with_csrf(page, token, "/auth")


@service.post("/auth/passphrase_reset", access=public)
def reset() -> Response:
    """Mail the link; the answer is the same whether one left. The session of this browser ends."""
    _pages.check_csrf()
    kept = {name: request.form[name] for name in ("from",) if request.form.get(name)}
    instance().auth.request_reset(credentials(), f"&{urlencode(kept)}" if kept else "")
    return without_session(_pages.sent("reset.sent_title", "reset.sent"))


@service.post("/auth/hint", access=public)
def hint() -> Response:
    """Mail her hint; the answer is the same whether one left."""
    _pages.check_origin()
    instance().auth.letters.send_hint()
    return _pages.sent("hint.sent_title", "hint.sent")


@service.get("/auth/passphrase_renew", access=public)
def renew_page() -> Response:
    """The form for another passphrase, for who has the mail."""
    token = _decoded(request.args.get("token", ""))
    if instance().auth.once.look("reset", token) is None:
        return _pages.error_page(BadRequest(_pages.words()("renew.old")))
    return _renew_form(request.args["token"], request.args.get("from", ""))


@service.post("/auth/passphrase_renew", access=public)
def renew() -> Response:
    """Another passphrase; what only the old one opened in the vault is gone."""
    _pages.check_csrf()
    given, origin = request.form.get("passphrase_reset_token", ""), request.form.get("from", "")
    token, once = _decoded(given), instance().auth.once
    if not token or (once.look("reset", token) is None and not once.is_out("reset")):
        if wants_json():
            return refused(Unauthorized(), "Invalid reset token")
        raise BadRequest(_pages.words()("renew.old"))
    try:
        instance().auth.renew_passphrase(token, new_passphrase(), credentials())
    except BadRequest:
        if wants_json():
            return private(answer({"error": "invalid_token"}, 400))
        raise BadRequest(_pages.words()("renew.old")) from None
    except (Invalid, TooManyRequests) as error:
        if wants_json():
            return refused(error, error.detail)
        return _renew_form(given, origin, error=new_error(error), status=error.status)
    if origin == "settings" and logged_in() is None:
        return go(f"{request.scheme}://{instance().app_host('settings')}/{LOST_SETTINGS}")
    return go(here("/auth/login"))


# -- shared -----------------------------------------------------------------------------------------------------------------


def new_passphrase(given: Any = None) -> NewPassphrase:
    """What a form, or a JSON object, says of a new passphrase; without the client's keys it is in clear.

    :raises BadRequest: the number of iterations is none.
    :raises Invalid: it is out of bounds.
    """
    found = request.form if given is None else given
    named = {name: found.get(name) or "" for name in ("passphrase", "key", "public_key", "private_key", "iterations")}
    try:
        iterations = int(named["iterations"] or 0)
    except (TypeError, ValueError):
        raise BadRequest("iterations must be a number", source="iterations") from None
    if not all(isinstance(named[name], str) for name in ("passphrase", "key", "public_key", "private_key")):
        raise BadRequest("A passphrase and its keys are texts")
    check_iterations(iterations)
    if not named["key"]:
        iterations = 0
    keys = VaultKeys(named["key"], named["public_key"], named["private_key"])
    hint = found.get("hint")
    return NewPassphrase(named["passphrase"], iterations, keys, hint if isinstance(hint, str) and hint else None)


def new_error(error: CozyError) -> str:
    """Why a passphrase was not taken, in the reader's language."""
    words = _pages.words()
    if isinstance(error, TooManyRequests):
        return str(words("login.often"))
    return str(words("new.weak"))


# -- inside -------------------------------------------------------------------------------------------------------------


def _decoded(text: str) -> str:
    """The token in the hexadecimal of a link; empty when it is none."""
    try:
        return bytes.fromhex(text).decode("ascii")
    except ValueError:
        return ""


def _renew_form(given: str, origin: str, *, error: str = "", status: int = 200) -> Response:
    words = _pages.words()
    return _new_form(
        status,
        title=words("renew.title"),
        lead=words("renew.lead"),
        action="/auth/passphrase_renew",
        fields={"passphrase_reset_token": given, "from": origin},
        error=error,
    )


def _new_form(status: int, **values: Any) -> Response:
    token = _pages.csrf_token()
    submit = _pages.words()("new.submit")
    page = _pages.page("passphrase.html", status, is_new=True, submit=submit, csrf=token, **values, **kdf_values())
    return _pages.with_csrf(page, token, "/auth")
