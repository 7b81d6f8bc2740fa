"""Folders, files and versions in JSON:API, as the official clients read them (docs/http/files.md)."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from flask import Response

from blueprints import _jsonapi
from blueprints._jsonapi import Resource
from cozyd import jsons
from cozyd.documents.store import Row, Stored
from cozyd.files import Dir, Files, Node, Version
from cozyd.files.tree import VERSIONS
from cozyd.permissions import FILES, ROOT_DIR

PAGE = 30
FORMATS = ("tiny", "small", "medium", "large")
_LEFT_OUT_WHEN_EMPTY = ("tags", "metadata", "cozyMetadata", "not_synchronized_on", "restore_path", "referenced_by")
_PICTURED = ("image", "pdf")


def short(files: Files, stored: Stored, *, empty: list[Any] | None = None, path: str | None = None) -> Resource:
    """A folder or file as it stands in lists and after its creation. Lists make them by the thousand.

    :param stored: its document.
    :param empty: what stands for an empty list of references; the reference answers null or [].
    :param path: of a file, where lists show it.
    """
    id, attributes = stored.ref.id, jsons.load_object(stored.text)
    is_file = attributes.get("type") != "directory"
    references = attributes.get("referenced_by") or empty
    attributes.pop("internal_vfs_id", None)
    for name in _LEFT_OUT_WHEN_EMPTY:
        if name in attributes and not attributes[name]:
            del attributes[name]
    if is_file:
        attributes.pop("referenced_by", None)
    if path is not None:
        attributes["path"] = path
    self = f"/files/{id}"
    links, relationships = {"self": self}, _references(self, references)
    if is_file:
        relationships["parent"] = _parent(attributes["dir_id"])
        if attributes.get("class") in _PICTURED:
            secret = files.links.thumbnail(id)
            links |= {format: f"{self}/thumbnails/{secret}/{format}" for format in FORMATS}
    found = {"type": FILES, "id": id, "attributes": attributes, "meta": {"rev": stored.rev}}
    return found | {"links": links, "relationships": relationships}


def _references(self: str, references: list[Any] | None) -> dict[str, Any]:
    return {"referenced_by": {"links": {"self": f"{self}/relationships/references"}, "data": references}}


def _parent(id: str) -> Resource:
    return {"links": {"related": f"/files/{id}"}, "data": identifier(id)}


def version(version: Version) -> Resource:
    """An earlier content."""
    attributes = {key: value for key, value in version.stored.doc.items() if not key.startswith("_")}
    return _jsonapi.resource(VERSIONS, version.id, attributes, rev=version.rev)


def with_children(files: Files, dir: Dir, page: "Page", *, empty: list[Any] | None = None) -> Response:
    """A folder with a page of its children."""
    rows, more = page.rows(files, dir)
    found = short(files, dir.stored, empty=empty)
    self = f"/files/{dir.id}"
    contents: dict[str, Any] = {"self": f"{self}/relationships/contents"}
    if more:
        contents["next"] = f"{self}/relationships/contents?{page.next(rows)}"
    found["relationships"] |= {
        "parent": {"links": {"self": f"/files/{dir.parent}"}, "data": identifier(dir.parent)} if dir.parent else {"data": None},
        "contents": {"meta": {"count": files.count(dir)}, "links": contents, "data": [identifier(row.ref.id) for row in rows]},
        "not_synchronized_on": {
            "links": {"self": f"{self}/relationships/not_synchronized_on"},
            "data": dir.stored.doc.get("not_synchronized_on") or empty,
        },
    }
    top = {"next": f"{self}?{page.next(rows)}"} if more else {}
    return _jsonapi.answer(found, included=_listed(files, rows), links=top)


def contents(files: Files, dir: Dir, page: "Page", address: str) -> Response:
    """A page of a folder's children.

    :param address: of the list, for the link to its next page.
    """
    rows, more = page.rows(files, dir)
    links = {"next": f"{address}?{page.next(rows)}"} if more else {}
    return _jsonapi.answer(_listed(files, rows), links=links, meta={"count": files.count(dir)})


def _listed(files: Files, rows: Sequence[Row]) -> list[Resource]:
    return [short(files, row.stored) for row in rows if row.stored is not None]


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
    found = short(files, node.stored, empty=empty)
    if not versions:
        return _jsonapi.answer(found, status=status, links=links)
    found["relationships"]["old_versions"] = {"data": [{"id": one.id, "type": VERSIONS} for one in versions]}
    return _jsonapi.answer(found, status=status, included=[version(one) for one in versions], links=links)


class Page:
    """Which children to answer.

    :param cursor: `page[cursor]`: JSON `[[dir, type, name], id]` of the last one seen.
    :param skip: `page[skip]`: how many to leave out; who counts so is answered so. A cursor goes before it.
    :raises BadRequest: the cursor is none.
    """

    def __init__(self, limit: int | None, cursor: str | None, skip: int | None, *, default: int = PAGE) -> None:
        self.limit = default if limit is None else limit
        self.skip = skip if not cursor else None
        self.after: tuple[tuple[Any, ...], str] | None = None
        if cursor:
            found = jsons.load(cursor)
            if not (isinstance(found, list) and len(found) == 2 and isinstance(found[0], list) and isinstance(found[1], str)):
                raise _jsonapi.bad_cursor()
            self.after = (tuple(found[0]), found[1])

    def rows(self, files: Files, dir: Dir) -> tuple[Sequence[Row], bool]:
        """The rows of the page, and whether there are more."""
        return self.cut(files.rows(dir, after=self.after, skip=self.skip or 0, limit=self.limit + 1, docs=True))

    def cut(self, rows: Sequence[Row]) -> tuple[Sequence[Row], bool]:
        """A page of rows that has perhaps one more, and whether it has."""
        return rows[: self.limit], len(rows) > self.limit

    def next(self, rows: Sequence[Row]) -> str:
        """The query of the page behind these rows."""
        if self.skip is not None:
            return urlencode({"page[limit]": self.limit, "page[skip]": self.skip + self.limit})
        last = (rows[-1].key, rows[-1].ref.id) if rows else self.after
        cursor = {"page[cursor]": jsons.dump([list(last[0]), last[1]]).decode()} if last else {}
        return urlencode({**cursor, "page[limit]": self.limit})


def identifier(id: str) -> Resource:
    """A node, named only."""
    return {"id": id or ROOT_DIR, "type": FILES}
