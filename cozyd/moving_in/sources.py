"""`Source` port: where the instances of a cozy-stack are read from, and what may be wrong with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cozyd.doctypes import INSTANCES
from cozyd.documents.store import Doc, DocumentBackend, DocumentStore, FeedRow
from cozyd.errors import NotFound

GLOBAL = "global"
PAGE = 200


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something of the source that could not be brought in, or is not what it should be.

    :param kind: for programs: `damaged_line`, `missing_lines`, `missing_content`...
    :param name: what it is about.
    :param reason: for people.
    """

    kind: str
    name: str
    reason: str

    @property
    def step(self) -> Mapping[str, Any]:
        """As a line of progress."""
        return {"step": "trouble", "kind": self.kind, "name": self.name, "reason": self.reason}


class Source(Protocol):
    """The databases of a cozy-stack, read only."""

    def instances(self) -> Iterator[Doc | Trouble]:
        """The records of all instances, as replication sends them."""

    def doctypes(self, prefix: str) -> Sequence[str]:
        """The doctypes of an instance, sorted; none when it has no database."""

    def leaves(self, prefix: str, doctype: str) -> Iterator[Doc | Trouble]:
        """Every leaf revision as replication sends it: `_revisions`, `_deleted`, attachments with their contents."""

    def locals(self, prefix: str, doctype: str) -> Iterator[Doc]:
        """The `_local` documents."""


class StoreSource:
    """The databases of a running CouchDB, or of any other driver."""

    def __init__(self, backend: DocumentBackend) -> None:
        self._backend = backend

    def instances(self) -> Iterator[Doc | Trouble]:
        """See `Source.instances`.

        :raises NotFound: there is no database of instances.
        """
        records = self._backend.open(GLOBAL)
        for page in _pages(records, INSTANCES):
            live = {row.id: row.leaves[:1] for row in page if not row.deleted and not row.id.startswith("_design/")}
            yield from records.replicas(INSTANCES, live)

    def doctypes(self, prefix: str) -> Sequence[str]:
        """See `Source.doctypes`."""
        try:
            return self._backend.open(prefix).doctypes()
        except NotFound:
            return []

    def leaves(self, prefix: str, doctype: str) -> Iterator[Doc | Trouble]:
        """See `Source.leaves`."""
        store = self._backend.open(prefix)
        for page in _pages(store, doctype):
            yield from store.replicas(doctype, {row.id: row.leaves for row in page})

    def locals(self, prefix: str, doctype: str) -> Iterator[Doc]:
        """See `Source.locals`."""
        store = self._backend.open(prefix)
        for id in store.locals(doctype):
            found = store.local(doctype, id)
            if found is not None:
                yield found


def _pages(store: DocumentStore, doctype: str) -> Iterator[Sequence[FeedRow]]:
    since = ""
    while True:
        feed = store.changes(doctype, since=since, limit=PAGE)
        yield feed.rows
        if not feed.pending:
            return
        since = feed.last_seq
