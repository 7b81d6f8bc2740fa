"""`/auth`: log in, log out; `/`, `/.well-known` and what clients ask before they log in (docs/http/auth.md)."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Response, request

from blueprints import _pages
from blueprints._answers import echo_origin, preflight, redirect
from blueprints._documents import answer
from blueprints._request import SESSION_COOKIE, Service, credentials, instance, logged_in, principal, public
from cozyd.errors import BadRequest, CozyError, Forbidden, NotFound, TooManyRequests, Unauthorized
from cozyd.stack import Stack

service = Service("auth", __name__, errors="page")

START = "/sync/"
_SLUG = "[a-z0-9]+(?:-[a-z0-9]+)*"
LONG_RUN = 10 * 365 * 24 * 3600


@service.get("/", access=public, provide_automatic_options=False)
def root() -> Response:
    """The start page of who is logged in, or the way to it."""
    if logged_in() is not None:
        return redirect(_here(START))
    if not instance().doc.get("onboarding_finished"):
        return _pages.page("welcome.html")
    return redirect(_here("/auth/login"))


@service.get("/auth/login", access=public)
def login_page() -> Response:
    """The log-in form."""
    target = _target(request.args.get("redirect"))
    if logged_in() is not None:
        return redirect(target)
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
    target = _target(request.form.get("redirect"))
    if logged_in() is not None:
        return _logged_in(target, None)
    auth = instance().auth
    seen = credentials()
    passphrase = request.form.get("passphrase", "")
    try:
        auth.count_attempt(seen)
        if request.form.get("clear") == "1":
            passphrase = auth.derive(passphrase)
        cookie = auth.log_in(passphrase, seen, long_run=_is_long_run())
    except (Unauthorized, TooManyRequests) as error:
        return _refused(error)
    return _logged_in(target, cookie)


@service.route("/auth/login", methods=["DELETE"], access=public)
def logout() -> Response:
    """Log out from a web app: its token, and the cookie of the session to end."""
    if not _is_app():
        return echo_origin(answer({"error": "The user can logout only from client-side apps"}, 401))
    ended = Response(status=204)
    _end_session(ended)
    return echo_origin(ended)


@service.route("/auth/login", methods=["OPTIONS"], access=public)
def logout_preflight() -> Response:
    """Apps live on hosts of their own."""
    return preflight("DELETE")


@service.post("/sync/logout", access=public)
def logout_form() -> Response:
    """Log out from a page."""
    _pages.check_csrf()
    ended = redirect(_here("/auth/login"))
    _end_session(ended)
    return ended


@service.post("/bitwarden/api/accounts/prelogin", access=public)
@service.post("/bitwarden/identity/accounts/prelogin", access=public)
def prelogin() -> Response:
    """How a client derives what it sends from the passphrase."""
    kdf = instance().auth.kdf()
    shown = {"Kdf": 0, "KdfIterations": kdf.iterations, "OIDC": False, "HasCiphers": False, "FlatSubdomains": False, "Salt": kdf.salt}
    return answer(shown)


@service.get("/public/prelogin", access=public)
def public_prelogin() -> Response:
    """As `prelogin`, with what a log-in form shows."""
    if not instance().doc.get("onboarding_finished"):
        return answer({"error": "the instance must be onboarded"}, 412)
    more = {"magic_link": False, "locale": instance().doc.get("locale", "en"), "name": instance().public_name()}
    kdf = instance().auth.kdf()
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
    kdf = instance().auth.kdf()
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


def _logged_in(target: str, cookie: str | None) -> Response:
    done = answer({"redirect": target}) if _wants_json() else redirect(target)
    if cookie is not None:
        life = LONG_RUN if _is_long_run() else None
        done.set_cookie(SESSION_COOKIE, cookie, max_age=life, path="/", secure=request.is_secure, httponly=True, samesite="Lax")
    return done


def _is_long_run() -> bool:
    return request.form.get("long-run-session") in ("1", "true")


def _end_session(ended: Response) -> None:
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie:
        instance().auth.log_out(cookie)
    ended.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="Lax")


def _here(path: str) -> str:
    """An address on the host that was asked."""
    return f"{request.scheme}://{request.host}{path}"


def _target(wanted: str | None) -> str:
    """Where to go after logging in: an address on this instance or on one of its apps' hosts.

    :raises BadRequest: any other address.
    """
    if not wanted:
        return _here(START)
    try:
        parts = urlsplit(wanted)
    except ValueError:
        raise BadRequest("bad url: could not parse") from None
    if parts.scheme not in ("http", "https"):
        raise BadRequest("bad url: bad scheme")
    record = instance().doc
    if parts.netloc in (request.host, record["domain"], *record.get("domain_aliases", ())):
        return parts._replace(fragment="=").geturl()
    if not _is_app_host(parts.netloc):
        raise BadRequest("bad url: should be subdomain")
    return parts.geturl()


def _is_app_host(host: str) -> bool:
    """Whether a host is one of this instance's apps', `slug.domain` or `name-slug.rest`, and not another instance."""
    name, _, rest = re.escape(instance().domain).partition(r"\.")
    if not re.fullmatch(rf"{_SLUG}\.{name}\.{rest}|{name}-{_SLUG}\.{rest}" if rest else rf"{_SLUG}\.{name}", host):
        return False
    stack: Stack = request.environ["cozyd.stack"]
    try:
        stack.instance(host)
    except NotFound:
        return True
    return False
