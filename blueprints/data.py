"""`/data`: documents, lists and queries of any doctype (docs/http/data.md). What replicas use is in `replication.py`."""

from typing import Any, Literal, cast
from urllib.parse import unquote_plus

from flask import Response, request

from blueprints import _documents
from blueprints._request import Service, allow, asks, body, flag, instance, number, public, rule
from cozyd import jsons
from cozyd.documents import mango
from cozyd.documents.store import Doc, Page, Query, Ref, Stored
from cozyd.errors import BadRequest, Conflict, Forbidden, NotFound
from cozyd.instance import SETTINGS
from cozyd.permissions import CLOSED, Action, check_doctype, check_readable, check_writable

service = _documents.with_ids(Service("data", __name__, url_prefix="/data", errors="data"))

PAGE = 100
LARGEST_PAGE = 1000


@service.get("/", access=public)
def welcome() -> Response:
    """What PouchDB asks of a server before anything else."""
    return _documents.answer({"message": "welcome to a cozy API"})


@service.get("/_all_doctypes", access=rule("GET", "io.cozy.doctypes"))
def all_doctypes() -> Response:
    """The readable doctypes that have documents, or had."""
    return _documents.answer([name for name in instance().docs.doctypes() if name not in CLOSED])


@service.get("/<doctype>/", access=asks("GET"))
def information(doctype: str) -> Response:
    """Figures of a doctype, as CouchDB's of a database."""
    allow("GET", doctype)
    check_readable(doctype)
    info = instance().docs.info(doctype)
    sizes = {"file": info.size, "external": info.size, "active": info.size}
    figures = {"doc_count": info.count, "doc_del_count": info.deleted, "update_seq": info.seq, "purge_seq": 0, "sizes": sizes}
    old_names = {"data_size": info.size, "disk_size": info.size, "disk_format_version": 8, "other": {"data_size": info.size}}
    return _documents.answer({"db_name": doctype} | figures | old_names | {"compact_running": False, "instance_start_time": "0"})


@service.delete("/<doctype>/", access=asks("DELETE"))
def drop(doctype: str) -> Response:
    """Delete a doctype with all its documents."""
    check_writable(doctype)
    allow("DELETE", doctype)
    docs = instance().docs
    if doctype == SETTINGS.doctype:
        _documents.keep_address(docs, SETTINGS, None)
    docs.drop(doctype)
    return _documents.answer({"ok": True, "deleted": True})


@service.post("/<doctype>/", access=asks("POST"))
def create(doctype: str) -> Response:
    """Create a document; the server chooses its id."""
    check_writable(doctype)
    fields = body()
    if fields.get("_id"):
        raise BadRequest("document _id should be empty", error="defined_id")
    fields.pop("_id", None)
    fields.pop("_rev", None)
    allow("POST", doctype, fields)
    return _written(instance().docs.put(doctype, fields), 201)


@service.get("/<doctype>/<docid:id>", access=asks("GET"))
def read(doctype: str, id: str) -> Response:
    """One document; with `revs=true` as CouchDB itself would give it."""
    ref = _ref(doctype, id)
    check_readable(doctype)
    docs = instance().docs
    try:
        stored = docs.get(ref)
    except NotFound as missing:
        allow("GET", doctype)
        if flag("revs") and ("open_revs" in request.args or "rev" in request.args):
            return _documents.with_revisions(docs, ref, request.args, _permit)
        raise _without_doctype(missing) from missing
    _permit(stored)
    if flag("revs"):
        return _documents.with_revisions(docs, ref, request.args, _permit)
    return _documents.text_answer(stored.render(_type=doctype))


