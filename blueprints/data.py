"""`/data`: documents, lists and queries of any doctype (docs/http/data.md). What replicas use is in `replication.py`."""

import re
from typing import Any
from urllib.parse import unquote_plus

from flask import Response, request

from blueprints import _accounts, _documents
from blueprints._errors import no_route
from blueprints._request import Service, allow, asks, body, flag, instance, public, rule
from cozyd import jsons
from cozyd.accounts import ACCOUNTS
from cozyd.documents import mango, mango_json
from cozyd.documents.store import Doc, Page, Query, Ref, Stored
from cozyd.errors import BadRequest, Conflict, Forbidden, NotFound, Unsupported
from cozyd.permissions import CLOSED, Action, check_doctype, check_readable, check_writable
from cozyd.settings import INSTANCE

service = _documents.with_ids(Service("data", __name__, url_prefix="/data", errors="data"))

PAGE = 100
LARGEST_PAGE = 1000
_BROKEN = re.compile("%(?![0-9A-Fa-f]{2})")
BITWARDEN_SETTINGS = Ref("io.cozy.settings", "io.cozy.settings.bitwarden")
COUCHDB_PAGE = 25


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
    if doctype == INSTANCE.doctype:
        _documents.keep_guarded(instance().settings, INSTANCE, None)
    instance().docs.drop(doctype)
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
    if doctype == ACCOUNTS:
        fields = _accounts.described(fields, made=True)
    return _written(instance().docs.put(doctype, fields), 201)


@service.get("/<doctype>/<docid:id>", access=asks("GET"))
def read(doctype: str, id: str) -> Response:
    """One document; with `revs=true` as CouchDB itself would give it."""
    ref = _ref(doctype, id)
    check_readable(doctype)
    docs = instance().docs
    rev = request.args.get("rev") if doctype == ACCOUNTS and not flag("revs") else None
    try:
        stored = docs.get(ref, rev and _documents.check_rev(rev))
    except NotFound as missing:
        allow("GET", doctype)
        if flag("revs") and ("open_revs" in request.args or "rev" in request.args):
            return _documents.with_revisions(docs, ref, request.args, _permit)
        copy = _accounts.deleted(id, rev) if rev else None
        if copy is None:
            raise _without_doctype(missing) from missing
        stored = copy
    _permit(stored)
    if flag("revs"):
        return _documents.with_revisions(docs, ref, request.args, _permit)
    return _documents.text_answer(_accounts.shown(stored, reads=True).render(_type=doctype))


@service.put("/<doctype>/<docid:id>", access=asks("PUT"))
def update(doctype: str, id: str) -> Response:
    """Update a document (`_id` and `_rev` in the body), or create it under this id (neither)."""
    ref = _ref(doctype, id)
    check_writable(doctype)
    fields = body()
    fields.pop("_type", None)
    given = {name: value for name in ("_id", "_rev") if (value := fields.pop(name, None)) and isinstance(value, str)}
    if len(given) == 1:
        raise BadRequest("You must either provide an _id and _rev in document (update) or neither (create with fixed id).")
    fields |= {"_id": ref.id} | given
    if fields["_id"] != ref.id:
        raise BadRequest("document _id doesnt match url")
    if not given:
        allow("POST", doctype, fields)
        return _written(instance().docs.put(doctype, fields), 200)
    _allow_update(ref, fields)
    _documents.keep_guarded(instance().settings, ref, None if fields.get("_deleted") is True else fields)
    if doctype == ACCOUNTS:
        fields = _accounts.described(fields, made=False)
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
    _documents.keep_guarded(instance().settings, ref, None)
    rev = instance().docs.delete(ref, rev)
    return _documents.answer({"ok": True, "id": ref.id, "rev": rev, "type": doctype, "deleted": True})


