"""`/data`: what replicas use (PouchDB's protocol), in CouchDB's own shapes (docs/http/data.md)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from flask import Response, request

from blueprints import _documents
from blueprints._left_out import left_out
from blueprints._request import Service, allow, asks, body, body_bytes, instance, single
from cozyd import jsons
from cozyd.documents import Documents, mango
from cozyd.documents.malformed import Malformed
from cozyd.documents.revtree import rank
from cozyd.documents.store import Change, Doc, Feed, FeedRow, Ref, Stored, Write
from cozyd.errors import BadRequest, CozyError, Forbidden, Invalid, NotFound, PreconditionFailed, Unsupported
from cozyd.permissions import FILES, check_readable, check_writable
from cozyd.realtime import Park

service = _documents.with_ids(Service("replication", __name__, url_prefix="/data", errors="couchdb"))
feeds = Service("feeds", __name__, url_prefix="/data", errors="data")

CHANGES_PARAMETERS = frozenset(
    ("feed", "style", "since", "limit", "timeout", "include_docs", "heartbeat", "_nonce", "seq_interval", "descending", "bearer_token")
)
LONGEST_POLL = 60_000
_MOST_DIGITS = 9


@service.put("/<doctype>/", access=asks("POST"))
def make(doctype: str) -> Response:
    """Make a doctype's database."""
    allow("POST", doctype)
    check_writable(doctype)
    if not instance().docs.make(doctype):
        error = PreconditionFailed("The database could not be created, the file already exists.", error="file_exists")
        raise error
    return _documents.answer({"ok": True}, 201)


@service.post("/<doctype>/_bulk_docs", access=asks("POST"))
def bulk_docs(doctype: str) -> Response:
    """Write many documents, each for itself; with `new_edits: false`, a replica's own revisions."""
    allow("POST", doctype)
    check_writable(doctype)
    asked = _json_body()
    given = asked.get("docs")
    if "docs" not in asked:
        raise Malformed("POST body must include `docs` parameter.")
    if not isinstance(given, list):
        raise Malformed("`docs` parameter must be an array.")
    if not all(isinstance(doc, dict) for doc in given):
        raise Malformed("Document must be a JSON object")
    if not isinstance(asked.get("new_edits", True), bool):
        raise Malformed("`new_edits` parameter must be a boolean.")
    docs = instance().docs
    if asked.get("new_edits") is False:
        return _documents.answer(_graft(docs, doctype, given), 201)
    writes = [_attempt(docs, doctype, doc) for doc in given]
    done = iter(docs.commit_each([write for write in writes if isinstance(write, Write)]))
    rows = [_result(doc, write if isinstance(write, CozyError) else next(done), write) for doc, write in zip(given, writes, strict=True)]
    return _documents.answer(rows, 201)


@service.post("/<doctype>/_bulk_get", access=asks("GET"))
def bulk_get(doctype: str) -> Response:
    """Many documents at given revisions, with their histories when `revs` is asked, with contents when `attachments` is."""
    allow("GET", doctype)
    check_readable(doctype)
    asked = _json_body().get("docs")
    if not isinstance(asked, list):
        raise Malformed("Missing JSON list of 'docs'.")
    revs = request.args.get("revs") == "true"
    shown = partial(_documents.shown_leaf, revs=revs, contents=request.args.get("attachments") == "true")
    latest = request.args.get("latest") == "true"
    return _documents.spliced({}, "results", [_got(doctype, one, shown, latest=latest) for one in asked])


@service.post("/<doctype>/_revs_diff", access=asks("GET"))
def revs_diff(doctype: str) -> Response:
    """Which of the given revisions are not here."""
    allow("GET", doctype)
    check_readable(doctype)
    asked = _json_body()
    if not all(isinstance(revs, list) for revs in asked.values()):
        raise Malformed("revisions must be arrays")
    for revs in asked.values():
        for rev in revs:
            _documents.check_rev(rev)
    docs = instance().docs
    docs.info(doctype)
    found = {}
    for id, (missing, ancestors) in docs.missing_revs(doctype, asked).items():
        found[id] = {"missing": list(missing)} | ({"possible_ancestors": list(ancestors)} if ancestors else {})
    return _documents.answer(found)


@service.post("/<doctype>/_ensure_full_commit", access=asks("GET"))
def ensure_full_commit(doctype: str) -> Response:
    """Every answered write is on the disk already."""
    allow("GET", doctype)
    check_writable(doctype)
    return _documents.answer({"ok": True, "instance_start_time": "0"}, 201)


@service.get("/<doctype>/_local/<docid:id>", access=asks("GET"))
def local(doctype: str, id: str) -> Response:
    """A document that is never replicated: a replica's checkpoint."""
    allow("GET", doctype)
    check_readable(doctype)
    found = instance().docs.local(doctype, id)
    if found is None:
        raise NotFound
    return _documents.answer(found)


@service.put("/<doctype>/_local/<docid:id>", access=asks("GET"))
def set_local(doctype: str, id: str) -> Response:
    """Write a checkpoint; on read-only doctypes too."""
    allow("GET", doctype)
    check_readable(doctype)
    rev = instance().docs.set_local(doctype, id, _object())
    return _documents.answer({"ok": True, "id": f"_local/{id}", "rev": rev}, 201)