@service.put("/<doctype>/<docid:id>", access=asks("PUT"))
def update(doctype: str, id: str) -> Response:
    """Update a document (`_id` and `_rev` in the body), or create it under this id (neither)."""
    ref = _ref(doctype, id)
    check_writable(doctype)
    fields = body()
    fields.pop("_type", None)
    if ("_id" in fields) != ("_rev" in fields):
        raise BadRequest("You must either provide an _id and _rev in document (update) or neither (create with fixed id).")
    if fields.setdefault("_id", ref.id) != ref.id:
        raise BadRequest("document _id doesnt match url")
    if "_rev" not in fields:
        allow("POST", doctype, fields)
        return _written(instance().docs.put(doctype, fields), 200)
    _allow_update(ref, fields)
    _documents.keep_address(instance().docs, ref, None if fields.get("_deleted") is True else fields)
    return _written(instance().docs.put(doctype, fields), 200)


@service.delete("/<doctype>/<docid:id>", access=asks("DELETE"))
def delete(doctype: str, id: str) -> Response:
    """Delete a document at a revision, given by `rev` or If-Match."""
    ref = _ref(doctype, id)
    check_writable(doctype)
    try:
        stored = instance().docs.get(ref)
    except NotFound:
        allow("DELETE", doctype)
        raise
    allow("DELETE", doctype, stored)
    given = {value for value in (request.args.get("rev"), request.headers.get("If-Match")) if value}
    if len(given) != 1:
        raise BadRequest("delete without revision" if not given else "If-Match header and rev query parameters mismatch")
    rev = _documents.check_rev(given.pop())
    _documents.keep_address(instance().docs, ref, None)
    rev = instance().docs.delete(ref, rev)
    return _documents.answer({"ok": True, "id": ref.id, "rev": rev, "type": doctype, "deleted": True})


@service.post("/<doctype>/_index", access=asks("GET"))
def make_index(doctype: str) -> Response:
    """Make a Mango index; one that is there already is fine."""
    check_readable(doctype)
    allow("GET", doctype)
    wanted = mango.parse_index(body())
    docs = instance().docs
    before = _find_design(doctype, wanted.ddoc)
    if before is not None and wanted.ddoc in docs.protected(doctype) and wanted not in mango.index_from_design(before.doc):
        raise Forbidden("This design doc cannot be changed")
    ref = docs.index(doctype, wanted.fields, name=wanted.name, ddoc=wanted.ddoc, where=wanted.where)
    after = docs.get(ref)
    result = "exists" if before is not None and before.rev == after.rev else "created"
    return _documents.answer({"result": result, "id": ref.id, "name": wanted.name})


@service.post("/<doctype>/_find", access=asks("GET"))
def find(doctype: str) -> Response:
    """A Mango query; one that no index serves is refused, as cozy-client makes the index then."""
    check_readable(doctype)
    allow("GET", doctype)
    asked = body()
    query = parse_query(asked)
    page = instance().docs.find(doctype, query)
    if page.warning and "matching index found" in page.warning.lower():
        raise BadRequest("no matching index found, create an index", error="no_index")
    found: dict[str, Any] = {"limit": query.limit, "next": len(page.rows) >= query.limit, "bookmark": page.bookmark or ""}
    if page.warning:
        found["warning"] = page.warning
    if asked.get("execution_stats") is True:
        found["execution_stats"] = dict(page.stats)
    return _documents.spliced(found, "docs", [_cut(stored, query) for stored in page.rows])


@service.get("/<doctype>/_normal_docs", access=asks("GET"))
def normal_docs(doctype: str) -> Response:
    """All documents but design documents, page by page."""
    check_readable(doctype)
    allow("GET", doctype)
    limit = _page_limit(request.args.get("limit"))
    bookmark = request.args.get("bookmark") or None
    skip = 0 if bookmark else (number("skip", 0) or 0)
    docs = instance().docs
    query = Query({"_id": {"$gt": None}}, limit=limit, skip=skip, bookmark=bookmark)
    page = docs.find(doctype, query)
    designs = docs.all(doctype, start="_design/", end="_design0", docs=False).rows
    total = docs.info(doctype).count - len(designs)
    found: dict[str, Any] = {"total_rows": total, "bookmark": page.bookmark or ""}
    if flag("execution_stats"):
        found["execution_stats"] = dict(page.stats)
    return _documents.spliced(found, "rows", [stored.render() for stored in page.rows])


