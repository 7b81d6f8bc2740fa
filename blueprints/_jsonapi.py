"""Resources, lists, links and errors in JSON:API (https://jsonapi.org), as the reference writes them."""

import gzip
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request

from cozyd import jsons
from cozyd.errors import BadRequest, CozyError, Infected, Moved, TokenRefused

MEDIA_TYPE = "application/vnd.api+json"
WORTH_PACKING, PACKING = 1024, 4
"""From how many bytes on an answer is packed, and how hard."""
Resource = dict[str, Any]
_OF_THE_STORE = frozenset(("missing", "deleted", "Database does not exist.", "Document update conflict."))
"""Reasons that the store gives: its own short name is the title then."""


def resource(
    type: str,
    id: str,
    attributes: Mapping[str, Any],
    *,
    rev: str = "",
    links: Mapping[str, Any] | None = None,
    relationships: Mapping[str, Any] | None = None,
) -> Resource:
    """One resource object; `meta.rev` and `links.self` where they are known."""
    found: Resource = {"type": type, "id": id, "attributes": dict(attributes), "meta": {"rev": rev} if rev else {}}
    if links is not None:
        found["links"] = dict(links)
    if relationships is not None:
        found["relationships"] = dict(relationships)
    return found


def answer(
    data: Resource | Sequence[Resource] | None,
    *,
    status: int = 200,
    included: Sequence[Resource] | None = None,
    links: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Response:
    """A whole document as a response; `included` is left out where there is nothing in it, as the reference does."""
    document: dict[str, Any] = {"data": data}
    if included:
        document["included"] = included
    if links is not None:
        document["links"] = links
    if meta is not None:
        document["meta"] = meta
    return packed(jsons.dump(document), status)


def packed(text: bytes, status: int = 200, *, type: str = MEDIA_TYPE) -> Response:
    """JSON, in gzip where the client takes it and it is worth it."""
    headers = {"Vary": "Accept-Encoding"}
    if len(text) >= WORTH_PACKING and request.accept_encodings["gzip"]:
        text = gzip.compress(text, compresslevel=PACKING, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(text, status, headers, content_type=type)


def error_object(error: CozyError) -> Resource:
    """One error object; `source` is always there, a JSON pointer or a parameter."""
    title = error.title
    source: dict[str, str] = {}
    if error.source.startswith("/"):
        source["pointer"] = error.source
    elif error.source:
        source["parameter"] = error.source
    if error.status == 422 and source:
        title = "Invalid Attribute" if "pointer" in source else "Invalid Parameter"
    elif error.error != error.name or error.detail in _OF_THE_STORE:
        title = error.error
    found: Resource = {"status": str(error.status), "title": title, "detail": error.detail, "source": source}
    if isinstance(error, Moved):
        return found | {"title": "Cozy has been moved", "code": error.name, "links": {"related": error.location} if error.location else {}}
    return found | ({"code": error.name} if isinstance(error, Infected | TokenRefused) else {})


def error_answer(error: CozyError) -> Response:
    """An error as a response."""
    return Response(jsons.dump({"errors": [error_object(error)]}), error.status, content_type=MEDIA_TYPE)


def errors_answer(found: Sequence[Resource], status: int) -> Response:
    """Several error objects as a response."""
    return Response(jsons.dump({"errors": found}), status, content_type=MEDIA_TYPE)


def attributes_of(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The attributes of the resource in a body, and its revision, empty when it names none.

    :raises BadRequest: it has no resource with attributes.
    """
    data = document.get("data")
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(attributes, dict):
        raise BadRequest("The body must have data with attributes", source="/data/attributes")
    meta = data.get("meta")
    rev = meta.get("rev") if isinstance(meta, dict) else None
    return attributes, rev if isinstance(rev, str) else ""


def bad_cursor() -> BadRequest:
    """The error of a `page[cursor]` that is none."""
    return BadRequest("Invalid page cursor", source="page[cursor]")
