"""`/oidc`: log in at the provider that the operator has chosen (docs/http/auth.md)."""

from typing import TYPE_CHECKING

from flask import Response, request

from blueprints import _pages
from blueprints._answers import private, redirect
from blueprints._documents import answer
from blueprints._login import asks_for_factor, entered, to_factor, without_session
from blueprints._request import Service, body, by_secret, credentials, instance, public
from blueprints._targets import here, target, with_query
from cozyd.auth.guesses import source_of
from cozyd.errors import BadRequest, NotFound, Unauthorized
from cozyd.stack import Stack

if TYPE_CHECKING:  # Authlib is loaded where a provider is used
    from cozyd.auth.oidc import Delegated

service = Service("oidc", __name__, url_prefix="/oidc", errors="page")
tokens = Service("oidc_tokens", __name__, url_prefix="/oidc", errors="oauth")

_FIELDS = ("client_id", "client_secret", "id_token", "two_factor_token", "two_factor_passcode")
COOKIE, COOKIE_FOR = "cozyoidc", 900


@service.get("/start", access=public)
def start() -> Response:
    """On to the provider; a cookie binds the log-in to this browser."""
    wanted, auth = target(request.args.get("redirect")), instance().auth
    auth.attempts.limit("delegated", 30, 300, source_of(credentials().address))
    started = _delegated().start(here("/oidc/redirect"), wanted)
    gone = redirect(started.url)
    gone.set_cookie(COOKIE, started.binding, COOKIE_FOR, path="/oidc", secure=request.is_secure, httponly=True, samesite="Lax")
    return gone


@service.get("/redirect", access=public)
def back() -> Response:
    """From the provider to the instance that the log-in was begun on: one address may serve all instances."""
    state = request.args.get("state", "")
    stack: Stack = request.environ["cozyd.stack"]
    try:
        domain = stack.instance(state.partition(".")[2]).domain
    except NotFound:
        raise BadRequest("This log-in was not begun here, or took too long") from None
    if domain == instance().domain:
        return _login()
    named = {name: request.args[name] for name in ("code", "state", "error") if name in request.args}
    return redirect(with_query(f"{request.scheme}://{domain}/oidc/login", **named))


@service.get("/login", access=public)
def login() -> Response:
    """The provider says that it is her: a session, or the second factor."""
    return _login()


@service.get("/logout", access=public)
def logout() -> Response:
    """End the session here, and lead to where it ends at the provider."""
    _pages.check_origin()
    there = _delegated().logout_url(here("/auth/login"))
    return without_session(redirect(there or here("/auth/login")))


@tokens.post("/access_token", access=by_secret)
def access_token() -> Response:
    """Tokens for everything, for an ID token of the provider; a client that is not certified gets a session code."""
    given, auth, seen = body(), instance().auth, credentials()
    named = {name: given.get(name) or "" for name in _FIELDS}
    if not all(isinstance(value, str) for value in named.values()):
        raise BadRequest("The fields are texts")
    oauth = auth.oauth(request.host_url.rstrip("/"))
    oauth.check_client(named["client_id"], named["client_secret"])
    auth.attempts.limit("delegated", 30, 300, source_of(seen.address))
    _delegated().check(named["id_token"])
    if auth.factors.kind:
        if not named["two_factor_token"]:
            return private(answer({"two_factor_token": auth.factors.challenge()}, 401))
        auth.check_factor(named["two_factor_token"], named["two_factor_passcode"], seen)
    made = oauth.certified(named["client_id"], named["client_secret"])
    if made is None:
        return private(answer({"session_code": auth.new_session_code()}, 202))
    auth.trail.note("logged_in", seen, "provider, flagship application")
    return private(answer(made))


def _login() -> Response:
    code = request.args.get("code", "")
    if not code or request.args.get("error"):
        raise Unauthorized("The provider did not say who you are")
    wanted = _delegated().finish(request.args.get("state", ""), code, request.cookies.get(COOKIE, ""))
    if asks_for_factor():
        done = redirect(to_factor(long_run_session="true", redirect=wanted))
    else:
        done = entered(target(wanted), f"provider {_delegated().provider.name}", long_run=True)
    done.delete_cookie(COOKIE, path="/oidc", httponly=True, samesite="Lax")
    return done


def _delegated() -> "Delegated":
    found = instance().delegated
    if found is None:
        raise NotFound("There is no provider")
    return found
