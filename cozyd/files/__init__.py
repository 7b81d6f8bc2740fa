"""`Files`: the virtual file system of an instance: folders and files as documents, contents as blobs (docs/files.md).

Each change is one commit under the lock `files/<area>`: read, compute, commit. A blob is sealed before a document names it,
and removed only after no document does, so a crash leaves at most an orphan blob.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, BinaryIO

from cozyd.documents import Documents
from cozyd.documents.store import Doc, Key, Ref, Row, Stored, Write
from cozyd.errors import BadRequest, Conflict, Invalid, NotFound, PreconditionFailed
from cozyd.files import tree
from cozyd.files.blobs import Blob, BlobStore, NewBlob
from cozyd.files.subtree import Subtree
from cozyd.files.tree import (
    BY_NAME,
    DISK_USAGE,
    NAMES,
    TRASH_DIR,
    TRASH_NAME,
    TRASH_PATH,
    VERSIONS_USAGE,
    Dir,
    File,
    Node,
    node_of,
    write_time,
)
from cozyd.files.upload import Room, Upload
from cozyd.locks import Lock, Locks
from cozyd.permissions import FILES, ROOT_DIR

__all__ = ["Dir", "File", "Files", "Node"]

After = tuple[Key, str]
NOT_FOUND = "file does not exist"
_IMMUTABLE = frozenset(("_id", "_rev", "type", "path", "size", "md5sum", "internal_vfs_id", "trashed", "restore_path", "created_at"))


def lock_name(area: str) -> str:
    """What is held while files, folders or versions of a tenant change."""
    return f"files/{area}"


class Files:
    """One tenant's files.

    :param area: the tenant's area in the blob store.
    :param quota: bytes her files may take, None: no limit.
    """

    def __init__(
        self,
        docs: Documents,
        blobs: BlobStore,
        area: str,
        locks: Locks,
        quota: Callable[[], int | None],
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._docs = docs
        self._blobs = blobs
        self._area = area
        self._locks = locks
        self._quota = quota
        self._now = now
        self._new_id = new_id
        self._subtree = Subtree(docs)

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Node:
        """A folder or file by id.

        :raises NotFound: there is none.
        """
        try:
            stored = self._docs.get(Ref(FILES, id))
        except NotFound:
            raise NotFound(NOT_FOUND) from None
        if "type" not in stored.doc:
            raise NotFound(NOT_FOUND)
        return node_of(stored)

    def at(self, path: str) -> Node:
        """A folder or file by its absolute path.

        :raises NotFound: there is none.
        :raises Invalid: the path is relative or climbs.
        """
        id = ROOT_DIR
        for name in tree.split_path(path):
            rows = self._docs.rows(NAMES, (id, tree.same_name(name)), limit=1)
            if not rows:
                raise NotFound(NOT_FOUND)
            id = rows[0].ref.id
        return self.get(id)

    def dir(self, id: str) -> Dir:
        """A folder by id.

        :raises NotFound: there is none, or it is a file.
        """
        node = self.get(id)
        if not isinstance(node, Dir):
            raise NotFound(NOT_FOUND)
        return node

    def find(self, parent: Dir, name: str) -> Node | None:
        """A child by name."""
        rows = self._docs.rows(NAMES, (parent.id, tree.same_name(name)), limit=1)
        return self.get(rows[0].ref.id) if rows else None

    def above(self, node: Node) -> Sequence[Stored]:
        """The ancestors of a node, its parent first, for permission checks."""
        found: list[Stored] = []
        parent = node.parent
        while parent and len(found) < tree.DEEPEST:
            stored = self._docs.get(Ref(FILES, parent))
            found.append(stored)
            parent = stored.doc.get("dir_id", "")
        return found

    def path(self, node: Node) -> str:
        """The absolute path of a node."""
        return node.path if isinstance(node, Dir) else self.dir(node.parent).below(node.name)

    def rows(self, dir: Dir, *, after: After | None = None, skip: int = 0, limit: int | None = None) -> Sequence[Row]:
        """The children without their documents: folders first, then files, by name; the root hides the trash.

        Row values: {mtime, created} of folders, {size, mime, mtime, created, md5, executable} of files.
        """
        hidden = dir.id == ROOT_DIR
        found = self._docs.rows(BY_NAME, (dir.id,), after=after, skip=skip, limit=None if limit is None else limit + hidden)
        return [row for row in found if row.ref.id != TRASH_DIR][:limit]

    def children(self, dir: Dir, *, after: After | None = None, skip: int = 0, limit: int | None = None) -> Sequence[Node]:
        """The children, as `rows` lists them."""
        return self.named(self.rows(dir, after=after, skip=skip, limit=limit))

    def named(self, rows: Sequence[Row]) -> Sequence[Node]:
        """The nodes of rows, in their order."""
        found = self._docs.get_many(FILES, [row.ref.id for row in rows])
        return [node_of(stored) for stored in found if stored is not None]

    def count(self, dir: Dir) -> int:
        """How many children a folder has; the root does not count the trash."""
        return self._docs.total(BY_NAME, (dir.id,)).count - (dir.id == ROOT_DIR)

    def size(self, dir: Dir) -> int:
        """Bytes of all files below a folder."""
        return sum(self._docs.total(DISK_USAGE, (id,)).sum for id in [dir.id, *self._subtree.dirs(dir.id)])

    def usage(self) -> tuple[int, int | None]:
        """Bytes that files and versions take, and the quota."""
        return self._docs.total(DISK_USAGE).sum + self._docs.total(VERSIONS_USAGE).sum, self._quota()

    def read(self, file: File, *, start: int = 0, stop: int | None = None) -> BinaryIO:
        """A seekable stream of a file's content.

        :raises RangeNotSatisfiable: it ends before `start`.
        """
        return self._blobs.open(self._area, file.blob.key, start=start, stop=stop)

    # -- contents ---------------------------------------------------------------------------------------------------

    def new(self, *, size: int | None = None, replaces: File | None = None) -> NewBlob:
        """Begin the content of a new file, or the next one of a file.

        :param size: bytes, when it is known.
        :raises QuotaExceeded, StorageFull: there is no room; before a byte is read, or while they come.
        """
        room = Room(*self.usage(), freed=replaces.blob.size if replaces else 0)
        room.check(size or 0)
        key = f"{replaces.id if replaces else self._new_id()}/{secrets.token_hex(8)}"
        return Upload(self._blobs.new(self._area, key, size=size), room)

    def put(self, parent: Dir, name: str, blob: Blob, *, replaces: File | None = None, fields: Mapping[str, Any] | None = None) -> File:
        """Make a file of a sealed blob, or give one its next content in the same place.

        :param fields: further members of the document: mime, tags, executable, created_at, updated_at, metadata...
        :raises Conflict: the name is taken, or the file changed meanwhile.
        :raises NotFound: the parent is gone or in the trash.
        :raises QuotaExceeded: there is no room left.
        """
        try:
            with self._held():
                stored = self._put(parent, tree.check_name(name), blob, replaces, fields or {})
        except BaseException:
            self._blobs.delete(self._area, [blob.key])
            raise
        if replaces is not None and replaces.blob.key != blob.key:
            self._blobs.delete(self._area, [replaces.blob.key])
        file = node_of(stored)
        assert isinstance(file, File)
        return file

    def _put(self, parent: Dir, name: str, blob: Blob, replaces: File | None, fields: Mapping[str, Any]) -> Stored:
        home = self._usable(parent.id)
        tree.check_depth(home.below(name))
        twin = self.find(home, name)
        if twin is not None and (replaces is None or twin.id != replaces.id):
            raise Conflict("file already exists")
        Room(*self.usage(), freed=replaces.blob.size if replaces else 0).check(blob.size)
        id, _, internal = blob.key.partition("/")
        now = write_time(self._now())
        mime = fields.get("mime") or tree.guess_mime(name)
        kept = {key: replaces.stored.doc[key] for key in ("created_at", "referenced_by") if key in replaces.stored.doc} if replaces else {}
        body: Doc = {"created_at": now, "updated_at": now, "executable": False, "encrypted": False} | dict(fields) | kept
        body |= {"type": "file", "name": name, "dir_id": home.id, "mime": mime, "class": tree.class_of(mime), "trashed": False}
        body |= {"size": str(blob.size), "md5sum": blob.md5, "internal_vfs_id": internal}
        write = Write(Ref(FILES, id), body=body, rev=replaces.rev if replaces else None, about=self._about(home))
        return self._docs.commit([write], while_at=[(home.stored.ref, home.rev)])[0].new

    def discard(self, blob: Blob) -> None:
        """Remove a sealed blob that no document will name."""
        self._blobs.delete(self._area, [blob.key])

    # -- folders ----------------------------------------------------------------------------------------------------

    def mkdir(self, parent: Dir, name: str, *, fields: Mapping[str, Any] | None = None) -> Dir:
        """Make a folder.

        :raises Conflict: the name is taken.
        :raises NotFound: the parent is gone or in the trash.
        """
        with self._held():
            home = self._usable(parent.id)
            if self.find(home, tree.check_name(name)) is not None:
                raise Conflict(f"mkdir {name}: file exists")
            return self._mkdir(home, name, fields or {})

    def mkdir_all(self, path: str, *, fields: Mapping[str, Any] | None = None) -> Dir:
        """A folder by path, made with all that lead there where they are missing.

        :raises Conflict: a file is in the way.
        """
        with self._held():
            at = self.dir(ROOT_DIR)
            for name in tree.split_path(path):
                child = self.find(at, tree.check_name(name))
                if isinstance(child, File):
                    raise Conflict(f"{name} is a file")
                at = child or self._mkdir(self._usable(at.id), name, fields or {})
            return at

    def _mkdir(self, home: Dir, name: str, fields: Mapping[str, Any]) -> Dir:
        path = home.below(name)
        tree.check_depth(path)
        now = write_time(self._now())
        body: Doc = {"created_at": now, "updated_at": now} | dict(fields)
        body |= {"type": "directory", "name": name, "dir_id": home.id, "path": path}
        write = Write(Ref(FILES, self._new_id()), body=body, about=self._about(home))
        made = node_of(self._docs.commit([write], while_at=[(home.stored.ref, home.rev)])[0].new)
        assert isinstance(made, Dir)
        return made

    # -- changing ---------------------------------------------------------------------------------------------------

    def patch(self, node: Node, *, replaces: Node | None = None, **changes: Any) -> Node:
        """Rename, move, or change other members: one commit, whatever lies below.

        :param replaces: what stands at the new place and goes to the trash in the same commit.
        :param changes: `name`, `dir_id`, `tags`, `updated_at`, `executable`, `metadata`, `cozyMetadata`...; None removes one.
        :raises Conflict: the name is taken, or the node changed meanwhile.
        :raises PreconditionFailed: a folder into itself or below.
        :raises Invalid: a bad name, or a change of what cannot be changed.
        """
        if node.id in (ROOT_DIR, TRASH_DIR):
            raise BadRequest("The root and the trash cannot be changed")
        if _IMMUTABLE & changes.keys():
            raise Invalid(f"{min(_IMMUTABLE & changes.keys())} cannot be changed", source="attributes")
        with self._held():
            name = tree.check_name(changes.pop("name", node.name))
            home = self._usable(changes.pop("dir_id", node.parent) or ROOT_DIR, trash=node.trashed)
            if node.trashed and not home.trashed:
                raise BadRequest("What is in the trash is restored, not moved")
            self._check_place(node, home, name, replaces)
            batch = self._clearing(replaces)
            batch += self._moving(node, home, name, {key: ... if value is None else value for key, value in changes.items()})
            changed = self._docs.commit(batch, while_at=[(home.stored.ref, home.rev)])
            return node_of(next(change.new for change in changed if change.new.ref.id == node.id))

    def _check_place(self, node: Node, home: Dir, name: str, replaces: Node | None) -> None:
        """Whether a node may stand under this name in this folder."""
        if isinstance(node, Dir) and (home.id == node.id or home.path.startswith(node.path + "/")):
            raise PreconditionFailed("Forbidden document move", source="dir-id")
        tree.check_depth(home.below(name))
        twin = self.find(home, name)
        if twin is not None and twin.id != node.id and (replaces is None or twin.id != replaces.id):
            raise Conflict("file already exists")

    def _moving(self, node: Node, home: Dir, name: str, more: Mapping[str, Any]) -> list[Write]:
        """The writes that put a node under a name in a folder, with all below."""
        patch: dict[str, Any] = dict(more)
        if name != node.name:
            patch["name"] = name
            if isinstance(node, File) and tree.guess_mime(name) != tree.guess_mime(node.name):
                mime = tree.guess_mime(name)
                patch |= {"mime": mime, "class": tree.class_of(mime)}
        if home.id != node.parent:
            patch["dir_id"] = home.id
        if isinstance(node, File):
            if node.trashed != home.trashed:
                patch["trashed"] = home.trashed
            return [Write(node.stored.ref, patch=patch, rev=node.rev, about=self._about(home, node))]
        path = home.below(name)
        below = self._subtree.moved(node, path, to_trash=home.trashed) if path != node.path else []
        if path != node.path:
            patch["path"] = path
        return [Write(node.stored.ref, patch=patch, rev=node.rev, about=self._about(home, node)), *below]

    # -- trash ------------------------------------------------------------------------------------------------------

    def trash(self, node: Node, *, by: Mapping[str, Any] | None = None) -> Node:
        """Put a node in the trash, with all below, in one commit.

        :param by: who does it, for `cozyMetadata.trashedBy`.
        :raises BadRequest: it is there already, or is the root.
        """
        with self._held():
            batch = self._trashing(node, by)
            return node_of(self._docs.commit(batch)[0].new)

    def _trashing(self, node: Node, by: Mapping[str, Any] | None) -> list[Write]:
        if node.id == ROOT_DIR:
            raise BadRequest("The root cannot go to the trash")
        if node.trashed:
            raise BadRequest("File or directory is already in the trash")
        bin = self.dir(TRASH_DIR)
        name = node.name
        while self.find(bin, name) is not None:
            name = tree.trash_name(node.name, secrets.randbelow(10**9))
        metadata = dict(node.stored.doc.get("cozyMetadata") or {}) | {"trashedAt": write_time(self._now())}
        if by is not None:
            metadata["trashedBy"] = dict(by)
        return self._moving(node, bin, name, {"restore_path": self.dir(node.parent).path, "cozyMetadata": metadata})

    def _clearing(self, replaces: Node | None) -> list[Write]:
        return self._trashing(replaces, None) if replaces is not None else []

    def restore(self, node: Node) -> Node:
        """Take a node out of the trash, to where it was; folders that are gone are made again.

        :raises BadRequest: it is not in the trash.
        """
        if not node.trashed or node.id == TRASH_DIR:
            raise BadRequest("File or directory is not in the trash")
        home = self.mkdir_all(self._restore_path(node))
        with self._held():
            home = self._usable(home.id)
            name = tree.restored_name(node.name)
            while self.find(home, name) is not None:
                name = tree.trash_name(tree.restored_name(node.name), secrets.randbelow(10**9))
            batch = self._moving(node, home, name, {"restore_path": ...})
            return node_of(self._docs.commit(batch, while_at=[(home.stored.ref, home.rev)])[0].new)

    def _restore_path(self, node: Node) -> str:
        """Where a node was: its own note, or derived from the folder that went to the trash with it."""
        noted = node.stored.doc.get("restore_path")
        if noted:
            return str(noted)
        for stored in self.above(node):
            top = node_of(stored)
            if isinstance(top, Dir) and "restore_path" in stored.doc:
                inside = self.dir(node.parent).path.removeprefix(top.path)
                return f"{str(stored.doc['restore_path']).rstrip('/')}/{tree.restored_name(top.name)}{inside}"
        return "/"

    def erase(self, node: Node) -> None:
        """Remove a node with all below, for good.

        :raises BadRequest: it is the root or the trash.
        """
        if node.id in (ROOT_DIR, TRASH_DIR):
            raise BadRequest("The root and the trash cannot be removed")
        with self._held():
            self._erase([node])

    def clear_trash(self) -> None:
        """Remove all that is in the trash, for good."""
        with self._held():
            self._erase(self.children(self.dir(TRASH_DIR)))

    def _erase(self, nodes: Sequence[Node]) -> None:
        below = [found for node in nodes if isinstance(node, Dir) for found in self._subtree.nodes(node)]
        doomed = [*nodes, *below]
        self._docs.commit([Write(node.stored.ref, rev=node.rev, deleted=True) for node in doomed])
        self._blobs.delete(self._area, [node.blob.key for node in doomed if isinstance(node, File)])

    # -- copies -----------------------------------------------------------------------------------------------------

    def copy(
        self,
        node: Node,
        parent: Dir,
        name: str,
        *,
        replaces: Node | None = None,
        deep: bool = True,
        fields: Mapping[str, Any] | None = None,
    ) -> Node:
        """Copy a file, or a folder with all below (`deep`), in one commit.

        :param replaces: what stands there and goes to the trash in the same commit.
        :param fields: members of the copy that differ.
        :raises Conflict: the name is taken. QuotaExceeded: there is no room left.
        """
        made: list[str] = []
        try:
            with self._held():
                home = self._usable(parent.id)
                self._check_copy(node, home, tree.check_name(name), replaces, deep=deep)
                batch = self._copying(node, home.id, home.below(name), name, made, deep=deep, fields=fields or {})
                clearing = self._clearing(replaces)
                changed = self._docs.commit([*clearing, *batch], while_at=[(home.stored.ref, home.rev)])
                return node_of(changed[len(clearing)].new)
        except BaseException:
            self._blobs.delete(self._area, made)
            raise

    def _check_copy(self, node: Node, home: Dir, name: str, replaces: Node | None, *, deep: bool) -> None:
        tree.check_depth(home.below(name))
        twin = self.find(home, name)
        if twin is not None and (replaces is None or twin.id != replaces.id):
            raise Conflict("file already exists")
        if isinstance(node, Dir) and (home.id == node.id or home.path.startswith(node.path + "/")):
            raise PreconditionFailed("Forbidden document copy", source="dir-id")
        size = node.blob.size if isinstance(node, File) else self.size(node) if deep else 0
        Room(*self.usage()).check(size)

    def _copying(
        self, node: Node, dir_id: str, path: str, name: str, made: list[str], *, deep: bool, fields: Mapping[str, Any]
    ) -> list[Write]:
        now = write_time(self._now())
        body = {key: value for key, value in node.stored.doc.items() if not key.startswith("_")}
        body |= {"name": name, "dir_id": dir_id, "created_at": now, "updated_at": now} | dict(fields)
        for gone in ("referenced_by", "not_synchronized_on", "restore_path"):
            body.pop(gone, None)
        id = self._new_id()
        if isinstance(node, File):
            blob = self._blobs.copy(self._area, node.blob, f"{id}/{secrets.token_hex(8)}")
            made.append(blob.key)
            mime = body.get("mime") if tree.guess_mime(name) == tree.guess_mime(node.name) else tree.guess_mime(name)
            body |= {"internal_vfs_id": blob.key.partition("/")[2], "trashed": False, "mime": mime, "class": tree.class_of(str(mime))}
            return [Write(Ref(FILES, id), body=body, private=node.stored.private)]
        writes = [Write(Ref(FILES, id), body=body | {"path": path}, private=node.stored.private)]
        for child in self.children(node) if deep else ():
            writes += self._copying(child, id, f"{path}/{child.name}", child.name, made, deep=True, fields=fields)
        return writes

    def free_copy_name(self, home: Dir, name: str) -> str:
        """A name for a copy that nothing in the folder has."""
        number = 1
        while self.find(home, tree.copy_name(name, number)) is not None:
            number += 1
        return tree.copy_name(name, number)

    # -- a new instance ---------------------------------------------------------------------------------------------

    def seed(self, locale: str, *, fields: Mapping[str, Any] | None = None) -> None:
        """Make the root, the trash and the first folders of a new instance."""
        now = write_time(self._now())
        times = {"created_at": now, "updated_at": now}
        root = {"type": "directory", "path": "/"} | times
        bin = {"type": "directory", "name": TRASH_NAME, "dir_id": ROOT_DIR, "path": TRASH_PATH} | times
        self._docs.commit([Write(Ref(FILES, ROOT_DIR), body=root), Write(Ref(FILES, TRASH_DIR), body=bin)])
        home = self.dir(ROOT_DIR)
        administrative = {"fr": "Administratif", "de": "Verwaltung", "es": "Administrativo"}.get(locale, "Administrative")
        reference = [{"type": "io.cozy.apps", "id": "io.cozy.apps/administrative"}]
        self.mkdir(home, administrative, fields={**(fields or {}), "referenced_by": reference})
        self.mkdir(home, {"de": "Fotos", "es": "Fotos"}.get(locale, "Photos"), fields=fields)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _held(self) -> AbstractContextManager[Lock]:
        return self._locks.hold(lock_name(self._area), wait=30)

    def _usable(self, id: str, *, trash: bool = False) -> Dir:
        """A folder as it is now, if something may be put there.

        :raises NotFound: it is gone, a file, or in the trash.
        """
        found = self.dir(id)
        if found.trashed and not trash:
            raise NotFound(NOT_FOUND)
        return found

    def _about(self, home: Dir, node: Node | None = None) -> Mapping[str, Any]:
        """Ids of all ancestors, old and new, for triggers on folders."""
        ids = [home.id, *(stored.ref.id for stored in self.above(home))]
        if node is not None and node.parent != home.id:
            ids += [stored.ref.id for stored in self.above(node)]
        return {"above": list(dict.fromkeys(ids))}
