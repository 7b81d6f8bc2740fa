"""`Checkup`: look at a tenant's documents and contents while others use them, say what is wrong, mend what can be.

Nothing stands still meanwhile, so what one look finds counts only when a second one finds it too.
"""

import base64
import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cozyd.documents import Documents
from cozyd.documents.store import FeedRow
from cozyd.errors import Conflict, NotFound
from cozyd.files.blobs import PIECE
from cozyd.files.contents import Contents
from cozyd.files.fsck import Entry, Finding, Kind, Look, compare, entry_of, mismatch
from cozyd.files.mending import Mender
from cozyd.files.rows import DISK_USAGE, VERSIONS_USAGE
from cozyd.files.tree import VERSIONS
from cozyd.permissions import FILES

PAGE = 1000
ORPHAN_AGE = timedelta(hours=1)
"""A content that no document names may be on its way to one for so long: the sender's commit follows its last byte at once."""
ROUNDS = 4
"""Mending one thing may uncover another: a folder that is hung up again has paths below it to set right."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is.

    :param of: documents, or bytes of contents; 0: not known.
    """

    step: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Mended:
    """A finding that is one no more."""

    finding: Finding


class Checkup:
    """One tenant's.

    :param mender: does what can be done about what is found.
    """

    def __init__(self, docs: Documents, contents: Contents, now: Callable[[], datetime], mender: Mender) -> None:
        self._docs, self._contents, self._now, self._mender = docs, contents, now, mender

    def run(
        self, *, mend: bool = False, contents: bool = True, orphan_age: timedelta = ORPHAN_AGE
    ) -> Iterator[Finding | Mended | Progress]:
        """Look, and mend if asked: findings as they are found, `Mended` for each that is done away with.

        :param contents: read every content, and compare it with its MD5.
        :param orphan_age: how old a content has to be that no document names.
        """
        look = yield from self._look(orphan_age)
        first = compare(look) + self._store_findings()
        confirmed = (yield from self._confirmed(first, orphan_age)) if first else []
        yield from confirmed
        if mend:
            yield from self._mend(confirmed, orphan_age)
        if contents:
            yield from self._read_contents(look)

    # -- looking ----------------------------------------------------------------------------------------------------

    def _look(self, orphan_age: timedelta) -> Generator[Progress, None, Look]:
        """One look; contents first, so that a content whose document is read was there before it."""
        old, seqs = self._now() - orphan_age, self._seqs()
        contents = {key: (size, time) for key, size, time in self._contents.list()}
        yield Progress("contents", len(contents), len(contents))
        entries: dict[str, Entry] = {}
        versions: dict[str, Entry] = {}
        unreadable: set[str] = set()
        kinds: Sequence[tuple[str, Kind | None, dict[str, Entry]]] = ((FILES, None, entries), (VERSIONS, "version", versions))
        for doctype, kind, found in kinds:
            total = self._docs.info(doctype).count
            for done, row in enumerate(self._rows(doctype), 1):
                found.pop(row.id, None)
                unreadable.discard(row.id)
                entry = self._entry(row, kind)
                if entry is not None:
                    found[entry.id] = entry
                elif not row.deleted:
                    unreadable.add(row.id)
                if done % PAGE == 0:
                    yield Progress("documents", min(done, total), total)
        usage = (self._docs.total(DISK_USAGE).sum, self._docs.total(VERSIONS_USAGE).sum)
        return Look(entries, versions, sorted(unreadable), contents, usage if self._seqs() == seqs else None, old)

    def _seqs(self) -> list[str]:
        return [self._docs.info(doctype).seq for doctype in (FILES, VERSIONS)]

    def _rows(self, doctype: str) -> Iterator[FeedRow]:
        """Every document of a doctype at its last change, but design documents: the feed tells its leaves too."""
        since = ""
        while True:
            feed = self._docs.changes(doctype, since=since, limit=PAGE, docs=True)
            yield from (row for row in feed.rows if not row.id.startswith("_design/"))
            if len(feed.rows) < PAGE:
                return
            since = feed.last_seq

    def _entry(self, row: FeedRow, kind: Kind | None) -> Entry | None:
        if row.deleted or row.stored is None:
            return None
        try:
            conflicts = self._docs.tree(row.stored.ref).conflicts if len(row.leaves) > 1 else ()
        except NotFound:
            conflicts = ()
        return entry_of(row.stored, kind, conflicts)

    def _store_findings(self) -> list[Finding]:
        return [Finding("document_store", text, kind="store") for text in self._docs.check()]

    def _confirmed(self, first: Sequence[Finding], orphan_age: timedelta) -> Generator[Progress, None, list[Finding]]:
        """Those of the first look that a second one finds too."""
        look = yield from self._look(orphan_age)
        again = {(found.type, found.id) for found in (*compare(look), *self._store_findings())}
        return [found for found in first if (found.type, found.id) in again]

    def _read_contents(self, look: Look) -> Iterator[Finding | Progress]:
        """Compare every content with its MD5; sealed ones never change, so that one look is enough."""
        entries = [entry for entry in (*look.entries.values(), *look.versions.values()) if entry.key in look.contents]
        whole = sum(look.contents[entry.key][0] for entry in entries)
        done = 0
        for entry in entries:
            md5 = hashlib.md5(usedforsecurity=False)
            size = 0
            try:
                with self._contents.open(entry.key) as stream:
                    while piece := stream.read(PIECE):
                        md5.update(piece)
                        size += len(piece)
            except NotFound:
                continue  # deleted meanwhile
            found = base64.b64encode(md5.digest()).decode()
            if size == entry.size and found != entry.md5:
                yield mismatch(entry, entry.name or entry.id, size, found)
            done += size
            yield Progress("bytes", done, whole)

    # -- mending ----------------------------------------------------------------------------------------------------

    def _mend(self, findings: Sequence[Finding], orphan_age: timedelta) -> Iterator[Finding | Mended | Progress]:
        told = set(findings)
        for _ in range(ROUNDS):
            mendable = [finding for finding in findings if finding.mendable]
            if not mendable:
                return
            for finding in mendable:
                try:
                    self._mender.mend(finding)
                except Conflict:
                    continue  # somebody changes it now: the next look tells
            look = yield from self._look(orphan_age)
            left = [*compare(look), *self._store_findings()]
            remaining = {(finding.type, finding.id) for finding in left}
            yield from (Mended(finding) for finding in mendable if (finding.type, finding.id) not in remaining)
            findings = left
            yield from (finding for finding in left if finding not in told)
            told |= set(left)
