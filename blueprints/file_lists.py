"""`/files/_find`, `_all_docs`, `_changes`: folders and files as lists of documents, with paths (docs/http/files.md)."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import Response, request

from blueprints import _documents, _files_json, _jsonapi
from blueprints._files import files
from blueprints._left_out import left_out
from blueprints._request import Service, body, instance, rule, single
from cozyd import jsons
from cozyd.documents import mango, mango_json
from cozyd.documents.store import Doc, FeedRow, Query, Stored
from cozyd.errors import BadRequest, NotFound
from cozyd.files import Dir, Node
from cozyd.files.fsck import Finding
from cozyd.files.tree import TRASH_DIR, TRASH_PATH, node_of
from cozyd.permissions import FILES

service = Service("file_lists", __name__, url_prefix="/files")

MANY = 2**31 - 2
"""`meta.count` of a full page: nobody counts what a query would find."""
PAGE, LARGEST_PAGE, LARGEST_FEED = 100, 1000, 10_000
_NEEDED = ("_id", "_rev", "type", "class", "size", "trashed")
_PARAMETERS = frozenset(("since", "limit", "include_docs", "fields", "include_file_path", "skip_deleted", "skip_trashed"))


# -- queries ------------------------------------------------------------------------------------------------------------


@service.post("/_find", access=rule("GET", FILES))
def find() -> Response:
    """A Mango query; one that no index serves is refused, as cozy-client makes the index then."""
    asked = body()
    query = mango_json.parse_query(_with_page(asked))
    found = instance().docs.find(FILES, query)
    if found.warning and "matching index found" in found.warning.lower():
        raise BadRequest("no matching index found, create an index", error="no_index")
    full = len(found.rows) >= query.limit
    meta: dict[str, Any] = {"count": MANY if full else query.skip + len(found.rows)}
    if found.warning:
        meta["warning"] = found.warning
    if asked.get("execution_stats") is True:
        meta["execution_stats"] = dict(found.stats)
    links = {"next": f"/files/_find?page[cursor]={found.bookmark}"} if full and found.bookmark else {}
    return _jsonapi.answer([_found(node_of(stored), query) for stored in found.rows if "type" in stored.doc], links=links, meta=meta)


def _with_page(asked: Doc) -> Doc:
    """A query with the page that the address asks for; a limit that is missing or above 1,000 means 100."""
    args = request.args
    limit = asked.get("limit")
    missing = limit is None or (isinstance(limit, int) and limit > LARGEST_PAGE)
    more: Doc = {"limit": PAGE if missing else limit}
    for name in ("limit", "skip"):
        text = args.get(f"page[{name}]", "")
        more |= {name: int(text)} if text.isascii() and text.isdigit() else {}
    bookmark = args.get("page[cursor]") or args.get("cursor")
    return asked | more | ({"bookmark": bookmark} if bookmark else {})


def _found(node: Node, query: Query) -> _jsonapi.Resource:
    fields = query.fields
    path = files().path(node) if isinstance(node, Dir) or fields is None or "path" in fields else None
    resource = _files_json.short(files(), node.stored, path=path)
    if fields is None:
        return resource
    attributes = resource["attributes"]
    more = ("dir_id",) if "path" in fields else ()  # the reference takes it to find the path, and shows it
    resource["attributes"] = mango.project(attributes, [*fields, *_NEEDED, *more])
    if isinstance(node, Dir):
        resource.pop("links")
    return resource


@service.post("/_all_docs", access=rule("GET", FILES))
def all_docs() -> Response:
    """Folders and files by id, with their paths; what is not there is left out."""
    keys = body().get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise BadRequest("keys must be an array of ids", source="keys")
    nodes = [node for node in files().get_many(keys) if node is not None and node.id != TRASH_DIR]
    data = [_files_json.short(files(), node.stored, path=files().path(node)) for node in nodes]
    return _jsonapi.answer(data, meta={"count": len(data)})


# -- the change feed ----------------------------------------------------------------------------------------------------


@service.get("/_changes", access=rule("GET", FILES))
def changes() -> Response:
    """The change feed of folders and files."""
    single(request.args, _PARAMETERS)
    with_docs = request.args.get("include_docs") == "true"
    if not with_docs and ("include_file_path" in request.args or "skip_trashed" in request.args):
        raise BadRequest("Invalid options: include_docs should be set to true")
    hidden = left_out()
    feed = instance().docs.changes(
        FILES,
        since=request.args.get("since", ""),
        limit=_limit(),
        docs=with_docs or hidden is not None,
        match=lambda doc: not str(doc.get("_id", "")).startswith("_design/"),
    )
    rows = [_row(row, with_docs, hidden) for row in feed.rows if not _skipped(row)]
    head = {"last_seq": feed.last_seq, "pending": feed.pending}
    return _documents.spliced(head, "results", rows)


def _limit() -> int | None:
    text = request.args.get("limit", "")
    if not text:
        return None
    try:
        limit = int(text)
    except ValueError:
        raise BadRequest(f"Invalid limit value '{text}'") from None
    return min(limit, LARGEST_FEED) if limit > 0 else None


def _skipped(row: FeedRow) -> bool:
    if row.deleted:
        return "skip_deleted" in request.args
    if "skip_trashed" not in request.args or row.stored is None:
        return False
    doc = row.stored.doc
    path = str(doc.get("path", ""))
    return doc.get("trashed") is True or path == TRASH_PATH or path.startswith(TRASH_PATH + "/")


def _row(row: FeedRow, with_docs: bool, hidden: Callable[[Stored], bool] | None) -> bytes:
    head: Doc = {"id": row.id, "seq": row.seq, "changes": [{"rev": row.leaves[0]}]}
    stored = row.stored
    if stored is not None and not row.deleted and hidden is not None and hidden(stored):
        gone = {"_id": row.id, "_rev": row.leaves[0], "_deleted": True}
        return _documents.with_member(head | {"deleted": True}, "doc", jsons.dump(gone))
    if row.deleted:
        head["deleted"] = True
    if not with_docs or stored is None:
        return _documents.with_member(head, "doc", b"null")
    return _documents.with_member(head, "doc", _shown(stored))


def _shown(stored: Stored) -> bytes:
    """A document, cut to `fields`, with the path of a file where it is asked for."""
    more: Doc = {}
    if "include_file_path" in request.args and stored.doc.get("type") == "file" and not stored.deleted:
        try:
            more["path"] = files().path(node_of(stored))
        except NotFound:
            more = {}
    fields = _fields()
    if not fields:
        return stored.render(**more)
    return jsons.dump(mango.project(stored.doc, fields) | more)


def _fields() -> Sequence[str]:
    fields = [name for name in request.args.get("fields", "").split(",") if name]
    extended = "include_file_path" in request.args or "skip_trashed" in request.args
    return list(dict.fromkeys([*fields, "type", "name", "dir_id"])) if fields and extended else fields


# -- contents that are not what their documents say ---------------------------------------------------------------------


@service.get("/fsck", access=rule("GET", FILES))
def fsck() -> Response:
    """Contents whose size or MD5 is not the document's; every content is read for it, for one asker at a time."""
    with instance().hold("files-fsck", wait=0):
        found = [step for step in instance().checkup.run() if isinstance(step, Finding) and step.type == "content_mismatch"]
    shown = [{"type": one.type, "is_file": one.kind == "file", "is_version": one.kind == "version", "id": one.id} for one in found]
    return _documents.answer([head | dict(one.about) for head, one in zip(shown, found, strict=True)])
