"""What clients keep with a folder or file for themselves: names and texts in its private data.

They move and are renamed with their document for nothing, go along with a copy, and no app or feed shows them.
"""

from collections.abc import Mapping
from typing import Any

from cozyd.documents import Documents
from cozyd.documents.store import Ref, Write
from cozyd.errors import NotFound, StorageFull
from cozyd.files.tree import NOTES, Node
from cozyd.permissions import FILES

LARGEST = 1 << 16
"""Bytes of all notes of one folder or file."""


class Notes:
    """One tenant's notes."""

    def __init__(self, docs: Documents) -> None:
        self._docs = docs

    @staticmethod
    def of(node: Node) -> Mapping[str, str]:
        """The notes of a folder or file."""
        found: Mapping[str, str] = node.stored.private.get(NOTES, {})
        return found

    def many(self, ids: list[str]) -> Mapping[str, Mapping[str, str]]:
        """Id -> notes, of several at once."""
        found = self._docs.get_many(FILES, ids) if ids else ()
        return {stored.ref.id: stored.private.get(NOTES, {}) for stored in found if stored is not None}

    def put(self, node: Node, notes: Mapping[str, str | None], fields: Mapping[str, Any]) -> None:
        """Change notes, and members of the document, in one commit; None removes a note.

        :raises NotFound: it is gone.
        :raises StorageFull: the notes would take more than 64 KiB.
        """

        def write() -> None:
            stored = self._docs.get(Ref(FILES, node.id))
            old: Mapping[str, str] = stored.private.get(NOTES, {})
            kept = {name: text for name, text in {**old, **notes}.items() if text is not None}
            if sum(len(name) + len(text) for name, text in kept.items()) > LARGEST:
                raise StorageFull("The properties take too much room")
            if kept == old and not fields:
                return
            private = {name: value for name, value in stored.private.items() if name != NOTES} | ({NOTES: kept} if kept else {})
            self._docs.commit([Write(stored.ref, patch=dict(fields), rev=stored.rev, private=private)])

        try:
            self._docs.retry(write)
        except NotFound:
            raise NotFound("file does not exist") from None
