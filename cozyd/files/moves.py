"""`Moves`: where a folder or file may stand, and the writes that put it there with all below (docs/files.md)."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from cozyd.documents.store import Doc, Write
from cozyd.errors import BadRequest, Conflict, NotFound, PreconditionFailed
from cozyd.files import tree
from cozyd.files.kinds import class_of, guess_mime
from cozyd.files.lookup import IN_TRASH, Lookup
from cozyd.files.provenance import Author, Metadata
from cozyd.files.subtree import Subtree, TreeEdit
from cozyd.files.tree import TRASH_DIR, Dir, File, Node, node_of
from cozyd.permissions import ROOT_DIR


class Moves:
    """Computes; nothing is written here."""

    def __init__(self, lookup: Lookup, subtree: Subtree) -> None:
        self._lookup = lookup
        self._subtree = subtree

    def usable(self, id: str, *, trash: bool = False) -> Dir:
        """A folder as it is now, if something may be put there.

        :raises NotFound: it is gone, a file, or in the trash.
        """
        found = self._lookup.dir(id)
        if found.trashed and not trash:
            raise NotFound(IN_TRASH)
        return found

    def check_free(self, home: Dir, name: str, *, but: Sequence[Node] = ()) -> None:
        """Whether a name is free in a folder.

        :raises Conflict: another node has it.
        :raises Invalid: the path would be too deep.
        """
        tree.check_depth(home.below(name))
        twin = self._lookup.find(home, name)
        if twin is not None and twin.id not in [node.id for node in but]:
            raise Conflict("file already exists")

    def check_place(self, node: Node, home: Dir, name: str, replaces: Node | None) -> None:
        """Whether a node may stand under this name in this folder.

        :raises PreconditionFailed: a folder into itself or below, or in the place of one that it is in.
        """
        if isinstance(node, Dir) and (home.id == node.id or home.path.startswith(node.path + "/")):
            raise PreconditionFailed("Forbidden document move", source="dir-id")
        if replaces is not None and any(stored.ref.id == replaces.id for stored in self._lookup.above(node)):
            raise PreconditionFailed("Forbidden document move", source="dir-id")
        self.check_free(home, name, but=[node] if replaces is None else [node, replaces])

    def moving(self, node: Node, home: Dir, name: str, more: Mapping[str, Any]) -> TreeEdit:
        """What puts a node under a name in a folder; the node's own write is the first.

        :param more: other members that change.
        """
        patch: Doc = dict(more)
        if name != node.name:
            patch |= {"name": name} | (_retyped(node, name) if isinstance(node, File) else {})
        if home.id != node.parent:
            patch["dir_id"] = home.id
        if isinstance(node, File):
            if node.trashed != home.trashed:
                patch["trashed"] = home.trashed
            return TreeEdit([Write(node.stored.ref, patch=patch, rev=node.rev)])
        path = home.below(name)
        if path == node.path:
            return TreeEdit([Write(node.stored.ref, patch=patch, rev=node.rev)])
        edit = TreeEdit([Write(node.stored.ref, patch=patch | {"path": path}, rev=node.rev)])
        edit.add(self._subtree.moved(node, path, to_trash=home.trashed))
        return edit

    def trashing(self, node: Node, author: Author, by: Metadata | None) -> TreeEdit:
        """What puts a node in the trash.

        :raises BadRequest: it is there already, or is the root.
        """
        if node.id == ROOT_DIR:
            raise BadRequest("The root cannot go to the trash")
        if node.trashed:
            raise BadRequest("File or directory is already in the trash")
        bin = self._lookup.dir(TRASH_DIR)
        metadata = author.trashed(node.stored.doc.get("cozyMetadata") or {}, by)
        more = {"restore_path": self._lookup.dir(node.parent).path, "cozyMetadata": metadata}
        return self.moving(node, bin, self.free_name(bin, node.name), more)

    def free_name(self, home: Dir, name: str) -> str:
        """This name, or one with nine digits behind it that nothing in the folder has."""
        free = name
        while self._lookup.find(home, free) is not None:
            free = tree.trash_name(name, secrets.randbelow(10**9))
        return free

    def restore_path(self, node: Node) -> str:
        """Where a node was: its own note, or derived from the folder that went to the trash with it."""
        noted = node.stored.doc.get("restore_path")
        if noted:
            return str(noted)
        for stored in self._lookup.above(node):
            top = node_of(stored)
            if isinstance(top, Dir) and "restore_path" in stored.doc:
                inside = self._lookup.dir(node.parent).path.removeprefix(top.path)
                return f"{str(stored.doc['restore_path']).rstrip('/')}/{tree.restored_name(top.name)}{inside}"
        return "/"


def _retyped(file: File, name: str) -> Doc:
    """The type of a file whose name gets another extension."""
    if file.name.rpartition(".")[2] == name.rpartition(".")[2]:
        return {}
    mime = guess_mime(name)
    return {"mime": mime, "class": class_of(mime)}
