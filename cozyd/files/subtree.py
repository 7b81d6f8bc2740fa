"""What lies below a folder, and the writes that move it."""

from collections.abc import Iterator, Sequence

from cozyd.documents import Documents
from cozyd.documents.store import Ref, Row, Write
from cozyd.files.rows import BY_NAME
from cozyd.files.tree import Dir, Node, check_depth, node_of
from cozyd.permissions import FILES


class Subtree:
    """Walks the rows of folders, level by level."""

    def __init__(self, docs: Documents) -> None:
        self._docs = docs

    def dirs(self, id: str) -> Sequence[str]:
        """Ids of all folders below one, parents first."""
        return [row.ref.id for row, _ in self._walk(id, "")]

    def nodes(self, dir: Dir) -> Sequence[Node]:
        """Every folder and file below one, children before the folder they are in."""
        parents = [dir.id, *self.dirs(dir.id)]
        ids = [row.ref.id for parent in reversed(parents) for row in self._docs.rows(BY_NAME, (parent,))]
        return [node_of(stored) for stored in self._docs.get_many(FILES, ids) if stored is not None]

    def moved(self, dir: Dir, path: str, *, to_trash: bool) -> list[Write]:
        """The writes for what is below a folder that gets another path: paths of folders, and `trashed` of files.

        :raises Invalid: it would be too deep.
        """
        below = list(self._walk(dir.id, path))
        if below:
            check_depth(max((at for _, at in below), key=lambda at: at.count("/")))
        writes = [Write(Ref(FILES, row.ref.id), patch={"path": at}, rev=row.rev) for row, at in below]
        if dir.trashed != to_trash:
            for id in (dir.id, *(row.ref.id for row, _ in below)):
                files = self._docs.rows(BY_NAME, (id, "file"))
                writes += [Write(Ref(FILES, row.ref.id), patch={"trashed": to_trash}, rev=row.rev) for row in files]
        return writes

    def _walk(self, id: str, path: str) -> Iterator[tuple[Row, str]]:
        """Folders below one, parents first, with their paths when the top one has `path`."""
        level = [(id, path)]
        while level:
            following: list[tuple[str, str]] = []
            for parent, at in level:
                for row in self._docs.rows(BY_NAME, (parent, "directory")):
                    below = f"{at.rstrip('/')}/{row.key[2]}"
                    following.append((row.ref.id, below))
                    yield row, below
            level = following
