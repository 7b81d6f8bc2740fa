"""What every way to log in ends with: the cookies of the session and of a browser that is known."""

from flask import Response, request

from blueprints._request import KNOWN_COOKIE, SESSION_COOKIE, credentials, instance

LONG_RUN = 10 * 365 * 24 * 3600
KNOWN_FOR = 365 * 24 * 3600


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


def without_session(answer: Response) -> Response:
    """End the session of the request, and forget its cookie."""
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie:
        instance().auth.log_out(cookie, credentials())
    answer.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="Lax")
    return answer
