"""Forms that `/data` and replication share: document answers, `_all_docs`, revisions of one document."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn, TypedDict

from flask import Response
from werkzeug.routing import BaseConverter

from blueprints._request import Service
from cozyd import jsons
from cozyd.documents import Documents, attachments
from cozyd.documents.malformed import Malformed
from cozyd.documents.revtree import is_revision, revisions_of
from cozyd.documents.store import Doc, Page, Ref, Stored
from cozyd.errors import BadRequest, Forbidden, NotFound
from cozyd.settings import Settings

_PARAMETERS = frozenset(
    (
        *("startkey", "start_key", "startkey_docid", "start_key_doc_id", "endkey", "end_key", "endkey_docid", "end_key_doc_id"),
        *("inclusive_end", "limit", "skip", "descending", "include_docs", "conflicts", "key", "keys"),
    )
)
_FLAGS = frozenset(("inclusive_end", "descending", "include_docs", "conflicts"))
_LARGEST = 2**62
"""What limit and skip are cut to: SQLite's integers end there."""


class DocumentId(BaseConverter):
    """The rest of an address: ids may have slashes, also in front, and line ends, which werkzeug's `path` has not."""

    regex = "(?s:.+)"
    weight = 300
    part_isolating = False


class ListOptions(TypedDict):
    """Parameters of `_all_docs`."""

    start: str | None
    end: str | None
    inclusive_end: bool
    limit: int | None
    skip: int
    descending: bool
    include_docs: bool
    conflicts: bool
    keys: list[Any] | None


def with_ids(service: Service) -> Service:
    """A service whose routes may have `<docid:...>` in them."""
    service.record_once(lambda state: state.app.url_map.converters.update(docid=DocumentId))
    return service


def answer(value: Any, status: int = 200) -> Response:
    """A JSON value as a response."""
    return Response(jsons.dump(value), status, content_type="application/json")


def spliced(head: Mapping[str, Any], name: str, texts: Sequence[bytes]) -> Response:
    """An object whose member `name` is a list of JSON texts that need no parsing."""
    return text_answer(with_member(head, name, listed(texts)))


def text_answer(text: bytes) -> Response:
    """A JSON text as a response."""
    return Response(text, content_type="application/json")


def listed(texts: Sequence[bytes]) -> bytes:
    """A list of JSON texts, as JSON text."""
    return b"[" + b",".join(texts) + b"]"


def with_member(head: Mapping[str, Any], name: str, text: bytes) -> bytes:
    """An object with one more member, whose value is JSON text: documents are never nested into what is dumped."""
    front = jsons.dump(dict(head))
    comma = b"" if front == b"{}" else b","
    return front[:-1] + comma + jsons.dump(name) + b":" + text + b"}"


def check_rev(rev: Any) -> str:
    """A revision as a client gave it.

    :raises BadRequest: it has not the form of one.
    """
    if not is_revision(rev):
        raise Malformed("Invalid rev format")
    return str(rev)


def keep_guarded(settings: Settings, ref: Ref, fields: Doc | None) -> None:
    """Refuse to change what takes the owner's passphrase, which no document carries: her address, the keys of her vault.

    :param fields: the new document; None: it is to be deleted.
    :raises Forbidden: it would change.
    """
    known = settings.guarded(ref)
    if known is not None and (fields is None or any(fields.get(name) != value for name, value in known.items())):
        raise Forbidden("the address and the keys of the owner are not changed here")


def list_options(query: Mapping[str, str], body: Doc) -> ListOptions:
    """Read the parameters of `_all_docs` from query and body; the body's win, unknown ones are ignored.

    :raises BadRequest: one that is not JSON, or of the wrong type.
    """
    given: dict[str, Any] = {name: _query_value(name, text) for name, text in query.items() if name in _PARAMETERS}
    given |= body
    keys = given.get("keys")
    if "keys" in given and not isinstance(keys, list):
        raise Malformed(f"`keys` {'body member' if 'keys' in body else 'parameter'} must be an array.")
    if "key" in given:
        given |= {"startkey": given["key"], "endkey": given["key"]}
    start = _first(given, "startkey", "start_key", "startkey_docid", "start_key_doc_id")
    end = _first(given, "endkey", "end_key", "endkey_docid", "end_key_doc_id")
    return ListOptions(
        start=None if start is None else _text(start),
        end=None if end is None else _text(end),
        inclusive_end=_flag(given.get("inclusive_end", True)),
        limit=_whole(given.get("limit")),
        skip=_whole(given.get("skip")) or 0,
        descending=_flag(given.get("descending", False)),
        include_docs=_flag(given.get("include_docs", False)),
        conflicts=_flag(given.get("conflicts", False)),
        keys=keys,
    )


