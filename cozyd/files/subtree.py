"""What lies below a folder, and the writes that move it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cozyd.documents import Documents
from cozyd.documents.store import Row, RowCount, Write
from cozyd.files.rows import BY_NAME
from cozyd.files.tree import Dir, Node, check_depth, node_of
from cozyd.permissions import FILES


@dataclass(slots=True)
class TreeEdit:
    """Writes that change a tree, and how many children the folders had that were looked through: whatever comes into one of them
    before the commit refuses it, whoever holds which lock.
    """

    writes: list[Write] = field(default_factory=list)
    counts: list[RowCount] = field(default_factory=list)

    def add(self, other: "TreeEdit") -> None:
        """And what another one does."""
        self.writes += other.writes
        self.counts += other.counts


class Subtree:
    """Walks the rows of folders, level by level."""

    def __init__(self, docs: Documents) -> None:
        self._docs = docs

    def dirs(self, id: str) -> Sequence[str]:
        """Ids of all folders below one, parents first."""
        return [row.ref.id for row, _ in self._walk(id, "")]

    def nodes(self, dir: Dir) -> tuple[Sequence[Node], Sequence[RowCount]]:
        """Every folder and file below one, children before the folder they are in; and how many each folder had."""
        parents = [dir.id, *self.dirs(dir.id)]
        rows = [self._docs.rows(BY_NAME, (parent,)) for parent in parents]
        counts: list[RowCount] = [(BY_NAME, (parent,), len(found)) for parent, found in zip(parents, rows, strict=True)]
        ids = [row.ref.id for found in reversed(rows) for row in found]
        return [node_of(stored) for stored in self._docs.get_many(FILES, ids) if stored is not None], counts

    def moved(self, dir: Dir, path: str, *, to_trash: bool) -> TreeEdit:
        """What has to be written below a folder that gets another path: paths of folders, and `trashed` of files.

        :raises Invalid: it would be too deep.
        """
        edit = TreeEdit()
        deepest = path
        trash = {"trashed": to_trash}
        for row, at in self._walk(dir.id, path, files=dir.trashed != to_trash, counts=edit.counts):
            edit.writes.append(Write(row.ref, patch={"path": at} if row.key[1] == "directory" else trash, rev=row.rev))
            if at.count("/") > deepest.count("/"):
                deepest = at
        check_depth(deepest)
        return edit

    def _walk(self, id: str, path: str, *, files: bool = False, counts: list[RowCount] | None = None) -> Iterator[tuple[Row, str]]:
        """Folders below one, parents first, with their paths when the top one has `path`; with `files` the files too, with their
        folder's.

        :param counts: gets how many rows were seen in each folder.
        """
        level = [(id, path)]
        while level:
            following: list[tuple[str, str]] = []
            for parent, at in level:
                prefix = (parent,) if files else (parent, "directory")
                rows = self._docs.rows(BY_NAME, prefix)
                if counts is not None:
                    counts.append((BY_NAME, prefix, len(rows)))
                for row in rows:
                    if row.key[1] == "directory":
                        below = f"{at.rstrip('/')}/{row.key[2]}"
                        following.append((row.ref.id, below))
                        yield row, below
                    else:
                        yield row, at
            level = following
