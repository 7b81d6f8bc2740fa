"""`Copies`: the writes that copy a file, or a folder with all below."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cozyd.documents.store import ContentEdits, Doc, Ref, Write
from cozyd.errors import PreconditionFailed
from cozyd.files import tree
from cozyd.files.contents import Contents
from cozyd.files.kinds import class_of, guess_mime
from cozyd.files.lookup import Lookup
from cozyd.files.provenance import Author
from cozyd.files.tree import Dir, File, Node
from cozyd.permissions import FILES

_NOT_COPIED = frozenset(("referenced_by", "not_synchronized_on", "restore_path", "cozyMetadata"))
Made = tuple[list[str], ContentEdits]


class Copies:
    """Copies contents and computes documents; nothing is committed here."""

    def __init__(self, lookup: Lookup, contents: Contents, new_id: Callable[[], str]) -> None:
        self._lookup = lookup
        self._contents = contents
        self._new_id = new_id

    def size(self, node: Node, home: Dir, *, deep: bool) -> int:
        """Bytes that a copy into a folder takes.

        :raises PreconditionFailed: a folder into itself or below.
        """
        if isinstance(node, File):
            return node.blob.size
        if home.id == node.id or home.path.startswith(node.path + "/"):
            raise PreconditionFailed("Forbidden document copy", source="dir-id")
        return self._lookup.size(node) if deep else 0

    def writes(self, node: Node, home: Dir, name: str, made: Made, author: Author, *, deep: bool, fields: Mapping[str, Any]) -> list[Write]:
        """The writes of a copy, the top one first.

        :param made: gets the key of each content that is copied, and what the commit has to do with small ones.
        """
        return list(self._writes(node, home.id, home.below(name), name, made, author, deep=deep, fields=fields))

    def _writes(
        self, node: Node, home: str, path: str, name: str, made: Made, author: Author, *, deep: bool, fields: Mapping[str, Any]
    ) -> Iterator[Write]:
        tree.check_depth(path)
        body = {key: value for key, value in node.stored.doc.items() if not key.startswith("_") and key not in _NOT_COPIED}
        body |= {"name": name, "dir_id": home, "created_at": author.at, "updated_at": author.at} | dict(fields)
        id = self._new_id()
        if isinstance(node, File):
            internal = secrets.token_hex(8)
            made[0].append(f"{id}/{internal}")
            self._contents.copy(node.blob, f"{id}/{internal}", made[1], {"creation-name": name, "created-at": author.at})
            body |= _typed(node, name) | {"internal_vfs_id": internal, "trashed": False}
            yield Write(Ref(FILES, id), body=body | {"cozyMetadata": author.uploaded()}, private=node.stored.private)
            return
        yield Write(Ref(FILES, id), body=body | {"path": path, "cozyMetadata": author.created()}, private=node.stored.private)
        for child in self._lookup.children(node) if deep else ():
            yield from self._writes(child, id, f"{path}/{child.name}", child.name, made, author, deep=True, fields=fields)


def _typed(file: File, name: str) -> Doc:
    """The type of a copy: the original's, unless the name has another extension."""
    mime = file.mime if guess_mime(name) == guess_mime(file.name) else guess_mime(name)
    return {"mime": mime, "class": class_of(mime)}