def lenient_number(text: str | None) -> int:
    """A number from the query where the reference takes anything else for 0."""
    return min(int(text), _LARGEST) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0


def list_page(docs: Documents, doctype: str, options: ListOptions) -> Page:
    """The documents between two ids."""
    start, end = options["start"], options["end"]
    page = docs.all(
        doctype,
        start=start or "",
        end=end,
        limit=0 if options["descending"] and start == "" else options["limit"],
        skip=options["skip"],
        descending=options["descending"],
        docs=options["include_docs"],
    )
    if page.rows and not options["inclusive_end"] and page.rows[-1].ref.id == end:
        return replace(page, rows=page.rows[:-1])
    return page


def all_docs(docs: Documents, doctype: str, options: ListOptions, *, designs: bool = True) -> Response:
    """The answer of `_all_docs`.

    :param designs: whether design documents are shown.
    """
    keys = options["keys"]
    if keys is not None:
        return _by_keys(docs, doctype, options, keys)
    page = list_page(docs, doctype, options)
    shown = page.rows if designs else [stored for stored in page.rows if not stored.ref.id.startswith("_design/")]
    if options["conflicts"] and options["include_docs"]:
        shown = [with_conflicts(docs, stored) for stored in shown]
    head = {"total_rows": page.total, "offset": options["skip"]}
    return spliced(head, "rows", [_row(stored, options["include_docs"]) for stored in shown])


def design_docs(docs: Documents, doctype: str, options: ListOptions) -> Response:
    """The answer of `_design_docs`: the few rows of `_all_docs` that are design documents, counted for themselves."""
    found = docs.all(doctype, start="_design/", end="_design0").rows
    low, high = (options["end"], options["start"]) if options["descending"] else (options["start"], options["end"])
    wanted = [one for one in found if (low is None or one.ref.id >= low) and (high is None or one.ref.id <= high)]
    if not options["inclusive_end"]:
        wanted = [one for one in wanted if one.ref.id != options["end"]]
    if options["keys"] is not None:
        wanted = [one for key in options["keys"] for one in found if one.ref.id == key]
    elif options["descending"]:
        wanted.reverse()
    head = {"total_rows": len(found), "offset": None if options["keys"] is not None else options["skip"]}
    shown = wanted[options["skip"] :][: options["limit"]]
    return spliced(head, "rows", [_row(stored, options["include_docs"]) for stored in shown])


def with_conflicts(docs: Documents, stored: Stored) -> Stored:
    """A document that names the revisions that lost, where there are some."""
    conflicts = docs.tree(stored.ref).conflicts
    if not conflicts:
        return stored
    return Stored(stored.ref, stored.rev, jsons.splice(stored.text, {"_conflicts": list(conflicts)}))


def _by_keys(docs: Documents, doctype: str, options: ListOptions, keys: list[Any]) -> Response:
    if options["descending"]:
        keys = keys[::-1]
    keys = keys[options["skip"] :][: options["limit"]]
    names = [key for key in keys if isinstance(key, str)]
    found = dict(zip(names, docs.get_many(doctype, names, deleted=True), strict=True))
    rows = [_key_row(key, found.get(key) if isinstance(key, str) else None, options["include_docs"]) for key in keys]
    return spliced({"total_rows": docs.info(doctype).count, "offset": None}, "rows", rows)


def with_revisions(docs: Documents, ref: Ref, asked: Mapping[str, str], permit: Callable[[Stored], None]) -> Response:
    """One document as CouchDB gives it: `rev`, `revs`, `revs_info`, `conflicts`, `open_revs` with `latest`.

    :param permit: asked about each revision that is shown; raises what forbids it.
    :raises NotFound: no such document or revision.
    """
    latest = asked.get("latest") == "true"
    if "open_revs" in asked:
        return _open_revs(docs, ref, asked["open_revs"], latest, permit)
    rev = check_rev(asked["rev"]) if "rev" in asked else None
    leaves = docs.leaves(ref, [rev], latest=True) if rev and latest else [docs.get(ref, rev)]
    if not leaves:
        raise NotFound
    stored = leaves[0]
    permit(stored)
    return text_answer(stored.render(_revisions=revisions(docs, stored), **_about_tree(docs, stored, asked)))


def _about_tree(docs: Documents, stored: Stored, asked: Mapping[str, str]) -> Doc:
    """What was asked about a document's other revisions; `meta` asks for all of it."""
    tree, wanted = docs.tree(stored.ref), {name for name, value in asked.items() if value == "true"}
    more: Doc = {}
    if wanted & {"revs_info", "meta"}:
        more["_revs_info"] = [{"rev": one, "status": _status(docs, stored.ref, one)} for one in tree.path(stored.rev)]
    if wanted & {"conflicts", "meta"} and tree.conflicts:
        more["_conflicts"] = list(tree.conflicts)
    if wanted & {"deleted_conflicts", "meta"}:
        lost = [leaf.rev for leaf in docs.leaves(stored.ref) if leaf.deleted and leaf.rev != tree.winner]
        more |= {"_deleted_conflicts": lost} if lost else {}
    return more