@service.post("/<doctype>/_index", access=asks("GET"))
def make_index(doctype: str) -> Response:
    """Make a Mango index; one that is there already is fine."""
    check_readable(doctype)
    allow("GET", doctype)
    wanted = mango_json.parse_index(body())
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
    query = mango_json.parse_query(_find_limit(asked))
    page = instance().docs.find(doctype, query)
    if page.warning and asked.get("allow_fallback") is False and "was not used" in page.warning:
        name = f"_design/{', '.join(query.index)}"
        raise BadRequest(f"{name} specified by `use_index` could not be found or it is not suitable.", error="invalid_index")
    if page.warning and "matching index found" in page.warning.lower():
        raise BadRequest("no matching index found, create an index", error="no_index")
    found: dict[str, Any] = {"limit": query.limit, "next": len(page.rows) >= query.limit, "bookmark": page.bookmark or ""}
    if page.warning:
        found["warning"] = page.warning
    if asked.get("execution_stats") is True:
        found["execution_stats"] = dict(page.stats)
    rows = page.rows
    if asked.get("conflicts") is True:
        rows = [_documents.with_conflicts(instance().docs, stored) for stored in rows]
    return _documents.spliced(found, "docs", [_cut(stored, query) for stored in rows])


@service.get("/<doctype>/_normal_docs", access=asks("GET"))
def normal_docs(doctype: str) -> Response:
    """All documents but design documents, page by page."""
    check_readable(doctype)
    allow("GET", doctype)
    limit = _page_limit(request.args.get("limit"))
    bookmark = request.args.get("bookmark") or None
    skip = 0 if bookmark else _documents.lenient_number(request.args.get("skip"))
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
    posted = request.method == "POST"
    if posted and not {"Fields", "DesignDocs"} & request.args.keys() and request.mimetype != "application/json":
        raise Unsupported("Content-Type must be application/json")
    options = _documents.list_options(request.args, body() if posted and request.content_length else {})
    if "Fields" in request.args:
        return _cut_docs(doctype, options, request.args["Fields"].split(","))
    return _documents.all_docs(instance().docs, doctype, options, designs=request.args.get("DesignDocs") != "false")


@service.get("/<doctype>/_design_docs", access=asks("GET"))
def design_docs(doctype: str) -> Response:
    """The design documents, as rows of `_all_docs`."""
    check_readable(doctype)
    allow("GET", doctype)
    return _documents.design_docs(instance().docs, doctype, _documents.list_options(request.args, {}))


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


def _find_limit(asked: Doc) -> Doc:
    """A `_find` without a number as limit, or with one above 1,000, gets 100 documents."""
    limit = asked.get("limit")
    fits = isinstance(limit, int | float) and not isinstance(limit, bool) and limit <= LARGEST_PAGE
    return asked if fits else asked | {"limit": PAGE}


def _page_limit(text: str | None) -> int:
    """A limit in the query of `_normal_docs`; one that is none means 100, 0 what CouchDB gives by itself."""
    try:
        limit = int(text or "")
    except ValueError:
        return PAGE
    return (limit or COUCHDB_PAGE) if 0 <= limit <= LARGEST_PAGE else PAGE


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
    raw: str = request.environ.get("REQUEST_URI", "").partition("?")[0].partition("/data/")[2].partition("/")[2]
    if "/" in raw:  # a slash of an id is encoded: this would be an attachment, a view...
        raise no_route()
    if "%" in raw or "+" in raw:
        id = _decoded(raw)
    if id.startswith("_"):
        raise BadRequest(f"Unsuported couchdb operation {id}", error="bad_id")
    return Ref(doctype, id)


def _decoded(text: str) -> str:
    if _BROKEN.search(text):
        raise BadRequest("The id is not percent-encoded")
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
    try:
        allow("GET", stored.ref.doctype, stored)
    except Forbidden:
        if stored.ref != BITWARDEN_SETTINGS:
            raise
        allow("GET", "com.bitwarden.organizations")  # its clients read these settings with that right alone


def _without_doctype(missing: NotFound) -> NotFound:
    return NotFound("wrong_doctype") if missing.detail == "Database does not exist." else missing


def _find_design(doctype: str, ddoc: str) -> Stored | None:
    found = instance().docs.get_many(doctype, [f"_design/{ddoc}"])
    return found[0] if found else None


def _written(stored: Stored, status: int) -> Response:
    ref, stored = stored.ref, _accounts.shown(stored)
    head = jsons.dump({"ok": True, "id": ref.id, "rev": stored.rev, "type": ref.doctype})
    return Response(head[:-1] + b',"data":' + stored.render(_type=ref.doctype) + b"}", status, content_type="application/json")
