"""`/search`: full text over documents and the contents of files (docs/http/search.md)."""

from collections.abc import Sequence
from urllib.parse import urlencode

from flask import Response, request
from markupsafe import escape

from blueprints import _jsonapi
from blueprints._files import may
from blueprints._request import Service, allow, asks, instance, number
from cozyd.descriptions import searched
from cozyd.errors import BadRequest, Forbidden, Invalid
from cozyd.search.index import Hit

service = Service("search", __name__)

PAGE, LONGEST_PAGE, FURTHEST = 20, 100, 1_000


@service.get("/search", access=asks("GET"))
def search() -> Response:
    """The documents that have some words, best first, of the doctypes that the token may read as a whole."""
    query = request.args.get("q", "")
    doctypes = _doctypes(request.args.get("doctype", ""))
    limit = number("page[limit]", PAGE, low=1, high=LONGEST_PAGE) or PAGE
    skip = number("page[skip]", 0, high=FURTHEST) or 0
    found = instance().search.find(query, doctypes, limit=limit, skip=skip)
    links = {}
    if found.more and skip + limit <= FURTHEST:
        more = {"q": query, "doctype": request.args.get("doctype", ""), "page[limit]": limit, "page[skip]": skip + limit}
        links = {"next": f"/search?{urlencode(more)}"}
    return _jsonapi.answer([_result(hit) for hit in found.hits], links=links, meta={"complete": found.complete})


def _doctypes(text: str) -> Sequence[str]:
    """Among which doctypes is searched.

    :raises Forbidden: one that is named may not be read, or there is none that may.
    """
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in searched():
            raise Invalid(f"{name} is not searched", source="doctype")
        allow("GET", name)
    if len(text) > 2000:
        raise BadRequest("Too many doctypes", source="doctype")
    names = names or [name for name in searched() if may("GET", name)]
    if not names:
        raise Forbidden("There is nothing that this token may search")
    return names


def _result(hit: Hit) -> _jsonapi.Resource:
    """What is shown of a document: its title, and where the words are, as HTML with nothing but `mark`."""
    snippet = str(escape(hit.snippet)).replace("\x02", "<mark>").replace("\x03", "</mark>")
    attributes = {"title": hit.title, "snippet": snippet, "score": round(-hit.rank, 6)}
    address = f"/files/{hit.id}" if hit.doctype == "io.cozy.files" else f"/data/{hit.doctype}/{hit.id}"
    return _jsonapi.resource(hit.doctype, hit.id, attributes, links={"self": address})