@feeds.route("/<doctype>/_changes", methods=["GET", "POST"], access=asks("GET"))
def changes(doctype: str) -> Response:
    """The change feed; `feed=longpoll` waits for the next change without holding a thread."""
    check_readable(doctype)
    allow("GET", doctype)
    posted = request.method == "POST"
    single(request.args, CHANGES_PARAMETERS | {"filter"} if posted else CHANGES_PARAMETERS)
    feed_kind = request.args.get("feed") or "normal"
    if feed_kind not in ("normal", "longpoll"):
        raise BadRequest(f"Unsuported feed value '{feed_kind}'")
    style = request.args.get("style") or "main_only"
    if style not in ("main_only", "all_docs"):
        raise BadRequest(f"Unsuported style value '{style}'")
    narrowed = _filter(body() if posted and request.content_length else {}) if "filter" in request.args else {}
    feed = _read_feed(doctype, narrowed)
    if feed_kind == "longpoll" and not feed.rows:
        _wait(doctype)
    return _feed_answer(feed)


def _read_feed(doctype: str, narrowed: dict[str, Any]) -> Feed:
    docs, since = instance().docs, request.args.get("since", "")
    with_docs = request.args.get("include_docs") == "true"
    hidden = left_out() if doctype == FILES else None
    if since == "now":  # a request that waits runs again: its now stays the first one
        since = request.environ.setdefault("cozyd.kept", {}).setdefault("since", docs.info(doctype).seq)
    feed = docs.changes(
        doctype,
        since=since,
        limit=_count("limit") or None,
        descending=request.args.get("descending") == "true",
        docs=with_docs or hidden is not None,
        **narrowed,
    )
    if hidden is None:
        return feed
    return replace(feed, rows=[_as_deleted(row) if row.stored and hidden(row.stored) else _bare(row, with_docs) for row in feed.rows])


def _as_deleted(row: FeedRow) -> FeedRow:
    """A file below a folder that the client leaves out: to it, it is deleted."""
    return replace(row, deleted=True, stored=Stored(Ref(FILES, row.id), row.leaves[0], b"{}", deleted=True))


def _bare(row: FeedRow, with_docs: bool) -> FeedRow:
    return row if with_docs else replace(row, stored=None)


def _filter(asked: Doc) -> dict[str, Any]:
    """Arguments of `changes` for a filter.

    :raises BadRequest: the filter is unknown, or its body is not what it needs.
    """
    name = request.args["filter"]
    if name == "_doc_ids":
        ids = asked.get("doc_ids")
        if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
            raise Malformed("`doc_ids` filter parameter is not a list of doc ids.")
        return {"ids": ids}
    if name == "_selector":
        if not isinstance(asked.get("selector"), dict):
            raise Malformed("Selector error: expected a JSON object")
        try:
            return {"match": mango.matcher(asked["selector"])}
        except BadRequest as cause:
            raise Malformed(cause.detail) from cause
    if name == "_design":
        match: Callable[[Doc], bool] = lambda doc: str(doc["_id"]).startswith("_design/")  # noqa: E731
        return {"match": match}
    raise BadRequest(f"Unsuported filter value '{name}'")


def _wait(doctype: str) -> None:
    """Park until something changes, the next heartbeat, or the time-out; the request runs again then."""
    now = instance().now()
    began = request.environ.setdefault("cozyd.began", now)
    timeout = _count("timeout") or LONGEST_POLL
    heartbeat = _count("heartbeat") if request.args.get("heartbeat") != "true" else LONGEST_POLL
    until = began + timedelta(milliseconds=heartbeat or min(timeout, LONGEST_POLL))
    if heartbeat:
        say = b"\n" if now >= until else b""
        raise Park(instance().prefix, [doctype], now + timedelta(milliseconds=heartbeat), say=say)
    if now < until:
        raise Park(instance().prefix, [doctype], until)


def _count(name: str) -> int:
    text = request.args.get(name) or "0"
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(f"Invalid value for {name}", error="query_parse_error")
    return int(text) if len(text) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _feed_answer(feed: Feed) -> Response:
    every = max(1, _count("seq_interval"))
    all_leaves = request.args.get("style") == "all_docs"
    rows = [_feed_row(row, row.seq if number % every == 0 else "", all_leaves) for number, row in enumerate(feed.rows, 1)]
    return _documents.spliced({"last_seq": feed.last_seq, "pending": feed.pending}, "results", rows)


def _feed_row(row: FeedRow, seq: str, all_leaves: bool) -> bytes:
    """A row as text: ten thousand small objects would cost more than all the rest."""
    leaves = row.leaves if all_leaves else row.leaves[:1]
    changes = b",".join([b'{"rev":%b}' % jsons.dump(rev) for rev in leaves])
    deleted = b',"deleted":true' if row.deleted else b""
    text = row.stored.render() if row.stored is not None else b"null"
    return b'{"id":%b,"seq":"%b","changes":[%b]%b,"doc":%b}' % (jsons.dump(row.id), seq.encode(), changes, deleted, text)


