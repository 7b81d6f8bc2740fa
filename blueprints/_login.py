"""What every way to log in shares: attempts that are counted, the second factor, the cookies at the end (docs/http/auth.md)."""

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Response, request

from blueprints._answers import private, redirect
from blueprints._documents import answer
from blueprints._request import KNOWN_COOKIE, SESSION_COOKIE, credentials, instance
from blueprints._targets import carried, is_own_host
from cozyd.auth.passwords import ITERATIONS
from cozyd.errors import CozyError, TooManyRequests

LONG_RUN = 10 * 365 * 24 * 3600
KNOWN_FOR = 365 * 24 * 3600
TRUSTED_COOKIE, TRUSTED_FOR = "cozytrusted", 180 * 24 * 3600


def wants_json() -> bool:
    """Whether a client asked for JSON, and nothing else."""
    return request.headers.get("Accept") == "application/json"


def wants_page() -> bool:
    """Whether a browser asked that shows what comes; where the reference answers its own scripts, and always in JSON."""
    return "text/html" in request.headers.get("Accept", "")


def is_long_run() -> bool:
    """Whether the session shall outlive the browser's end; clients name it in two ways, in the form or the query."""
    return any(request.values.get(name) in ("1", "true") for name in ("long-run-session", "long_run_session"))


def shown_passphrase(name: str = "passphrase") -> str:
    """The passphrase of a form as official clients derive it; one that came in clear is derived here.

    :raises TooManyRequests: too many were tried; they are counted before anything is hashed.
    """
    auth = instance().auth
    auth.attempts.count(credentials())
    given = request.form.get(name, "")
    return auth.passphrase.derive(given) if request.form.get("clear") == "1" else given


def is_trusted() -> bool:
    """Whether no second factor is asked of this browser: it was trusted, or comes with a code that was mailed."""
    auth, mailed = instance().auth, request.values.get("email_verified_code", "")
    if mailed and auth.once.take("mailed", mailed) is not None:
        return True
    shown = request.form.get("trusted-device-token") or request.cookies.get(TRUSTED_COOKIE, "")
    return auth.factors.is_trusted(shown, credentials())


def asks_for_factor() -> bool:
    """Whether a code has to be shown, too."""
    return bool(instance().auth.factors.kind) and not is_trusted()


def to_factor(**query: str) -> str:
    """The address of the page that asks for the code."""
    given = {"two_factor_token": instance().auth.factors.challenge()} | query
    return f"{request.host_url}auth/twofactor?{urlencode(given)}"


def go(target: str) -> Response:
    """Lead there: a redirect, or its address for a client that wants JSON."""
    return private(answer({"redirect": target})) if wants_json() else redirect(target)


def lead(target: str) -> Response:
    """Lead there: its address as JSON, but a redirect for a browser without script."""
    return redirect(target) if wants_page() else private(answer({"redirect": target}))


def entered(target: str, by: str, *, long_run: bool, way: Callable[[str], Response] = go) -> Response:
    """She is in: a session, and on to the target; only to let an application in, it is one for this errand.

    :param way: how she is led there.
    """
    is_errand = _is_errand(target)
    long_run = long_run and not is_errand
    cookie = instance().auth.open_session(credentials(), by, long_run=long_run, short_run=is_errand)
    return with_session(way(carried(target, cookie)), cookie, long_run=long_run)


def _is_errand(target: str) -> bool:
    """Whether it is the page that lets an application in, which asks for more than to know that it is her."""
    parts = urlsplit(target)
    return parts.path == "/auth/authorize" and is_own_host(parts.netloc) and "login" not in parse_qs(parts.query).get("scope", ())


def with_session(answer: Response, cookie: str, *, long_run: bool) -> Response:
    """Set the cookie of a session that was opened just now; the browser is known from now on.

    :param long_run: it outlives the browser's end.
    """
    life = LONG_RUN if long_run else None
    answer.set_cookie(SESSION_COOKIE, cookie, max_age=life, path="/", secure=request.is_secure, httponly=True, samesite="Lax")
    attempts = instance().auth.attempts
    if not attempts.knows(credentials().known):
        made = attempts.new_browser()
        answer.set_cookie(KNOWN_COOKIE, made, max_age=KNOWN_FOR, path="/auth", secure=request.is_secure, httponly=True, samesite="Lax")
    return answer


def with_trust(answer: Response, token: str) -> Response:
    """Set the cookie of a browser that is asked for no code from now on."""
    answer.set_cookie(TRUSTED_COOKIE, token, max_age=TRUSTED_FOR, path="/auth", secure=request.is_secure, httponly=True, samesite="Strict")
    return answer


def without_session(answer: Response) -> Response:
    """End the session of the request, and forget its cookie."""
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie:
        instance().auth.log_out(cookie, credentials())
    answer.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="Lax")
    return answer


def refused(error: CozyError, sentence: str) -> Response:
    """A refusal as JSON; a limit says when to come again."""
    return again(private(answer({"error": sentence}, error.status)), error)


def again(answer: Response, error: CozyError) -> Response:
    """Say when to come again, if the error knows."""
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def sentence_of(error: CozyError, wrong: str) -> str:
    """Which of our sentences an error of a log-in is told with."""
    return "login.often" if isinstance(error, TooManyRequests) else wrong


def kdf_values() -> Mapping[str, object]:
    """What a form needs so that its script derives what the server knows of a passphrase."""
    kdf = instance().auth.passphrase.kdf()
    return {"salt": kdf.salt, "iterations": kdf.iterations, "new_iterations": kdf.iterations or ITERATIONS}
