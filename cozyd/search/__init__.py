"""`Search`: full text over a tenant's documents and the contents of her files (docs/search.md).

Each described doctype is read from its change feed, piece by piece: in the background after a commit, and before a query as
far as a moment goes, so that who writes and then asks finds what she wrote.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cozyd.descriptions import searched
from cozyd.documents import Documents
from cozyd.documents.store import Stored
from cozyd.errors import NotFound
from cozyd.search.index import Hit, Index, Seen
from cozyd.search.words import LONGEST_TEXT, entry_of, expression, normal

FILES = "io.cozy.files"
PIECE = 500
MOMENT = 0.25
"""Seconds that a query takes to read what was written just now."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of what has the words.

    :param complete: whether all that was written before is looked at.
    :param more: whether there are further ones.
    """

    hits: Sequence[Hit]
    complete: bool
    more: bool


class Search:
    """One tenant's.

    :param path: the file of the index.
    :param behind: is told when there is more to be read than a query has time for.
    """

    def __init__(self, docs: Documents, path: Path, *, behind: Callable[[], None] = lambda: None) -> None:
        self._docs, self._path, self._behind = docs, path, behind
        self._lock = threading.Lock()
        self._opened: Index | None = None

    @property
    def _index(self) -> Index:
        with self._lock:
            if self._opened is None:
                self._opened = Index(self._path)
            return self._opened

    def find(self, query: str, doctypes: Iterable[str], *, limit: int = 20, skip: int = 0) -> Found:
        """The documents that have the words of a query, best first.

        :param doctypes: among which; those without a description are left out.
        :raises BadRequest: the query has no word.
        """
        expression(query)  # whether it is one; which words begin others is seen when all is read
        among = [doctype for doctype in doctypes if doctype in searched()]
        if not among:
            return Found((), complete=True, more=False)
        complete = self.update(among, seconds=MOMENT)
        if not complete:
            self._behind()
        asked = expression(query, self._index.begins_another)
        hits = self._index.find(asked, among, limit=limit + 1, skip=skip)
        return Found(hits[:limit], complete, len(hits) > limit)

    def update(self, doctypes: Iterable[str] | None = None, *, seconds: float = float("inf")) -> bool:
        """Read what changed.

        :param doctypes: None: every one that is searched.
        :param seconds: how long at most.
        :returns: whether all of it is read.
        """
        until = time.monotonic() + seconds
        for doctype in searched() if doctypes is None else doctypes:
            if doctype in searched():
                while self._index.take(doctype, lambda since, of=doctype: self._read(of, since)) >= PIECE:  # type: ignore[misc]
                    if time.monotonic() > until:
                        return False
        return True

    def _read(self, doctype: str, since: str) -> tuple[Sequence[Seen], Sequence[str], str]:
        """A piece of a feed: documents, ids that are gone, and where the next one begins."""
        try:
            feed = self._docs.changes(doctype, since=since, limit=PIECE, docs=True)
        except NotFound:  # nobody wrote a document of it yet
            return (), (), since
        seen, gone = [], []
        for row in feed.rows:
            if row.id.startswith("_design/") or row.deleted or row.stored is None:
                gone.append(row.id)
            else:
                seen.append(_seen(row.stored))
        return seen, gone, feed.last_seq

    def put_content(self, file: str, source: str, text: str) -> None:
        """Add the words of a file's content.

        :param source: its internal id: of another content by now they are dropped.
        """
        self.update([FILES])
        self._index.put_content(FILES, file, source, normal(text)[:LONGEST_TEXT])

    def counts(self) -> dict[str, int]:
        """How many documents of each doctype are known."""
        return self._index.counts()

    def rebuild(self) -> None:
        """Read everything again; the contents of files are asked for by whoever calls."""
        self._index.clear()
        self.update()

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None


def _seen(stored: Stored) -> Seen:
    doc = stored.doc
    hidden = doc.get("trashed") is True or str(doc.get("path", "")).startswith("/.cozy_trash")
    return Seen(entry_of(searched()[stored.ref.doctype], doc), hidden, str(doc.get("internal_vfs_id", "")))
