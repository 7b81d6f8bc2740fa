"""References between documents and files, and folders left out on devices (docs/http/files.md)."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from flask import Response, request

from blueprints import _documents, _files_json, _jsonapi, _patches
from blueprints._files import allowed, author, files, may
from blueprints._request import Service, allow, asks, body, number, principal
from cozyd.errors import BadRequest, Forbidden, NotFound
from cozyd.files import Node
from cozyd.files.lookup import NOT_FOUND
from cozyd.files.references import Field
from cozyd.files.tree import Reference
from cozyd.permissions import FILES, Action, check_doctype

service = Service("references", __name__, url_prefix="/files")
from_documents = _documents.with_ids(Service("references_from_documents", __name__, url_prefix="/data", errors="data"))

PAGE, LARGEST_PAGE = 100, 1000
FIELDS: Mapping[str, Field] = {"references": "referenced_by", "not_synchronizing": "not_synchronized_on"}
"""What the two lists of a document are called in its address, and in the documents of folders and files."""
LISTS = "/<doctype>/<docid:id>/relationships/<any(references, not_synchronizing):kind>"


# -- of a folder or file ------------------------------------------------------------------------------------------------


@service.post("/<id>/relationships/referenced_by", access=asks("PATCH"))
def add(id: str) -> Response:
    """Have documents point at a folder or file."""
    allowed("PATCH", files().get(id))
    return _changed(id, "referenced_by", add=_references())


@service.delete("/<id>/relationships/referenced_by", access=asks("DELETE"))
def remove(id: str) -> Response:
    """Have documents point at it no longer."""
    allowed("DELETE", files().get(id))
    return _changed(id, "referenced_by", remove=_references())


@service.post("/<id>/relationships/not_synchronized_on", access=asks("PATCH"))
def leave_out(id: str) -> Response:
    """Leave a folder out on devices."""
    allowed("PATCH", files().dir(id))
    return _changed(id, "not_synchronized_on", add=_references())


@service.delete("/<id>/relationships/not_synchronized_on", access=asks("PATCH"))
def take_in(id: str) -> Response:
    """Have devices synchronize a folder again."""
    allowed("PATCH", files().dir(id))
    return _changed(id, "not_synchronized_on", remove=_references())


def _changed(id: str, field: Field, *, add: Sequence[Reference] = (), remove: Sequence[Reference] = ()) -> Response:
    node = files().references.change([id], field, add=add, remove=remove, author=author())[0]
    found = node.stored.doc.get(field) or []
    return _jsonapi.answer(found, meta={"rev": node.rev, "count": len(found)})


def _references() -> Sequence[Reference]:
    """The references in the body.

    :raises BadRequest: it has none.
    """
    return [Reference(one["type"], one["id"]) for one in _given("type", "id")]


def _given(*members: str) -> Sequence[Mapping[str, Any]]:
    """The resource identifiers in the body: a list, or one object.

    :param members: what each has to have.
    :raises BadRequest: it has none.
    """
    data = body().get("data")
    found = [data] if isinstance(data, dict) else data
    if not isinstance(found, list) or not all(_has(one, members) for one in found):
        raise BadRequest(_patches.MALFORMED, source="/data")
    return found


def _has(one: Any, members: Sequence[str]) -> bool:
    return isinstance(one, dict) and all(isinstance(one.get(name), str) and one[name] for name in members)


# -- of a document ------------------------------------------------------------------------------------------------------


@from_documents.get(LISTS, access=asks("GET"))
def listed(doctype: str, id: str, kind: str) -> Response:
    """The folders and files a document points at, or the folders that a device leaves out."""
    return _list(Reference(doctype, id), FIELDS[kind])


@from_documents.post(LISTS, access=asks("PUT"))
def point(doctype: str, id: str, kind: str) -> Response:
    """Have a document point at folders and files, or a device leave folders out."""
    return _point(Reference(doctype, id), FIELDS[kind], "PUT")


@from_documents.delete(LISTS, access=asks("DELETE"))
def unpoint(doctype: str, id: str, kind: str) -> Response:
    """Have a document point at them no longer, or a device synchronize them again."""
    return _point(Reference(doctype, id), FIELDS[kind], "DELETE")


def _allow(action: Action, reference: Reference) -> None:
    """A rule that names the document's type or id, or one on all files.

    :raises Forbidden: there is neither.
    """
    check_doctype(reference.type)
    try:
        allow(action, reference.type, {"_id": reference.id})
    except Forbidden:
        principal().check("GET" if action == "GET" else "PATCH", FILES)


def _point(reference: Reference, field: Field, action: Action) -> Response:
    _allow(action, reference)
    ids = [one["id"] for one in _given("id")]  # whatever type they tell: only folders and files are referenced
    try:
        if action == "PUT":
            _check_seen(ids)
            files().references.change(ids, field, add=[reference], author=author())
        else:
            files().references.change(ids, field, remove=[reference, *_legacy(reference)], author=author())
    except NotFound:
        raise NotFound(NOT_FOUND, error="Not Found") from None
    return Response(status=204)


def _check_seen(ids: Sequence[str]) -> None:
    """Whoever has a document point at a file sees it: else a rule on what the document points at would open any file.

    The operator's own tools are not asked.
    :raises NotFound: there is no such file.
    :raises Forbidden: one may not be read.
    """
    if principal().kind != "cli" and not may("PATCH", FILES):
        for id in ids:
            allowed("GET", files().get(id))


def _seen(nodes: Iterable[Node]) -> Sequence[Node]:
    """Those that the principal may read: the right to a document is none to the files that it points at."""
    if may("GET", FILES):
        return list(nodes)
    found: list[Node] = []
    for node in nodes:
        with suppress(Forbidden):
            found.append(allowed("GET", node))
    return found


def _legacy(reference: Reference) -> Sequence[Reference]:
    """The same reference as old clients wrote it: the slash in its id encoded."""
    if "/" not in reference.id:
        return ()
    return [Reference(reference.type, reference.id.replace("/", code)) for code in ("%2F", "%2f")]


def _list(reference: Reference, field: Field) -> Response:
    _allow("GET", reference)
    sort = request.args.get("sort") or "id"
    if sort.removeprefix("-") not in ("id", "datetime"):
        raise BadRequest("Invalid sort parameter")
    references = files().references
    count = references.count(field, reference)
    for old in _legacy(reference) if not count else ():
        if references.count(field, old):
            reference, count = old, references.count(field, old)
            break
    limit = min(number("page[limit]", PAGE) or 0, LARGEST_PAGE)
    page = _files_json.Page(limit, request.args.get("page[cursor]"), number("page[skip]", None))
    rows, more = page.cut(
        references.rows(
            field,
            reference,
            by_time=sort.endswith("datetime"),
            descending=sort.startswith("-"),
            after=page.after,
            skip=page.skip or 0,
            limit=page.limit + 1,
        )
    )
    links = {"next": f"{_address()}?{page.next(rows)}{f'&sort={sort}' if sort != 'id' else ''}"} if more else {}
    nodes = _seen(files().named(rows)) if request.args.get("include") == "files" else None
    return _jsonapi.answer(
        [_files_json.identifier(row.ref.id) for row in rows],
        included=None if nodes is None else [_files_json.short(files(), node.stored) for node in nodes],
        links=links,
        meta={"count": count},
    )


def _address() -> str:
    """The path as it was asked, encoded."""
    raw: str = request.environ.get("REQUEST_URI") or request.path
    return raw.partition("?")[0]