def _json_body() -> Doc:
    """The body of a route that CouchDB itself answers: it insists on the content type.

    :raises Unsupported: another content type.
    """
    if request.mimetype != "application/json":
        raise Unsupported("Content-Type must be application/json")
    return _object()


def _object() -> Doc:
    """The body as an object, refused in CouchDB's words.

    :raises Malformed: it is none.
    """
    try:
        asked = jsons.load(body_bytes())
    except BadRequest as cause:
        raise Malformed("invalid UTF-8 JSON") from cause
    if not isinstance(asked, dict):
        raise Malformed("Request body must be a JSON object")
    return asked


def _graft(docs: Documents, doctype: str, given: Sequence[Doc]) -> list[Doc]:
    """Merge a replica's documents; the rows of those that could not be."""
    failed: list[Doc] = []
    wanted: list[Doc] = []
    for doc in given:
        try:
            _check_kept(docs, doctype, doc, replica=True)
            wanted.append(doc)
        except CozyError as error:
            failed.append(_failed(doc, error))
    grafted = zip(wanted, docs.graft(doctype, wanted), strict=True)
    return failed + [_failed(doc, done) for doc, done in grafted if isinstance(done, CozyError)]


def _attempt(docs: Documents, doctype: str, doc: Doc) -> Write | CozyError:
    try:
        write = _write(doctype, doc, docs.new_id)
        _check_kept(docs, doctype, doc)
    except CozyError as error:
        return error
    return write


def _check_kept(docs: Documents, doctype: str, doc: Doc, *, replica: bool = False) -> None:
    """Refuse what would change the owner's address, or a design document that the server needs.

    :param replica: it is a replica's revision: one that is here already changes nothing.
    :raises Forbidden: see above.
    """
    id, rev = doc.get("_id"), doc.get("_rev")
    if not isinstance(id, str):
        return
    _documents.keep_guarded(instance().settings, Ref(doctype, id), None if doc.get("_deleted") is True else doc)
    needed = id.startswith("_design/") and id.removeprefix("_design/") in docs.protected(doctype)
    if needed and not (replica and isinstance(rev, str) and not docs.missing_revs(doctype, {id: [rev]})):
        raise Forbidden("This design doc cannot be changed")


def _write(doctype: str, doc: Doc, new_id: Callable[[], str]) -> Write:
    """One document of `_bulk_docs`.

    :raises Invalid, BadRequest: it cannot be one.
    """
    unknown = [name for name in doc if name.startswith("_") and name not in ("_id", "_rev", "_deleted", "_revisions", "_attachments")]
    if unknown:
        raise Invalid(f"Bad special document member: {unknown[0]}")
    if not isinstance(doc.get("_deleted", False), bool):
        raise Invalid("Bad special document member: _deleted")
    id = _checked_id(doc["_id"]) if "_id" in doc else new_id()
    rev = _documents.check_rev(doc["_rev"]) if doc.get("_rev") else None
    return Write(Ref(doctype, id), body=doc, rev=rev, deleted=doc.get("_deleted") is True)


def _checked_id(id: Any) -> str:
    """:raises BadRequest: no document has this id."""
    if not isinstance(id, str):
        raise BadRequest("Document id must be a string", error="illegal_docid")
    if not id:
        raise BadRequest("Document id must not be empty", error="illegal_docid")
    if id.startswith("_") and not id.startswith("_design/"):
        raise BadRequest("Only reserved document ids may start with underscore.", error="illegal_docid")
    return id


def _result(doc: Doc, done: Change | CozyError, write: Write | CozyError) -> Doc:
    if isinstance(done, CozyError):
        return _failed(doc, done, write.ref.id if isinstance(write, Write) else None)
    return {"ok": True, "id": done.new.ref.id, "rev": done.made.rev}


def _failed(doc: Doc, error: CozyError, id: str | None = None) -> Doc:
    return {"id": id or doc.get("_id"), "error": error.error, "reason": error.detail}


def _got(doctype: str, asked: Any, shown: Callable[[Documents, Stored], bytes], *, latest: bool) -> bytes:
    """One result of `_bulk_get`: the asked revision, or every leaf.

    :param shown: renders a leaf.
    """
    id, rev = (asked.get("id"), asked.get("rev")) if isinstance(asked, dict) else (None, None)
    docs = instance().docs
    try:
        if id is None:
            raise Malformed("document must be a JSON object")
        ref = Ref(doctype, _checked_id(id))
        leaves = docs.leaves(ref, "all" if rev is None else [_documents.check_rev(rev)], latest=latest)
        if not leaves:
            raise NotFound
        if rev is None:  # CouchDB lists all of them by revision, dead or alive
            leaves = sorted(leaves, key=lambda leaf: rank(leaf.rev), reverse=True)
        texts = [shown(docs, leaf) for leaf in leaves]
    except CozyError as error:
        named = rev or ("undefined" if isinstance(error, NotFound) else None)
        failed = {"id": id, "rev": named, "error": error.error, "reason": error.detail}
        texts = [jsons.dump({"error": failed})]
    return _documents.with_member({"id": id}, "docs", _documents.listed(texts))