def revisions(docs: Documents, stored: Stored) -> Doc:
    """The `_revisions` member."""
    return revisions_of(docs.tree(stored.ref).path(stored.rev))


def shown_leaf(docs: Documents, leaf: Stored, *, revs: bool, contents: bool = False) -> bytes:
    """A leaf as `_bulk_get` and `open_revs` show it.

    :param contents: of its attachments, in place of their stubs.
    """
    more = {"_revisions": revisions(docs, leaf)} if revs else {}
    if contents and attachments.MEMBER in leaf.doc:
        sent = docs.replicas(leaf.ref.doctype, {leaf.ref.id: [leaf.rev]})[0]
        return jsons.dump({"ok": leaf.doc | more | {attachments.MEMBER: sent[attachments.MEMBER]}})
    return with_member({}, "ok", leaf.render(**more))


def _open_revs(docs: Documents, ref: Ref, asked: str, latest: bool, permit: Callable[[Stored], None]) -> Response:
    wanted = _wanted_revs(asked)
    try:
        leaves = docs.leaves(ref, wanted, latest=latest)
    except NotFound:
        if wanted == "all":
            raise
        leaves = ()
    for leaf in leaves:
        permit(leaf)
    have = {leaf.rev for leaf in leaves}
    if latest and wanted != "all" and leaves:  # a revision that is here grew into what is shown
        tree = docs.tree(ref)
        have.update(rev for leaf in leaves for rev in tree.path(leaf.rev))
    missing = [] if wanted == "all" else [jsons.dump({"missing": rev}) for rev in wanted if rev not in have]
    return text_answer(listed([*(shown_leaf(docs, leaf, revs=True) for leaf in leaves), *missing]))


def _wanted_revs(asked: str) -> list[str] | Literal["all"]:
    """The parameter `open_revs`.

    :raises Malformed: it is neither `all` nor an array of revisions.
    """
    if asked == "all":
        return "all"
    try:
        wanted = jsons.load(asked)
    except BadRequest as cause:
        raise Malformed("invalid UTF-8 JSON") from cause
    if not isinstance(wanted, list):
        raise Malformed("Invalid list of revisions")
    return [check_rev(rev) for rev in wanted]


def _status(docs: Documents, ref: Ref, rev: str) -> str:
    try:
        docs.get(ref, rev)
    except NotFound as gone:
        return "deleted" if gone.detail == "deleted" else "missing"
    return "available"


def _row(stored: Stored, include_docs: bool) -> bytes:
    id, rev = jsons.dump(stored.ref.id), jsons.dump(stored.rev)
    doc = b',"doc":' + stored.render() if include_docs else b""
    return b'{"id":%b,"key":%b,"value":{"rev":%b}%b}' % (id, id, rev, doc)


def _key_row(key: Any, stored: Stored | None, include_docs: bool) -> bytes:
    if stored is None:
        return jsons.dump({"key": key, "error": "not_found"})
    if not stored.deleted:
        return _row(stored, include_docs)
    row: Doc = {"id": key, "key": key, "value": {"rev": stored.rev, "deleted": True}}
    return jsons.dump(row | ({"doc": None} if include_docs else {}))


def _first(given: Mapping[str, Any], *names: str) -> Any:
    return next((given[name] for name in names if given.get(name) is not None), None)


def _query_value(name: str, text: str) -> Any:
    """Values in the query are JSON; ids given by `..._docid` are plain text."""
    if name.endswith(("docid", "doc_id")):
        return text
    try:
        return jsons.load(text)
    except BadRequest as cause:
        if name in ("limit", "skip"):
            _refuse(f'Invalid value for integer: "{text[:100]}"')
        if name in _FLAGS:
            _refuse(f'Invalid boolean parameter: "{text[:100]}"')
        raise Malformed("invalid UTF-8 JSON") from cause


def _text(value: Any) -> str:
    """An end of an id range: every other value lies before all ids."""
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(f"Invalid value for integer: {jsons.dump(value).decode()[:100]}")
    if value < 0:
        _refuse(f'Invalid value for positive integer: "{value}"')
    return int(min(value, _LARGEST))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        _refuse(f"Invalid boolean parameter: {jsons.dump(value).decode()[:100]}")
    return bool(value)


def _refuse(reason: str) -> NoReturn:
    raise BadRequest(reason, error="query_parse_error")
