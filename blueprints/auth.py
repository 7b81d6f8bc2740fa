"""`/auth`: log in, log out; `/`, `/.well-known` and what clients ask before they log in (docs/http/auth.md)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from blueprints import _pages
from blueprints._answers import echo_origin, preflight, private, redirect
from blueprints._documents import answer
from blueprints._login import (
    again,
    asks_for_factor,
    entered,
    go,
    is_long_run,
    kdf_values,
    refused,
    sentence_of,
    shown_passphrase,
    to_factor,
    wants_json,
    without_session,
)
from blueprints._request import SESSION_COOKIE, Service, credentials, instance, logged_in, place, principal, public
from blueprints._targets import carried, here, start, target
from cozyd.auth.guesses import source_of
from cozyd.errors import BadToken, CozyError, Forbidden, TooManyRequests, Unauthorized

service = Service("auth", __name__, errors="page")


@service.get("/", access=public, provide_automatic_options=False)
def root() -> Response:
    """The start page of who is logged in, or the way to it."""
    if logged_in() is not None:
        return redirect(start())
    if not instance().doc.get("onboarding_finished"):
        if _is_invited():
            return redirect(here(f"/auth/passphrase?{urlencode(request.args)}"))
        return welcome()
    kept = {name: request.args[name] for name in ("jwt", "email_verified_code") if name in request.args}
    return redirect(here("/auth/login" + (f"?{urlencode(kept)}" if kept else "")))


@service.get("/auth/login", access=public)
def login_page() -> Response:
    """The log-in form."""
    wanted = target(request.args.get("redirect"))
    code = request.args.get("session_code")
    if code and instance().auth.take_session_code(code) and logged_in() is None:
        return entered(wanted, "session code", long_run=False)
    if logged_in() is not None:
        return redirect(carried(wanted, request.cookies.get(SESSION_COOKIE, "")))
    if not instance().doc.get("onboarding_finished"):
        return welcome()
    if request.args.get("jwt"):
        return _vouched(wanted)
    if _is_closed():
        return redirect(here(f"/oidc/start?{urlencode({'redirect': wanted})}"))
    return _login_form(request.args.get("redirect", ""))


@service.post("/auth/login", access=public)
def login() -> Response:
    """Log in: the passphrase as official clients derive it, or in clear from a browser without script."""
    try:
        _pages.check_csrf()
    except Forbidden as error:
        if wants_json():
            raise
        return _login_form(request.form.get("redirect", ""), error=_pages.words()("login.old"), status=error.status)
    wanted = target(request.form.get("redirect"))
    if logged_in() is not None:
        return go(carried(wanted, request.cookies.get(SESSION_COOKIE, "")))
    if _is_closed():
        raise Forbidden("Passphrases open nothing here")
    try:
        instance().auth.check_passphrase(shown_passphrase(), credentials())
    except (Unauthorized, TooManyRequests) as error:
        return _refused(error)
    if asks_for_factor():
        return go(to_factor(long_run_session="true" if is_long_run() else "false", redirect=request.form.get("redirect", "")))
    return entered(wanted, "passphrase", long_run=is_long_run())


@service.post("/auth/passkey/options", access=public)
def passkey_options() -> Response:
    """What a browser needs to show a passkey; the same for everybody."""
    _pages.check_csrf()
    auth = instance().auth
    auth.attempts.limit("passkeys", 60, 300, source_of(credentials().address))
    attempt, options = auth.passkeys.request(place())
    return private(answer({"attempt": attempt, "options": options}))


@service.post("/auth/passkey", access=public)
def passkey_login() -> Response:
    """Log in with a passkey: the device has asked for a finger or its PIN, so that no code is asked for."""
    _pages.check_csrf()
    wanted, auth, seen = target(request.form.get("redirect")), instance().auth, credentials()
    try:
        shown = auth.passkeys.check(place(), request.form.get("attempt", ""), request.form.get("answer", ""))
    except Unauthorized as error:
        if wants_json():
            return refused(error, _pages.words()("login.passkey_unknown"))
        return _login_form(request.form.get("redirect", ""), error=_pages.words()("login.passkey_unknown"), status=error.status)
    auth.attempts.succeeded(seen)
    return entered(wanted, f"passkey {shown.name}", long_run=is_long_run())


@service.route("/auth/login", methods=["DELETE"], access=public)
def logout() -> Response:
    """Log out from a web app: its token, and the cookie of the session to end."""
    if not _is_app():
        return echo_origin(answer({"error": "The user can logout only from client-side apps"}, 401))
    return echo_origin(without_session(Response(status=204)))


@service.route("/auth/login", methods=["OPTIONS"], access=public)
def logout_preflight() -> Response:
    """Apps live on hosts of their own."""
    return preflight("DELETE")


@service.post("/sync/logout", access=public)
def logout_form() -> Response:
    """Log out from a page."""
    _pages.check_csrf()
    return without_session(redirect(here("/auth/login")))


@service.post("/bitwarden/api/accounts/prelogin", access=public)
@service.post("/bitwarden/identity/accounts/prelogin", access=public)
def prelogin() -> Response:
    """How a client derives what it sends from the passphrase."""
    kdf = instance().auth.passphrase.kdf()
    ways = {"OIDC": bool(instance().provider_name()), "HasCiphers": instance().auth.passphrase.has_ciphers()}
    more = {"FlatSubdomains": instance().has_flat_apps, "Salt": kdf.salt}
    return answer({"Kdf": 0, "KdfIterations": kdf.iterations} | ways | more)


@service.get("/public/prelogin", access=public)
def public_prelogin() -> Response:
    """As `prelogin`, with what a log-in form shows."""
    if not instance().doc.get("onboarding_finished"):
        return answer({"error": "the instance must be onboarded"}, 412)
    more = {
        "magic_link": instance().auth.letters.has_magic_links,
        "locale": instance().doc.get("locale", "en"),
        "name": instance().public_name(),
    }
    kdf = instance().auth.passphrase.kdf()
    ways = {"OIDC": bool(instance().provider_name()), "FranceConnect": bool(instance().doc.get("franceconnect_id"))}
    return answer({"Kdf": 0, "KdfIterations": kdf.iterations} | ways | more)


@service.get("/.well-known/change-password", access=public)
def change_password() -> Response:
    """Where the passphrase is changed (W3C change-password-url)."""
    return redirect(f"{request.scheme}://{instance().app_host('settings')}/#/profile/password", 302)


@service.route("/.well-known/caldav", methods=["GET", "PROPFIND", "OPTIONS"], access=public)
@service.route("/.well-known/carddav", methods=["GET", "PROPFIND", "OPTIONS"], access=public)
def well_known_dav() -> Response:
    """Where DAV clients find calendars and contacts (RFC 6764)."""
    return redirect("/sync/dav/", 301)


def welcome() -> Response:
    """Nobody has chosen a passphrase yet."""
    return _pages.page("welcome.html", resent=False)


# -- inside -------------------------------------------------------------------------------------------------------------


def _vouched(wanted: str) -> Response:
    """Log in by a token of the service that manages this instance; a wrong one leads to the form."""
    vouched, auth = instance().vouched, instance().auth
    auth.attempts.limit("vouched", 30, 300, source_of(credentials().address))
    try:
        if vouched is None:
            raise Forbidden
        vouched.take(request.args["jwt"])
    except Forbidden:
        return _login_form(request.args.get("redirect", ""), error=_pages.words()("login.vouched_wrong"), status=403)
    if asks_for_factor():
        return redirect(to_factor(long_run_session="true", redirect=request.args.get("redirect", "")))
    return entered(wanted, "managing service", long_run=True)


def _is_closed() -> bool:
    """Whether the operator lets nobody of this context log in but by the provider."""
    return instance().delegated is not None and instance().context.get("disable_password_authentication") is True


def _login_form(target: str, *, error: str = "", status: int = 200) -> Response:
    token = _pages.csrf_token()
    auth = instance().auth
    values: Mapping[str, Any] = {
        "name": instance().public_name(),
        "domain": instance().domain,
        "csrf": token,
        "redirect": target,
        "mailed": request.values.get("email_verified_code", ""),
        "error": error,
        "notice": request.args.get("msg") == "passphrase-reset-requested",
        "has_passkeys": bool(auth.passkeys.all()),
        "provider": instance().provider_name(),
        "has_magic_links": auth.letters.has_magic_links,
        **kdf_values(),
    }
    return _pages.with_csrf(_pages.page("login.html", status, **values), token, "/auth")


def _is_invited() -> bool:
    """Whether the address has the invitation."""
    try:
        instance().auth.register_principal(request.args.get("registerToken", ""))
    except BadToken:
        return False
    return True


def _is_app() -> bool:
    try:
        return principal().kind == "app"
    except CozyError:
        return False


def _refused(error: CozyError) -> Response:
    sentence = _pages.words()(sentence_of(error, "login.wrong"))
    if wants_json():
        return refused(error, sentence)
    return again(_login_form(request.form.get("redirect", ""), error=sentence, status=error.status), error)
