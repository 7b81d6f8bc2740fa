"""`/contacts`: photos of contacts (docs/http/contacts.md)."""

import hashlib
from typing import cast

from flask import Response, request

from blueprints._request import Service, allow, asks, body_bytes, instance
from cozyd.documents.store import Ref, Stored
from cozyd.errors import NotFound
from cozyd.permissions import Action
from cozyd.pim import photo
from cozyd.pim.record import CONTACTS

service = Service("contacts", __name__, url_prefix="/contacts")


@service.get("/<id>/photo", access=asks("GET"))
def get_photo(id: str) -> Response:
    """The photo, byte for byte as a phone or an app gave it."""
    data = instance().pim.photos.get(_allowed("GET", id))
    kind = photo.kind_of(data)
    answer = Response(data, content_type=kind or "application/octet-stream")
    answer.set_etag(hashlib.md5(data, usedforsecurity=False).hexdigest())
    answer.headers["Content-Disposition"] = "inline" if kind else "attachment"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return cast(Response, answer.make_conditional(request.environ))


@service.put("/<id>/photo", access=asks("PUT"))
def put_photo(id: str) -> Response:
    """Set the photo; phones get it at their next sync."""
    _allowed("PUT", id)
    instance().pim.photos.put(id, body_bytes())
    return Response(status=204)


@service.delete("/<id>/photo", access=asks("DELETE"))
def delete_photo(id: str) -> Response:
    """Take the photo away."""
    _allowed("PUT", id)
    instance().pim.photos.remove(id)
    return Response(status=204)


def _allowed(action: Action, id: str) -> Stored:
    """The contact, when it may be read or changed."""
    try:
        stored = instance().docs.get(Ref(CONTACTS, id))
    except NotFound:
        allow(action, CONTACTS, {"_id": id})
        raise
    allow(action, CONTACTS, stored)
    return stored
