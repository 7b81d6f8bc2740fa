"""Folders and files in JSON:API, as the official clients read them (docs/http/files.md, section 1)."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response

from blueprints import _jsonapi
from blueprints._jsonapi import Resource
from cozyd import jsons
from cozyd.documents.store import Row
from cozyd.files import Dir, File, Files, Node
from cozyd.permissions import FILES, ROOT_DIR

PAGE = 30
_HIDDEN = frozenset(("_id", "_rev", "internal_vfs_id", "referenced_by"))
_LEFT_OUT_WHEN_EMPTY = ("tags", "metadata", "cozyMetadata", "referenced_by", "not_synchronized_on")


def short(node: Node, *, empty: list[Any] | None = None, path: str | None = None) -> Resource:
    """A node as it stands in lists and after its creation.

    :param empty: what stands for an empty list of references; the reference answers null or [].
    """
    doc = node.stored.doc
    attributes = {key: value for key, value in doc.items() if key not in _HIDDEN}
    if isinstance(node, Dir) and doc.get("referenced_by"):
        attributes["referenced_by"] = doc["referenced_by"]
    for name in _LEFT_OUT_WHEN_EMPTY:
        if name in attributes and not attributes[name]:
            del attributes[name]
    if path is not None:
        attributes["path"] = path
    self = f"/files/{node.id}"
    references = {"links": {"self": f"{self}/relationships/references"}, "data": doc.get("referenced_by") or empty}
    relationships: dict[str, Any] = {"referenced_by": references}
    if isinstance(node, File):
        relationships["parent"] = {"links": {"related": f"/files/{node.parent}"}, "data": _identifier(node.parent)}
    return _jsonapi.resource(FILES, node.id, attributes, rev=node.rev, links={"self": self}, relationships=relationships)


def with_children(files: Files, dir: Dir, page: "Page", *, empty: list[Any] | None = None) -> Response:
    """A folder with a page of its children."""
    rows, more = page.rows(files, dir)
    nodes = page.nodes(files, rows)
    found = short(dir, empty=empty)
    self = f"/files/{dir.id}"
    contents: dict[str, Any] = {"self": f"{self}/relationships/contents"}
    if more:
        contents["next"] = page.next_link(dir, rows[-1])
    found["relationships"] |= {
        "parent": {"links": {"self": f"/files/{dir.parent}"}, "data": _identifier(dir.parent)} if dir.parent else {"data": None},
        "contents": {"meta": {"count": files.count(dir)}, "links": contents, "data": [_identifier(node.id) for node in nodes]},
        "not_synchronized_on": {
            "links": {"self": f"{self}/relationships/not_synchronized_on"},
            "data": dir.stored.doc.get("not_synchronized_on") or empty,
        },
    }
    links = {"next": contents["next"]} if more else {}
    return _jsonapi.answer(found, included=[short(node) for node in nodes], links=links)


def contents(files: Files, dir: Dir, page: "Page") -> Response:
    """A page of a folder's children."""
    rows, more = page.rows(files, dir)
    links = {"next": page.next_link(dir, rows[-1])} if more else {}
    return _jsonapi.answer([short(node) for node in page.nodes(files, rows)], links=links, meta={"count": files.count(dir)})


def file(node: File, *, status: int = 200, empty: list[Any] | None = None, path: str | None = None) -> Response:
    """A file."""
    return _jsonapi.answer(short(node, empty=empty, path=path), status=status)


class Page:
    """Which children to answer.

    :param cursor: `page[cursor]`: JSON `[[dir, type, name], id]` of the last one seen.
    :raises BadRequest: the cursor is none.
    """

    def __init__(self, limit: int | None, cursor: str | None, skip: int) -> None:
        self._limit = limit or PAGE
        self._skip = skip
        self._after: tuple[tuple[Any, ...], str] | None = None
        if cursor:
            found = jsons.load(cursor)
            if not (isinstance(found, list) and len(found) == 2 and isinstance(found[0], list) and isinstance(found[1], str)):
                raise _jsonapi.bad_cursor()
            self._after = (tuple(found[0]), found[1])

    def rows(self, files: Files, dir: Dir) -> tuple[Sequence[Row], bool]:
        """The rows of the page, and whether there are more."""
        rows = files.rows(dir, after=self._after, skip=self._skip, limit=self._limit + 1)
        return rows[: self._limit], len(rows) > self._limit

    @staticmethod
    def nodes(files: Files, rows: Sequence[Row]) -> Sequence[Node]:
        """The rows' documents."""
        return files.named(rows)

    def next_link(self, dir: Dir, last: Row) -> str:
        """Where the next page is."""
        cursor = jsons.dump([list(last.key), last.ref.id]).decode()
        return f"/files/{quote(dir.id)}/relationships/contents?{urlencode({'page[cursor]': cursor, 'page[limit]': self._limit})}"


def _identifier(id: str) -> Resource:
    return {"id": id or ROOT_DIR, "type": FILES}