@service.route("/<doctype>/_all_docs", methods=["GET", "POST"], access=asks("GET"))
def all_docs(doctype: str) -> Response:
    """All documents by id, as CouchDB's; or with `Fields`, cut to these."""
    check_readable(doctype)
    allow("GET", doctype)
    options = _documents.list_options(request.args, body() if request.method == "POST" and request.content_length else {})
    if "Fields" in request.args:
        return _cut_docs(doctype, options, request.args["Fields"].split(","))
    return _documents.all_docs(instance().docs, doctype, options, designs=request.args.get("DesignDocs") != "false")


@service.get("/<doctype>/_design_docs", access=asks("GET"))
def design_docs(doctype: str) -> Response:
    """The design documents, as rows of `_all_docs`."""
    check_readable(doctype)
    allow("GET", doctype)
    options = _documents.list_options(request.args, {})
    ends = ("_design0", "_design/") if options["descending"] else ("_design/", "_design0")
    options |= {"start": ends[0], "end": ends[1], "keys": None}
    return _documents.all_docs(instance().docs, doctype, options)


@service.get("/<doctype>/_design/<name>", access=asks("GET"))
def design_doc(doctype: str, name: str) -> Response:
    """One design document."""
    allow("GET", doctype)
    check_readable(doctype)
    return Response(instance().docs.get(Ref(doctype, f"_design/{name}")).render(), content_type="application/json")


@service.delete("/<doctype>/_design/<name>", access=asks("GET"))
def delete_design_doc(doctype: str, name: str) -> Response:
    """Delete a design document, and the index it describes."""
    allow("GET", doctype)
    check_readable(doctype)
    rev = request.args.get("rev")
    if not rev:
        raise BadRequest("You must pass a rev param")
    if name in instance().docs.protected(doctype):
        raise Forbidden("This design doc cannot be deleted")
    ref = Ref(doctype, f"_design/{name}")
    return _documents.answer({"ok": True, "id": ref.id, "rev": instance().docs.delete(ref, _documents.check_rev(rev))})


@service.post("/<doctype>/_design/<name>/copy", access=asks("GET"))
def copy_design_doc(doctype: str, name: str) -> Response:
    """Copy a design document to the one that the header Destination names."""
    allow("GET", doctype)
    check_readable(doctype)
    target = request.headers.get("Destination", "")
    if not target.startswith("_design/"):
        return _documents.answer("You must set a Destination header", 400)
    source = instance().docs.get(Ref(doctype, f"_design/{name}"))
    fields = {key: value for key, value in source.doc.items() if not key.startswith("_")}
    made = instance().docs.put(doctype, fields | {"_id": target})
    return _documents.answer({"ok": True, "id": target, "rev": made.rev}, 201)


def parse_query(asked: Doc) -> Query:
    """Read the body of a `_find`.

    :raises BadRequest: no selector, or a member of the wrong type.
    """
    if not isinstance(asked.get("selector"), dict):
        raise BadRequest("Missing required key: selector", error="missing_required_key")
    fields = asked.get("fields") or None
    if fields is not None and not (isinstance(fields, list) and all(isinstance(name, str) for name in fields)):
        raise BadRequest("fields must be an array of strings", error="invalid_fields")
    bookmark = asked.get("bookmark") or None
    if bookmark is not None and not isinstance(bookmark, str):
        raise BadRequest("bookmark must be a string", error="invalid_bookmark")
    skip = asked.get("skip") or 0
    if isinstance(skip, bool) or not isinstance(skip, int) or skip < 0:
        raise BadRequest("skip must be a non-negative integer", error="invalid_key")
    return Query(
        asked["selector"],
        sort=_sort(asked.get("sort") or []),
        fields=fields,
        limit=_page_limit(asked.get("limit")),
        skip=skip,
        bookmark=bookmark,
        index=_use_index(asked.get("use_index")),
    )


