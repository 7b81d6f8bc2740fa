"""`/realtime`: what was not handed over to the sockets, and events that apps push (docs/http/realtime.md)."""

from flask import Response

from blueprints._errors import no_route
from blueprints._request import Service, allow, asks, body, instance, public
from cozyd import jsons
from cozyd.documents.store import Change, Ref, Stored
from cozyd.errors import BadRequest, Forbidden
from cozyd.permissions import check_readable

service = Service("realtime", __name__, url_prefix="/realtime")


@service.get("/", access=public)
def not_an_upgrade() -> Response:
    """A WebSocket's opening never comes here: this request is none."""
    return Response("Bad Request", 400, content_type="text/plain; charset=utf-8")


@service.get("", access=public)
def without_slash() -> Response:
    """Clients ask with a slash at the end; nothing is redirected."""
    raise no_route()


@service.post("/<doctype>/<path:id>", access=asks("POST"))
def push(doctype: str, id: str) -> Response:
    """Tell the subscribers of a document something that is not stored."""
    try:
        check_readable(doctype)
    except Forbidden as error:
        raise BadRequest(f"code=403, message={error.detail}") from error
    fields = {name: value for name, value in body().items() if not name.startswith("_")}
    allow("POST", doctype, fields | {"_id": id})
    event = Stored(Ref(doctype, id), "", jsons.dump(fields))
    instance().docs.tell([Change("NOTIFIED", event)])
    return Response(status=204)
