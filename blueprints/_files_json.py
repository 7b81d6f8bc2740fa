"""Folders, files and versions in JSON:API, as the official clients read them (docs/http/files.md)."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from flask import Response

from blueprints import _jsonapi
from blueprints._jsonapi import Resource
from cozyd import jsons
from cozyd.documents.store import Row
from cozyd.files import Dir, File, Files, Node, Version
from cozyd.files.tree import VERSIONS
from cozyd.permissions import FILES, ROOT_DIR

PAGE = 30
FORMATS = ("tiny", "small", "medium", "large")
_HIDDEN = frozenset(("_id", "_rev", "internal_vfs_id"))
_HIDDEN_OF_FILES = _HIDDEN | {"referenced_by"}
_LEFT_OUT_WHEN_EMPTY = frozenset(("tags", "metadata", "cozyMetadata", "not_synchronized_on", "restore_path", "referenced_by"))


def short(files: Files, node: Node, *, empty: list[Any] | None = None, path: str | None = None) -> Resource:
    """A node as it stands in lists and after its creation.

    :param empty: what stands for an empty list of references; the reference answers null or [].
    :param path: of a file, where lists show it.
    """
    hidden = _HIDDEN_OF_FILES if isinstance(node, File) else _HIDDEN
    attributes = {
        name: value for name, value in node.stored.doc.items() if name not in hidden and (value or name not in _LEFT_OUT_WHEN_EMPTY)
    }
    if path is not None:
        attributes["path"] = path
    found = {"type": FILES, "id": node.id, "attributes": attributes, "meta": {"rev": node.rev}}
    return found | {"links": links(files, node), "relationships": relationships(node, empty=empty)}


def links(files: Files, node: Node) -> dict[str, str]:
    """Where a node is, and the thumbnails of an image or PDF."""
    self = f"/files/{node.id}"
    if not isinstance(node, File) or node.stored.doc.get("class") not in ("image", "pdf"):
        return {"self": self}
    secret = files.links.thumbnail(node.id)
    return {"self": self} | {format: f"{self}/thumbnails/{secret}/{format}" for format in FORMATS}


def relationships(node: Node, *, empty: list[Any] | None = None) -> dict[str, Any]:
    """What every view of a node tells of its neighbours."""
    references = {"links": {"self": f"/files/{node.id}/relationships/references"}, "data": node.stored.doc.get("referenced_by") or empty}
    found: dict[str, Any] = {"referenced_by": references}
    if isinstance(node, File):
        found["parent"] = {"links": {"related": f"/files/{node.parent}"}, "data": identifier(node.parent)}
    return found


def version(version: Version) -> Resource:
    """An earlier content."""
    attributes = {key: value for key, value in version.stored.doc.items() if not key.startswith("_")}
    return _jsonapi.resource(VERSIONS, version.id, attributes, rev=version.rev)


def with_children(files: Files, dir: Dir, page: "Page", *, empty: list[Any] | None = None) -> Response:
    """A folder with a page of its children."""
    rows, more = page.rows(files, dir)
    nodes = files.named(rows)
    found = short(files, dir, empty=empty)
    self = f"/files/{dir.id}"
    contents: dict[str, Any] = {"self": f"{self}/relationships/contents"}
    if more:
        contents["next"] = f"{self}/relationships/contents?{page.next(rows[-1])}"
    found["relationships"] |= {
        "parent": {"links": {"self": f"/files/{dir.parent}"}, "data": identifier(dir.parent)} if dir.parent else {"data": None},
        "contents": {"meta": {"count": files.count(dir)}, "links": contents, "data": [identifier(node.id) for node in nodes]},
        "not_synchronized_on": {
            "links": {"self": f"{self}/relationships/not_synchronized_on"},
            "data": dir.stored.doc.get("not_synchronized_on") or empty,
        },
    }
    top = {"next": f"{self}?{page.next(rows[-1])}"} if more else {}
    return _jsonapi.answer(found, included=[short(files, node) for node in nodes], links=top)


def contents(files: Files, dir: Dir, page: "Page", address: str) -> Response:
    """A page of a folder's children.

    :param address: of the list, for the link to its next page.
    """
    rows, more = page.rows(files, dir)
    links = {"next": f"{address}?{page.next(rows[-1])}"} if more else {}
    return _jsonapi.answer([short(files, node) for node in files.named(rows)], links=links, meta={"count": files.count(dir)})


def file(
    files: Files,
    node: Node,
    *,
    status: int = 200,
    empty: list[Any] | None = None,
    versions: Sequence[Version] = (),
    links: Mapping[str, Any] | None = None,
) -> Response:
    """A file.

    :param versions: its earlier contents, where they are told.
    """
    found = short(files, node, empty=empty)
    if not versions:
        return _jsonapi.answer(found, status=status, links=links)
    found["relationships"]["old_versions"] = {"data": [{"id": one.id, "type": VERSIONS} for one in versions]}
    return _jsonapi.answer(found, status=status, included=[version(one) for one in versions], links=links)


class Page:
    """Which children to answer.

    :param cursor: `page[cursor]`: JSON `[[dir, type, name], id]` of the last one seen.
    :raises BadRequest: the cursor is none.
    """

    def __init__(self, limit: int | None, cursor: str | None, skip: int, *, default: int = PAGE) -> None:
        self.limit = limit or default
        self.skip = skip
        self.after: tuple[tuple[Any, ...], str] | None = None
        if cursor:
            found = jsons.load(cursor)
            if not (isinstance(found, list) and len(found) == 2 and isinstance(found[0], list) and isinstance(found[1], str)):
                raise _jsonapi.bad_cursor()
            self.after = (tuple(found[0]), found[1])

    def rows(self, files: Files, dir: Dir) -> tuple[Sequence[Row], bool]:
        """The rows of the page, and whether there are more."""
        return self.cut(files.rows(dir, after=self.after, skip=self.skip, limit=self.limit + 1))

    def cut(self, rows: Sequence[Row]) -> tuple[Sequence[Row], bool]:
        """A page of rows that has perhaps one more, and whether it has."""
        return rows[: self.limit], len(rows) > self.limit

    def next(self, last: Row) -> str:
        """The query of the next page."""
        cursor = jsons.dump([list(last.key), last.ref.id]).decode()
        return urlencode({"page[cursor]": cursor, "page[limit]": self.limit})


def identifier(id: str) -> Resource:
    """A node, named only."""
    return {"id": id or ROOT_DIR, "type": FILES}
