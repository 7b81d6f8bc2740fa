"""Answers that several services give: redirects, answers for one client alone, what apps' hosts may read."""

from typing import Any

from flask import Response, request
from werkzeug.datastructures import Headers

PREFLIGHT_FOR = "43200"
"""Seconds for which a browser need not ask again."""


class _Redirect(Response):
    """Its target goes out as it is: werkzeug would drop an empty fragment, and the slashes of `app://?code=`."""

    def get_wsgi_headers(self, environ: Any) -> Headers:
        """As werkzeug's, with our Location."""
        headers = super().get_wsgi_headers(environ)
        headers["Location"] = self.headers["Location"]
        return headers


def redirect(target: str, status: int = 303, *, exact: bool = False) -> Response:
    """A redirect without a body.

    :param exact: the target, in ASCII, goes out letter by letter.
    """
    gone = _Redirect(status=status) if exact else Response(status=status)
    del gone.headers["Content-Type"]
    gone.headers["Location"] = target
    gone.headers["Cache-Control"] = "no-store"
    return gone


def private(response: Response) -> Response:
    """An answer that holds a secret: nobody keeps it (RFC 6749, section 5.1)."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response


def preflight(methods: str) -> Response:
    """What a browser asks before a request of another origin."""
    allowed = Response(status=204)
    allowed.headers["Access-Control-Allow-Methods"] = methods
    allowed.headers["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")
    allowed.headers["Access-Control-Max-Age"] = PREFLIGHT_FOR
    return echo_origin(allowed)


def echo_origin(response: Response) -> Response:
    """Let the asking origin read the answer: apps live on hosts of their own."""
    origin = request.headers.get("Origin")
    if origin:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.vary.add("Origin")
    return response
