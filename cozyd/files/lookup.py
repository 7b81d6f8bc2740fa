"""`Lookup`: reading the tree: by id, by path, listings, sizes, contents."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import BinaryIO

from cozyd.documents import Documents
from cozyd.documents.store import Key, Ref, Row, Stored
from cozyd.errors import NotFound
from cozyd.files import tree
from cozyd.files.blobs import Blob
from cozyd.files.contents import Contents
from cozyd.files.rows import BY_NAME, DISK_USAGE, NAMES, NOT_SYNCHRONIZED, USAGES, VERSIONS_USAGE
from cozyd.files.subtree import Subtree
from cozyd.files.tree import TRASH_DIR, Dir, File, Node, Reference, node_of
from cozyd.permissions import FILES, ROOT_DIR

After = tuple[Key, str]
NOT_FOUND, IN_TRASH = "file does not exist", "Parent directory is in the trash"


class Lookup:
    """What one tenant's files are now.

    :param quota: bytes her files may take, None: no limit.
    """

    def __init__(self, docs: Documents, contents: Contents, quota: Callable[[], int | None], now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._contents = contents
        self._quota = quota
        self._now = now
        self._subtree = Subtree(docs)

    # -- nodes ------------------------------------------------------------------------------------------------------

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

    def get_many(self, ids: Sequence[str]) -> Sequence[Node | None]:
        """Folders and files in the order of `ids`; None for what is absent."""
        found = self._docs.get_many(FILES, ids)
        return [node_of(stored) if stored is not None and "type" in stored.doc else None for stored in found]

    def at(self, path: str) -> Node:
        """A folder or file by its absolute path.

        :raises NotFound: there is none.
        :raises BadRequest: the path is relative or climbs.
        """
        names = tree.split_path(path)
        found = self._walked(names)
        if len(found) <= len(names):
            raise NotFound(NOT_FOUND)
        return self.get(found[-1])

    def on_the_way(self, path: str) -> Sequence[str]:
        """The ids of what a path leads through, from the root on, as far as it is there.

        :raises BadRequest: the path is relative or climbs.
        """
        return self._walked(tree.split_path(path))

    def _walked(self, names: Sequence[str]) -> Sequence[str]:
        found = [ROOT_DIR]
        for name in names:
            id = self._named(found[-1], name)
            if not id:
                break
            found.append(id)
        return found

    def dir(self, id: str) -> Dir:
        """A folder by id.

        :raises NotFound: there is none, or it is a file.
        """
        node = self.get(id)
        if not isinstance(node, Dir):
            raise NotFound(NOT_FOUND)
        return node

    def file(self, id: str) -> File:
        """A file by id.

        :raises NotFound: there is none, or it is a folder.
        """
        node = self.get(id)
        if not isinstance(node, File):
            raise NotFound(NOT_FOUND)
        return node

    def find(self, parent: Dir, name: str) -> Node | None:
        """A child by name."""
        found = self._named(parent.id, name)
        return self.get(found) if found else None

    def _named(self, parent: str, name: str) -> str:
        """The id of a child by name, empty when there is none.

        Twins that a replica or another server brought are two names for one: the one that is spelt like the asked one counts.
        """
        if not name.isascii():
            for kind in ("directory", "file"):
                for row in self._docs.rows(BY_NAME, (parent, kind, name)):
                    if row.key[2] == name:
                        return row.ref.id
        rows = self._docs.rows(NAMES, (parent, tree.same_name(name)), limit=1)
        return rows[0].ref.id if rows else ""

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

    def left_out(self, device: Reference) -> Callable[[Stored], bool] | None:
        """Tells of documents whether they are a folder that a device leaves out, or lie below it; None when it leaves out none."""
        rows = self._docs.rows(NOT_SYNCHRONIZED, (device.type, device.id))
        tops = tuple(f"{self.path(node)}/" for node in self.named(rows))
        if not tops:
            return None

        def lies_below(stored: Stored) -> bool:
            doc = stored.doc
            try:
                path = doc["path"] if "path" in doc else self.dir(doc.get("dir_id", "")).path
            except NotFound:
                return False
            return f"{path}/".startswith(tops)

        return lies_below

    # -- listings ---------------------------------------------------------------------------------------------------

    def rows(self, dir: Dir, *, after: After | None = None, skip: int = 0, limit: int | None = None, docs: bool = False) -> Sequence[Row]:
        """The children, with their documents or without: folders first, then files, by name; the root hides the trash.

        Row values: {mtime, created} of folders, {size, mime, mtime, created, md5, executable} of files.
        """
        hidden = dir.id == ROOT_DIR
        wanted = None if limit is None else limit + skip * hidden + hidden
        found = self._docs.rows(BY_NAME, (dir.id,), after=after, skip=0 if hidden else skip, limit=wanted, docs=docs)
        if not hidden:
            return found
        return [row for row in found if row.ref.id != TRASH_DIR][skip:][:limit]

    def children(self, dir: Dir, *, after: After | None = None, skip: int = 0, limit: int | None = None) -> Sequence[Node]:
        """The children, as `rows` lists them."""
        found = self.rows(dir, after=after, skip=skip, limit=limit, docs=True)
        return [node_of(row.stored) for row in found if row.stored is not None]

    def named(self, rows: Sequence[Row]) -> Sequence[Node]:
        """The nodes of rows, in their order."""
        found = self._docs.get_many(FILES, [row.ref.id for row in rows])
        return [node_of(stored) for stored in found if stored is not None]

    def count(self, dir: Dir) -> int:
        """How many children a folder has; the root does not count the trash."""
        return self._docs.total(BY_NAME, (dir.id,)).count - (dir.id == ROOT_DIR)

    # -- sizes and contents -----------------------------------------------------------------------------------------

    def size(self, dir: Dir) -> int:
        """Bytes of all files below a folder."""
        return sum(self._docs.total(DISK_USAGE, (id,)).sum for id in [dir.id, *self._subtree.dirs(dir.id)])

    def usage(self) -> tuple[int, int | None]:
        """Bytes that files, versions and contacts' photos take, and the quota."""
        return int(sum(self._docs.total(name).sum for name in USAGES)), self._quota()

    def usages(self) -> tuple[int, int, int]:
        """Bytes of files, of their versions, and of the files in the trash (part of the first)."""
        return self._docs.total(DISK_USAGE).sum, self._docs.total(VERSIONS_USAGE).sum, self.size(self.dir(TRASH_DIR))

    def read(self, file: File, *, start: int = 0, stop: int | None = None) -> BinaryIO:
        """A seekable stream of a file's content.

        :raises RangeNotSatisfiable: it ends before `start`.
        """
        return self.open(file.blob, start=start, stop=stop)

    def open(self, blob: Blob, *, start: int = 0, stop: int | None = None) -> BinaryIO:
        """As `read`, of any sealed content."""
        return self._contents.open(blob.key, start=start, stop=stop)
