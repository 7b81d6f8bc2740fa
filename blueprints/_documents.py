"""Forms that `/data` and replication share: document answers, `_all_docs`, revisions of one document."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from flask import Response

from cozyd import jsons
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Page, Ref, Stored
from cozyd.errors import BadRequest, NotFound

_REV = re.compile(r"[1-9][0-9]{0,9}-[0-9a-zA-Z]+")


class ListOptions(TypedDict):
    """Parameters of `_all_docs`."""

    start: str
    end: str | None
    limit: int | None
    skip: int
    descending: bool
    include_docs: bool
    keys: list[Any] | None


def answer(value: Any, status: int = 200) -> Response:
    """A JSON value as a response."""
    return Response(jsons.dump(value), status, content_type="application/json")


def spliced(head: Mapping[str, Any], name: str, texts: Sequence[bytes]) -> Response:
    """An object whose member `name` is a list of JSON texts that need no parsing."""
    front = jsons.dump(dict(head))
    comma = b"" if front == b"{}" else b","
    whole = front[:-1] + comma + jsons.dump(name) + b":[" + b",".join(texts) + b"]}"
    return Response(whole, content_type="application/json")


def check_rev(rev: Any) -> str:
    """A revision as a client gave it.

    :raises BadRequest: it has not the form of one.
    """
    if not isinstance(rev, str) or not _REV.fullmatch(rev):
        raise BadRequest("Invalid rev format", error="bad_request_rev")
    return rev


def list_options(query: Mapping[str, str], body: Doc) -> ListOptions:
    """Read the parameters of `_all_docs` from query and body; the body's win.

    :raises BadRequest: one that is not JSON, or of the wrong type.
    """
    given: dict[str, Any] = {
        name: _query_value(name, text) for name, text in query.items() if name not in ("Fields", "DesignDocs", "bearer_token")
    }
    given |= body
    keys = [given["key"]] if "key" in given else given.get("keys")
    if keys is not None and not isinstance(keys, list):
        raise BadRequest("`keys` must be an array.", error="query_parse_error")
    descending = given.get("descending") is True
    start = given.get("startkey", given.get("start_key", given.get("startkey_docid", given.get("start_key_doc_id"))))
    end = given.get("endkey", given.get("end_key"))
    return ListOptions(
        start=_text(start, "\U0010ffff" if descending else ""),
        end=None if end is None else _text(end, ""),
        limit=_whole(given.get("limit")),
        skip=_whole(given.get("skip")) or 0,
        descending=descending,
        include_docs=given.get("include_docs") is True,
        keys=keys,
    )


def list_page(docs: Documents, doctype: str, options: ListOptions) -> Page:
    """The documents between two ids."""
    start = options["start"]
    if options["descending"] and start == "\U0010ffff":
        start = ""
    return docs.all(
        doctype,
        start=start,
        end=options["end"],
        limit=options["limit"],
        skip=options["skip"],
        descending=options["descending"],
        docs=options["include_docs"],
    )


def all_docs(docs: Documents, doctype: str, options: ListOptions) -> Doc:
    """The answer of `_all_docs`, parsed."""
    if options["keys"] is None:
        page = list_page(docs, doctype, options)
        return {
            "total_rows": page.total,
            "offset": options["skip"],
            "rows": [_row(stored, options["include_docs"]) for stored in page.rows],
        }
    keys = options["keys"]
    names = [key for key in keys if isinstance(key, str)]
    found = dict(zip(names, docs.get_many(doctype, names, deleted=True), strict=True))
    rows = [_key_row(key, found.get(key) if isinstance(key, str) else None, options["include_docs"]) for key in keys]
    return {"total_rows": docs.info(doctype).count, "offset": None, "rows": rows}


def with_revisions(docs: Documents, ref: Ref, asked: Mapping[str, str]) -> Any:
    """One document as CouchDB gives it: `rev`, `revs`, `revs_info`, `conflicts`, `open_revs` with `latest`.

    :raises NotFound: no such document or revision.
    """
    latest = asked.get("latest") == "true"
    if "open_revs" in asked:
        return _open_revs(docs, ref, asked["open_revs"], latest=latest, revs=asked.get("revs") == "true")
    rev = check_rev(asked["rev"]) if asked.get("rev") else None
    stored = docs.leaves(ref, [rev], latest=True)[0] if rev and latest else docs.get(ref, rev)
    found = dict(stored.doc)
    if asked.get("revs") == "true":
        found["_revisions"] = revisions(docs, stored)
    tree = docs.tree(ref)
    if asked.get("revs_info") == "true":
        found["_revs_info"] = [{"rev": one, "status": _status(docs, ref, one)} for one in tree.path(stored.rev)]
    if asked.get("conflicts") == "true" and tree.conflicts:
        found["_conflicts"] = list(tree.conflicts)
    return found


def revisions(docs: Documents, stored: Stored) -> Doc:
    """The `_revisions` member: where the path starts, and the hashes back to the oldest kept ancestor."""
    path = docs.tree(stored.ref).path(stored.rev)
    return {"start": int(path[0].split("-", 1)[0]), "ids": [rev.split("-", 1)[1] for rev in path]}


def _open_revs(docs: Documents, ref: Ref, asked: str, *, latest: bool, revs: bool) -> list[Doc]:
    wanted: Any = "all" if asked == "all" else jsons.load(asked)
    if wanted != "all" and not (isinstance(wanted, list) and all(isinstance(rev, str) for rev in wanted)):
        raise BadRequest("open_revs must be `all` or an array of revisions")
    try:
        leaves = docs.leaves(ref, wanted, latest=latest)
    except NotFound:
        if wanted == "all":
            raise
        leaves = ()
    found = [{"ok": dict(leaf.doc) | ({"_revisions": revisions(docs, leaf)} if revs else {})} for leaf in leaves]
    have = {leaf.rev for leaf in leaves}
    missing = [] if wanted == "all" or latest else [{"missing": rev} for rev in wanted if rev not in have]
    return [*found, *missing]


def _status(docs: Documents, ref: Ref, rev: str) -> str:
    try:
        docs.get(ref, rev)
    except NotFound as gone:
        return "deleted" if gone.detail == "deleted" else "missing"
    return "available"


def _row(stored: Stored, include_docs: bool) -> Doc:
    row: Doc = {"id": stored.ref.id, "key": stored.ref.id, "value": {"rev": stored.rev}}
    if include_docs:
        row["doc"] = stored.doc
    return row


def _key_row(key: Any, stored: Stored | None, include_docs: bool) -> Doc:
    if stored is None:
        return {"key": key, "error": "not_found"}
    row: Doc = {"id": key, "key": key, "value": {"rev": stored.rev}}
    if stored.deleted:
        row["value"]["deleted"] = True
    if include_docs:
        row["doc"] = None if stored.deleted else stored.doc
    return row


def _query_value(name: str, text: str) -> Any:
    """Values in the query are JSON; ids given by `..._docid` are plain text."""
    if name in ("startkey_docid", "endkey_docid", "start_key_doc_id", "end_key_doc_id", "bookmark"):
        return text
    try:
        return jsons.load(text)
    except BadRequest:
        raise BadRequest(f"Invalid value for {name}", error="query_parse_error") from None


def _text(value: Any, default: str) -> str:
    """An end of an id range: other types than strings sort before or after all of them."""
    if value is None:
        return default
    if isinstance(value, str):
        return value
    return "\U0010ffff" if isinstance(value, dict | list) else ""


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRequest("limit and skip must be non-negative integers", error="query_parse_error")
    return value