def _page_limit(given: Any) -> int:
    """A missing, odd or too large limit means 100."""
    try:
        limit = int(given)
    except (TypeError, ValueError):
        return PAGE
    return limit if 0 < limit <= LARGEST_PAGE else PAGE


def _sort(given: Any) -> tuple[tuple[str, Literal["asc", "desc"]], ...]:
    if not isinstance(given, list):
        raise BadRequest("sort must be an array", error="invalid_sort_json")
    found: list[tuple[str, Literal["asc", "desc"]]] = []
    for item in given:
        if isinstance(item, str):
            found.append((item, "asc"))
        elif isinstance(item, dict) and len(item) == 1 and next(iter(item.values())) in ("asc", "desc"):
            name, direction = next(iter(item.items()))
            found.append((name, cast(Literal["asc", "desc"], direction)))
        else:
            raise BadRequest("Invalid sort field", error="invalid_sort_field")
    return tuple(found)


def _use_index(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        given = [given]
    if not given:
        return ()
    if not (isinstance(given, list) and len(given) <= 2 and all(isinstance(part, str) for part in given)):
        raise BadRequest("use_index must be a string or an array of one or two", error="invalid_index")
    return tuple(part.removeprefix("_design/") for part in given)


def _cut(stored: Stored, query: Query) -> bytes:
    if query.fields is None:
        return stored.render()
    return jsons.dump(mango.project(stored.doc, query.fields))


def _cut_docs(doctype: str, options: _documents.ListOptions, fields: list[str]) -> Response:
    options = options | {"keys": None, "include_docs": True}
    page: Page = _documents.list_page(instance().docs, doctype, options)
    kept = [stored for stored in page.rows if not (stored.ref.id.startswith("_design/") and request.args.get("DesignDocs") == "false")]
    rows = [
        _documents.with_member({"id": stored.ref.id, "rev": stored.rev}, "doc", jsons.dump(mango.project(stored.doc, fields)))
        for stored in kept
    ]
    return _documents.spliced({"offset": 0, "total_rows": len(rows)}, "rows", rows)


def _ref(doctype: str, id: str) -> Ref:
    """Where the URL points; ids are encoded query-style by clients: a `+` is a space."""
    check_doctype(doctype)
    raw: str = request.environ.get("REQUEST_URI", "")
    if "%" in raw or "+" in raw:
        path = raw.partition("?")[0].partition("/data/")[2]
        id = _decoded(path.partition("/")[2])
    if id.startswith("_"):
        raise BadRequest(f"Unsuported couchdb operation {id}", error="bad_id")
    return Ref(doctype, id)


def _decoded(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError as cause:
        raise BadRequest("The id is not UTF-8") from cause


def _allow_update(ref: Ref, fields: Doc) -> None:
    """An update needs the right on the whole type, or on both the old and the new version."""
    _documents.check_rev(fields["_rev"])
    action: Action = "PUT"
    try:
        old = instance().docs.get(ref)
    except NotFound as missing:
        allow(action, ref.doctype)
        if missing.detail == "deleted":
            raise Conflict(refs=[ref]) from missing
        raise _without_doctype(missing) from missing
    allow(action, ref.doctype, old)
    allow(action, ref.doctype, fields)
    if fields.get("_deleted") is True:
        allow("DELETE", ref.doctype, old)


def _permit(stored: Stored) -> None:
    allow("GET", stored.ref.doctype, stored)


def _without_doctype(missing: NotFound) -> NotFound:
    return NotFound("wrong_doctype") if missing.detail == "Database does not exist." else missing


def _find_design(doctype: str, ddoc: str) -> Stored | None:
    found = instance().docs.get_many(doctype, [f"_design/{ddoc}"])
    return found[0] if found else None


def _written(stored: Stored, status: int) -> Response:
    ref = stored.ref
    head = jsons.dump({"ok": True, "id": ref.id, "rev": stored.rev, "type": ref.doctype})
    return Response(head[:-1] + b',"data":' + stored.render(_type=ref.doctype) + b"}", status, content_type="application/json")
