"""How errors are written: JSON:API, the two shapes of `/data`, plain by Accept, or a page (docs/http/errors.md)."""

from collections.abc import Callable

from flask import Response, request

from blueprints import _jsonapi
from blueprints._request import ErrorShape
from cozyd import errors, jsons
from cozyd.errors import (
    BadRequest,
    BadToken,
    Conflict,
    CozyError,
    Forbidden,
    Invalid,
    Moved,
    NotFound,
    RangeNotSatisfiable,
    TriggerUnparsable,
    Unauthorized,
    Unavailable,
)

WritePage = Callable[[CozyError], Response]


def no_route() -> NotFound:
    """The error of a route or method that does not exist; the reference never answers 405."""
    return NotFound("Not Found", error="no_route")


def from_status(status: int, detail: str) -> CozyError:
    """A framework's own error as one of ours."""
    known = {kind.status: kind for kind in (errors.BadRequest, errors.TooLarge, errors.Unsupported, errors.PreconditionFailed)}
    return known[status](detail) if status in known else CozyError()


def write(error: CozyError, shape: ErrorShape, page: WritePage) -> Response:
    """An error as a response in the shape of its service, with the headers its kind asks for.

    What nobody foresaw tells nothing but the request's id, which the log has too.
    """
    if type(error) is CozyError:
        error = CozyError(f"An unexpected error occurred; the request was {request.environ.get('cozyd.request_id', '')}")
    answer = _write(error, shape, page)
    if isinstance(error, BadToken):
        expired = ' error_description="The access token expired"' if error.expired else ""
        answer.headers["WWW-Authenticate"] = f'Bearer error="invalid_token"{expired}'
    elif isinstance(error, Unauthorized):
        answer.headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, RangeNotSatisfiable):
        answer.headers["Content-Range"] = f"bytes */{error.size}"
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def _write(error: CozyError, shape: ErrorShape, page: WritePage) -> Response:
    if isinstance(error, Moved):
        return _jsonapi.error_answer(error)
    if shape == "oauth" and type(error) is not CozyError and error.error != "no_route":
        return _json(error.status, _oauth_body(error))
    if shape == "page" and "Accept" not in request.headers and error.error != "no_route":
        return page(error)
    if shape == "rights" and isinstance(error, Forbidden | BadRequest) and not error.source:
        return _accepted(error, page)
    if shape == "data":
        return _json(error.status if not isinstance(error, Invalid) else 400, _data_body(error))
    if shape == "couchdb":
        return _json(error.status if not isinstance(error, Invalid) else 400, _couchdb_body(error))
    if shape in ("page", "accept") or _by_accept(error):
        return _accepted(error, page)
    return _jsonapi.error_answer(error)


def _by_accept(error: CozyError) -> bool:
    """Errors about who is asking, and unknown routes, have no service's shape."""
    if isinstance(error, Unauthorized | BadToken | RangeNotSatisfiable | TriggerUnparsable):
        return True
    return (isinstance(error, Forbidden) and error.detail == error.title) or error.error == "no_route"


def _accepted(error: CozyError, page: WritePage) -> Response:
    accept = request.headers.get("Accept", "")
    if "application/json" in accept:
        return _json(error.status, {"error": error.detail})
    if "text/html" in accept:
        return page(error)
    return Response(error.detail, error.status, content_type="text/plain; charset=utf-8")


def _framework(error: CozyError) -> dict[str, object]:
    return {"error": f"code={error.status}, message={error.detail}"}


def _data_body(error: CozyError) -> dict[str, object]:
    if isinstance(error, Unauthorized | BadToken | Forbidden) or error.error == "no_route":
        return _framework(error)
    if isinstance(error, BadRequest) and error.error == error.name:
        return {"error": f"Bad Request(400): {error.detail}"}
    if type(error) is CozyError:
        return {"error": error.detail}
    status = 400 if isinstance(error, Invalid) else error.status
    name = "no_couch" if type(error) is Unavailable else error.error
    return {"ok": False, "status": str(status), "error": name, "reason": error.detail}


def _oauth_body(error: CozyError) -> dict[str, object]:
    """RFC 7591's names with a description; else the sentence itself, as the reference has it."""
    if isinstance(error, Conflict):
        return {"error": error.name}
    if error.error == error.name:
        return {"error": error.detail}
    return {"error": error.error, "error_description": error.detail}


def _couchdb_body(error: CozyError) -> dict[str, object]:
    if isinstance(error, Unauthorized | BadToken | Forbidden) or error.error == "no_route":
        return _framework(error)
    if isinstance(error, BadRequest) and error.error == error.name:
        return {"error": f"Bad Request(400): {error.detail}"}
    return {"error": error.error, "reason": error.detail}


def _json(status: int, body: dict[str, object]) -> Response:
    return Response(jsons.dump(body), status, content_type="application/json")
