"""`References`: which documents point at a folder or file, and on which devices a folder is left out (docs/http/files.md)."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from cozyd.documents import Documents
from cozyd.documents.store import Key, Row, Write
from cozyd.errors import BadRequest, NotFound
from cozyd.files.lookup import NOT_FOUND
from cozyd.files.provenance import Author
from cozyd.files.rows import NOT_SYNCHRONIZED, REFERENCED, REFERENCED_BY_TIME
from cozyd.files.tree import Dir, Node, Reference, node_of
from cozyd.permissions import FILES

Field = Literal["referenced_by", "not_synchronized_on"]


class References:
    """The references of one tenant's files.

    :param held: the lock of her files.
    """

    def __init__(self, docs: Documents, held: Callable[[], AbstractContextManager[Any]]) -> None:
        self._docs = docs
        self._held = held

    def change(
        self, ids: Sequence[str], field: Field, *, add: Sequence[Reference] = (), remove: Sequence[Reference] = (), author: Author
    ) -> Sequence[Node]:
        """Add and remove references of many nodes in one commit.

        :raises NotFound: one is not there; nothing is written.
        :raises BadRequest: `not_synchronized_on` of a file.
        """
        with self._held():
            nodes = [self._node(id, field) for id in dict.fromkeys(ids)]
            batch = [self._write(node, field, add, remove, author) for node in nodes]
            return [node_of(change.new) for change in self._docs.commit(batch)[: len(batch)]]  # triggers may have added jobs

    def _node(self, id: str, field: Field) -> Node:
        found = self._docs.get_many(FILES, [id])[0]
        if found is None or "type" not in found.doc:
            raise NotFound(NOT_FOUND)
        node = node_of(found)
        if field == "not_synchronized_on" and not isinstance(node, Dir):
            raise BadRequest("Cannot add not_synchronized_on on files")
        return node

    @staticmethod
    def _write(node: Node, field: Field, add: Sequence[Reference], remove: Sequence[Reference], author: Author) -> Write:
        known = [Reference(one["type"], one["id"]) for one in node.stored.doc.get(field) or ()]
        gone = set(remove)
        wanted = [one for one in dict.fromkeys([*known, *add]) if one not in gone]
        patch = {field: [one.json for one in wanted] or ..., "cozyMetadata": author.changed(node.stored.doc.get("cozyMetadata") or {})}
        return Write(node.stored.ref, patch=patch, rev=node.rev)

    def count(self, field: Field, reference: Reference) -> int:
        """How many folders and files a document points at."""
        return self._docs.total(_projection(field, by_time=False), (reference.type, reference.id)).count

    def rows(
        self,
        field: Field,
        reference: Reference,
        *,
        by_time: bool = False,
        descending: bool = False,
        after: tuple[Key, str] | None = None,
        skip: int = 0,
        limit: int | None = None,
    ) -> Sequence[Row]:
        """The folders and files a document points at, by id or by the time of their content."""
        name = _projection(field, by_time=by_time)
        prefix = (reference.type, reference.id)
        return self._docs.rows(name, prefix, after=after, skip=skip, limit=limit, descending=descending)


def _projection(field: Field, *, by_time: bool) -> str:
    if field == "not_synchronized_on":
        return NOT_SYNCHRONIZED
    return REFERENCED_BY_TIME if by_time else REFERENCED
