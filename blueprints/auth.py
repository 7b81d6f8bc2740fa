"""`/auth`: log in, log out; `/`, `/.well-known` and what clients ask before they log in (docs/http/auth.md)."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from blueprints import _pages
from blueprints._answers import echo_origin, preflight, redirect
from blueprints._documents import answer
from blueprints._login import with_session, without_session
from blueprints._request import SESSION_COOKIE, Service, credentials, instance, logged_in, principal, public
from blueprints._targets import carried, here, start, target
from cozyd.errors import CozyError, Forbidden, TooManyRequests, Unauthorized

service = Service("auth", __name__, errors="page")


@service.get("/", access=public, provide_automatic_options=False)
def root() -> Response:
    """The start page of who is logged in, or the way to it."""
    if logged_in() is not None:
        return redirect(start())
    if not instance().doc.get("onboarding_finished"):
        return _pages.page("welcome.html")
    return redirect(here("/auth/login"))


@service.get("/auth/login", access=public)
def login_page() -> Response:
    """The log-in form."""
    wanted = target(request.args.get("redirect"))
    code = request.args.get("session_code")
    if code and instance().auth.take_session_code(code) and logged_in() is None:
        return _logged_in(wanted, instance().auth.open_session(credentials(), long_run=False))
    if logged_in() is not None:
        return redirect(carried(wanted, request.cookies.get(SESSION_COOKIE, "")))
    if not instance().doc.get("onboarding_finished"):
        return _pages.page("welcome.html")
    return _login_form(request.args.get("redirect", ""))


@service.post("/auth/login", access=public)
def login() -> Response:
    """Log in: the passphrase as official clients derive it, or in clear from a browser without script."""
    try:
        _pages.check_csrf()
    except Forbidden as error:
        if _wants_json():
            raise
        return _login_form(request.form.get("redirect", ""), error=_pages.words()("login.old"), status=error.status)
    wanted = target(request.form.get("redirect"))
    if logged_in() is not None:
        return _logged_in(wanted, None)
    auth = instance().auth
    seen = credentials()
    passphrase = request.form.get("passphrase", "")
    try:
        auth.attempts.count(seen)
        if request.form.get("clear") == "1":
            passphrase = auth.passphrase.derive(passphrase)
        cookie = auth.log_in(passphrase, seen, long_run=_is_long_run())
    except (Unauthorized, TooManyRequests) as error:
        return _refused(error)
    return _logged_in(wanted, cookie)


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
    shown = {"Kdf": 0, "KdfIterations": kdf.iterations, "OIDC": False, "HasCiphers": False, "FlatSubdomains": False, "Salt": kdf.salt}
    return answer(shown)


@service.get("/public/prelogin", access=public)
def public_prelogin() -> Response:
    """As `prelogin`, with what a log-in form shows."""
    if not instance().doc.get("onboarding_finished"):
        return answer({"error": "the instance must be onboarded"}, 412)
    more = {"magic_link": False, "locale": instance().doc.get("locale", "en"), "name": instance().public_name()}
    kdf = instance().auth.passphrase.kdf()
    return answer({"Kdf": 0, "KdfIterations": kdf.iterations, "OIDC": False, "FranceConnect": False} | more)


@service.get("/.well-known/change-password", access=public)
def change_password() -> Response:
    """Where the passphrase is changed (W3C change-password-url)."""
    scheme = request.scheme
    return redirect(f"{scheme}://settings.{instance().domain}/#/profile/password", 302)


@service.route("/.well-known/caldav", methods=["GET", "PROPFIND", "OPTIONS"], access=public)
@service.route("/.well-known/carddav", methods=["GET", "PROPFIND", "OPTIONS"], access=public)
def well_known_dav() -> Response:
    """Where DAV clients find calendars and contacts (RFC 6764)."""
    return redirect("/sync/dav/", 301)


# -- inside -------------------------------------------------------------------------------------------------------------


def _login_form(target: str, *, error: str = "", status: int = 200) -> Response:
    kdf = instance().auth.passphrase.kdf()
    token = _pages.csrf_token()
    values: Mapping[str, Any] = {
        "name": instance().public_name(),
        "domain": instance().domain,
        "salt": kdf.salt,
        "iterations": kdf.iterations,
        "csrf": token,
        "redirect": target,
        "error": error,
    }
    return _pages.with_csrf(_pages.page("login.html", status, **values), token, "/auth")


def _is_app() -> bool:
    try:
        return principal().kind == "app"
    except CozyError:
        return False


def _wants_json() -> bool:
    return request.headers.get("Accept") == "application/json"


def _refused(error: CozyError) -> Response:
    words = _pages.words()
    sentence = words("login.often" if isinstance(error, TooManyRequests) else "login.wrong")
    if _wants_json():
        refused = answer({"error": sentence}, error.status)
    else:
        refused = _login_form(request.form.get("redirect", ""), error=sentence, status=error.status)
    if error.retry_after is not None:
        refused.headers["Retry-After"] = str(error.retry_after)
    return refused


def _logged_in(wanted: str, cookie: str | None) -> Response:
    wanted = carried(wanted, cookie or request.cookies.get(SESSION_COOKIE, ""))
    done = answer({"redirect": wanted}) if _wants_json() else redirect(wanted)
    return with_session(done, cookie, long_run=_is_long_run()) if cookie is not None else done


def _is_long_run() -> bool:
    return request.form.get("long-run-session") in ("1", "true")
