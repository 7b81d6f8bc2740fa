"""`DocumentStore` port and its values: how a tenant's documents are kept, whatever the driver.

The promises of each method stand in its docstring and are held by `tests/contracts/document_store.py` over every
driver. All methods are synchronous, thread-safe and bound to one tenant. On the wire: docs/http/data.md.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from cozyd import jsons
from cozyd.errors import CozyError

Doc = dict[str, Any]
"""A parsed document, `_id` and `_rev` included."""
Key = tuple[Any, ...]
"""JSON values, compared in CouchDB's order (`collation.py`)."""
Map = Mapping[str, Any]
LARGEST_DOCUMENT = 8_000_000
"""Bytes of a document's text, CouchDB's own limit: `TooLarge` beyond it."""
Verb = Literal["CREATED", "UPDATED", "DELETED", "NOTIFIED"]


class Ref(NamedTuple):
    """Where a document is: doctype and `_id`. A tuple, as many are made and hashed."""

    doctype: str
    id: str


class Stored:
    """One revision as a store gives it; nothing is parsed until somebody looks.

    :param text: the JSON object without `_id`, `_rev`, `_deleted`; compact, UTF-8.
    :param private: the private data as JSON text, empty when there is none; only rooms see it.
    """

    __slots__ = ("_doc", "_private", "_private_text", "deleted", "ref", "rev", "text")

    def __init__(self, ref: Ref, rev: str, text: bytes, *, deleted: bool = False, private: bytes | None = None) -> None:
        self.ref = ref
        self.rev = rev
        self.deleted = deleted
        self.text = text
        self._private_text = private
        self._doc: Doc | None = None
        self._private: Map | None = None

    @property
    def doc(self) -> Doc:
        """The parsed document with `_id` and `_rev` (and `_deleted` of a tombstone). Not to be changed by callers."""
        if self._doc is None:
            head: Doc = {"_id": self.ref.id, "_rev": self.rev}
            if self.deleted:
                head["_deleted"] = True
            self._doc = head | jsons.load_object(self.text)
        return self._doc

    @property
    def private(self) -> Map:
        """The document's private data, empty when it has none. Not to be changed by callers."""
        if self._private is None:
            self._private = jsons.load_object(self._private_text) if self._private_text else {}
        return self._private

    @property
    def private_text(self) -> bytes | None:
        """The private data as JSON text, None when there is none: for stores."""
        return self._private_text or None

    def render(self, **extra: Any) -> bytes:
        """The JSON text a client gets: `_id`, `_rev`, `_deleted` and `extra` spliced in front of the fields."""
        if not extra and not self.deleted:  # by the thousand in lists
            head = b'{"_id":%b,"_rev":%b' % (jsons.dump(self.ref.id), jsons.dump(self.rev))
            return head + (b"}" if self.text == b"{}" else b"," + self.text[1:])
        fields: dict[str, Any] = {"_id": self.ref.id, "_rev": self.rev}
        if self.deleted:
            fields["_deleted"] = True
        return jsons.splice(self.text, fields | extra)

    def __repr__(self) -> str:
        return f"Stored({self.ref.doctype}/{self.ref.id}@{self.rev}{' deleted' if self.deleted else ''})"


@dataclass(frozen=True, slots=True)
class Write:
    """One document's change in a batch; exactly one of `body`, `patch`, `deleted` says what (a tombstone may have a body).

    :param body: the whole new document; `_id`, `_rev` and other underscored names in it are ignored.
    :param rev: the revision it replaces; None: the document must be absent or deleted.
    :param patch: replaces these top-level fields (`...` removes one), the rest of the text stays.
    :param private: the document's new private data; None keeps what is there.
    :param about: travels to the `Change`, never stored; Files: {"above": ids of all ancestors, old and new}.
    :param strict: a taken unique row is a Conflict even where the doctype is lenient.
    """

    ref: Ref
    body: Doc | bytes | None = None
    rev: str | None = None
    patch: Map | None = None
    deleted: bool = False
    private: Map | None = None
    about: Map = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What one write did. The realtime event, the trigger's and the indexer's input are this same value.

    :param new: the new state; of a deletion: the last fields under the new revision.
    :param seq: empty for a made-up event (thumbnail made, NOTIFIED): told, never stored, no trigger.
    :param leaf: the revision that was written, where another branch wins: `new` is the winner then.
    :param patched: the top-level fields that were patched, where only they can differ; None: any may.
    """

    verb: Verb
    new: Stored
    old: Stored | None = None
    about: Map = field(default_factory=dict)
    seq: str = ""
    leaf: Stored | None = None
    patched: Collection[str] | None = None

    @property
    def made(self) -> Stored:
        """The revision that the write made: what its author is answered."""
        return self.leaf or self.new


@dataclass(slots=True)
class ContentEdits:
    """What a commit does with small contents of files, beside its documents (docs/storage.md).

    :param put: key -> bytes. :param copied: new key -> the key it has the bytes of. :param removed: keys; absent ones are fine.
    """

    put: dict[str, bytes] = field(default_factory=dict)
    copied: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


RowCount = tuple[str, Key, int]
"""How many rows a projection has under a key prefix."""
TotalLimit = tuple[Sequence[str], int]
"""Projections, and what the values of all their rows together may add up to."""
Batch = Sequence[Write]
React = Callable[[Sequence[Change], str], Batch]
"""Pure: the changes of a commit and the last seq of io.cozy.triggers in the same snapshot -> writes of the same commit."""


class Stale(Exception):
    """Raised by a reaction that knows less than the store: the commit is undone, and done anew behind `renew`."""

    def __init__(self, renew: Callable[[], None]) -> None:
        super().__init__("a reaction has to read again")
        self.renew = renew


@dataclass(frozen=True, slots=True)
class Projection:
    """A pure function Doc -> rows, kept in the document's own commit.

    :param of: doctype -> pure function from a live document to its (key, JSON value) pairs.
    :param reads: top-level fields it looks at; a patch of others leaves its rows alone. Empty: it may look anywhere.
    :param reduce: what `Total.sum` adds up: nothing (`count`), or the rows' values (`sum`).
    :param depth: totals are kept for () and each key prefix up to this length.
    :param unique: keyed by exact bytes; the same key twice is a Conflict.
    :param feed: rows carry the seq of their last change, and gone ones stay.
    :param view: the same function for CouchDB, in its JavaScript; empty where none can be: of a feed, of private data.
    :param scalar: the view's keys are the one value itself, not an array of it.
    """

    name: str
    of: Mapping[str, Callable[[Stored], Iterable[tuple[Key, Any]]]]
    reads: frozenset[str] = frozenset()
    reduce: Literal["count", "sum"] = "count"
    depth: int = 1
    unique: bool = False
    feed: bool = False
    view: str = ""
    scalar: bool = False


class Row(NamedTuple):
    """One row of a projection; `seq` and `gone` only of a feed. A gone row whose doctype was dropped has no doctype and rev.

    A tuple, as listings make them by the thousand. `stored` is its document, where the reader asked for documents.
    """

    key: Key
    ref: Ref
    rev: str
    value: Any = None
    seq: str = ""
    gone: bool = False
    stored: Stored | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """A projection's rows under a prefix, counted and summed; a feed's seq moves exactly when such a row does."""

    count: int
    sum: int
    seq: str


@dataclass(frozen=True, slots=True)
class Query:
    """A Mango query (CouchDB's `_find`).

    :param fields: what the client wants to see; the door cuts, a driver may send less.
    :param index: design document, and name in it.
    """

    selector: Map
    sort: Sequence[tuple[str, Literal["asc", "desc"]]] = ()
    fields: Sequence[str] | None = None
    limit: int = 100
    skip: int = 0
    bookmark: str | None = None
    index: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list. `total` where the store knows it without counting."""

    rows: Sequence[Stored]
    bookmark: str | None = None
    total: int | None = None
    warning: str | None = None
    stats: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One document in the change feed, at its last change; `leaves` starts with the winner."""

    id: str
    seq: str
    leaves: Sequence[str]
    deleted: bool = False
    stored: Stored | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """Rows of the change feed and where to go on from."""

    rows: Sequence[FeedRow]
    last_seq: str
    pending: int


@dataclass(frozen=True, slots=True)
class Info:
    """Figures of one doctype; `size` in bytes."""

    count: int
    deleted: int
    seq: str
    size: int


class RevTree(Protocol):
    """A document's revision tree, a pure value of `revtree.py`."""

    @property
    def winner(self) -> str:
        """The winning leaf."""

    @property
    def conflicts(self) -> Sequence[str]:
        """Live leaves that lost, best first."""

    def path(self, rev: str) -> Sequence[str]:
        """From `rev` back to its oldest kept ancestor."""


class DocumentStore(Protocol):
    """The documents of one tenant."""

    atomic: ClassVar[bool]
    """A batch is all or nothing; tests skip by this flag only, and say so."""

    def get(self, ref: Ref, rev: str | None = None) -> Stored:
        """The winner, or the named revision while its body is kept.

        :raises NotFound: `missing` or `deleted`; `Database does not exist.` when the doctype was never made.
        """

    def get_many(self, doctype: str, ids: Sequence[str], *, deleted: bool = False) -> Sequence[Stored | None]:
        """Winners in the order and length of `ids`; None for what is absent (or deleted, unless asked)."""

    def all(
        self,
        doctype: str,
        *,
        start: str = "",
        end: str | None = None,
        limit: int | None = None,
        skip: int = 0,
        descending: bool = False,
        docs: bool = True,
    ) -> Page:
        """Live documents with start <= id <= end (descending: start >= id >= end), ids in byte order.

        Without `docs` rows have the text `{}`. `total` is the number of live documents of the doctype.
        :raises NotFound: the doctype was never made.
        """

    def find(self, doctype: str, query: Query) -> Page:
        """Documents a Mango selector matches. A warning, not an error, when no index serves.

        :raises BadRequest: selector, sort or bookmark is malformed; no index for the sort.
        :raises NotFound: the doctype was never made.
        """

    def rows(
        self,
        projection: str,
        prefix: Key = (),
        *,
        start: Key | None = None,
        end: Key | None = None,
        after: tuple[Key, str] | None = None,
        since: str | None = None,
        skip: int = 0,
        limit: int | None = None,
        descending: bool = False,
        sieve: Sequence[str] = (),
        docs: bool = False,
    ) -> Sequence[Row]:
        """Rows of a projection whose key starts with `prefix`, by key then id.

        :param start: keys from this one on (inclusive), whole keys; `end` likewise the last.
        :param after: `[key, docid]` cursor: rows strictly behind it.
        :param since: of a feed: rows changed after this seq, gone ones included, each key once, by seq.
        :param sieve: lower-case ASCII texts without quotes and backslashes. A row may be left out when its value's JSON is ASCII and
            has none of them in it, compared without case; no other may. A driver may let all through.
        :param docs: have each row that is not gone bring its document.
        :raises SeqGone: `since` is of a lost future.
        """

    def total(self, projection: str, prefix: Key = ()) -> Total:
        """Count, sum and seq of the rows under a prefix no longer than the projection's depth: one read."""

    def changes(
        self,
        doctype: str,
        *,
        since: str = "",
        limit: int | None = None,
        descending: bool = False,
        docs: bool = False,
        ids: Iterable[str] | None = None,
        match: Callable[[Doc], bool] | None = None,
    ) -> Feed:
        """Each document once, at its last change, all leaves named.

        A `since` the store cannot know rewinds to the beginning, as CouchDB's does; `now` gives the last seq alone.
        :raises BadRequest: `since` is not of a seq's form.
        :raises NotFound: the doctype was never made.
        """

    holds_contents: ClassVar[bool]
    """Small contents of files can lie beside the documents, written in the commit of the documents that name them."""

    def content(self, key: str) -> bytes | None:
        """A small content, None where there is none."""

    def contents(self) -> Iterator[tuple[str, int, datetime]]:
        """Key, size and time of every small content."""

    def commit(
        self,
        batch: Batch,
        react: React | None = None,
        *,
        while_at: Sequence[tuple[Ref, str]] = (),
        while_counts: Sequence[RowCount] = (),
        while_totals: Sequence[TotalLimit] = (),
        contents: ContentEdits | None = None,
    ) -> Sequence[Change]:
        """Write a batch: all or nothing where the driver can. Doctypes are made on their first write.

        `react` is called once with all changes; its writes belong to the same commit, and its changes end the answer. Raises it
        `Stale`, an atomic store has written nothing.
        :param while_at: documents only read, which must still have these revisions.
        :param while_counts: what was counted, and must still be so (else `Counted`): nothing came there or went. Only where the driver is
            `atomic`.
        :param while_totals: what must not add up to more once this is written (else `QuotaExceeded`), whoever writes at the same time.
            Only where the driver is `atomic`.
        :param contents: belongs to the commit; only where the driver `holds_contents`.
        :raises Conflict: `refs` lists every stale one, `done` what was written (empty when atomic).
        :raises Invalid, BadRequest, TooLarge: a body that cannot be stored.
        :raises StorageFull, Unavailable: nothing was written.
        """

    def commit_each(self, batch: Batch, react: React | None = None) -> Sequence[Change | CozyError]:
        """As `commit`, but each write stands alone; answers in the order of the batch."""

    def graft(
        self, doctype: str, docs: Sequence[Doc], react: React | None = None, *, private: Mapping[str, Map] | None = None
    ) -> Sequence[Change | CozyError | None]:
        """Replication writes (`new_edits=false`): merge branches; never Conflict.

        :param docs: bodies with `_id`, `_rev`, and `_revisions`, `_deleted` where they have some.
        :param private: private data by id, of documents that come from another store; others keep theirs.
        :returns: in the order of `docs`; None: the revision was known.
        """

    @property
    def shared(self) -> bool:
        """Whether other processes write here too: then nothing that was read may be kept in memory."""

    def listen(self, tell: Callable[[Sequence[Change]], None], forget: Callable[[], None] = lambda: None) -> None:
        """Have the changes of each commit told once it is durable, commit by commit, in the order of their seqs.

        Only the commits of this process: the hub tells those of the others.

        :param tell: never raises, never blocks.
        :param forget: called when documents changed in a way nobody tells: dropped, purged, or written by another process.
        """

    def tree(self, ref: Ref) -> RevTree:
        """The revision tree.

        :raises NotFound: no such document, not even deleted.
        """

    def leaves(self, ref: Ref, revs: Sequence[str] | Literal["all"] = "all", *, latest: bool = False) -> Sequence[Stored]:
        """The leaves, or the named revisions that are kept; `latest`: the leaves they grew into."""

    def replicas(self, doctype: str, revs: Mapping[str, Sequence[str]]) -> Sequence[Doc]:
        """Revisions as replication sends them: with `_revisions`, `_deleted`, and attachments with their contents.

        :param revs: revisions by id; those whose body is not kept are left out.
        """

    def missing_revs(self, doctype: str, revs: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[Sequence[str], Sequence[str]]]:
        """For each id that lacks some: the missing revisions, and possible ancestors."""

    def local(self, doctype: str, id: str) -> Doc | None:
        """A `_local` document (id without `_local/`), with `_id` and `_rev`."""

    def locals(self, doctype: str) -> Sequence[str]:
        """The ids of the `_local` documents, without `_local/`, sorted."""

    def set_local(self, doctype: str, id: str, body: Doc) -> str:
        """Write a `_local` document, whatever is there; answers its revision: `0-1`, or one more than the `_rev` of the body.

        :raises Malformed: `_rev` has another form.
        """

    def info(self, doctype: str) -> Info:
        """Figures of a doctype.

        :raises NotFound: it was never made.
        """

    def doctypes(self) -> Sequence[str]:
        """The doctypes that were made, sorted."""

    def make(self, doctype: str) -> bool:
        """Make a doctype; False: it was there."""

    def drop(self, doctype: str) -> None:
        """Delete a doctype with all its documents, rows and feed.

        :raises NotFound: it was never made.
        """

    def purge(self, doctype: str, revs: Mapping[str, Sequence[str]]) -> None:
        """Forget leaves entirely, as CouchDB's `_purge`; the next best leaf wins, or the document is gone."""

    def check(self) -> Iterator[str]:
        """Findings about the tenant's data, one sentence each; none when all is well."""

    def tidy(self) -> None:
        """Upkeep that may take a while: statistics, free pages, unique rows that were left out and are free again, wrong totals."""


class DocumentBackend(Protocol):
    """All tenants of one driver; made by the stack with the table of projections."""

    def open(self, tenant: str) -> DocumentStore:
        """The store of a tenant: `Instance.prefix`, or `global`, the stack's own.

        :raises NotFound: no such tenant.
        """

    def create(self, tenant: str) -> DocumentStore:
        """Make an empty tenant.

        :raises Conflict: it exists.
        """

    def destroy(self, tenant: str) -> None:
        """Remove every byte of a tenant; an absent one is fine."""

    def tenants(self) -> Iterator[str]:
        """The names of all tenants."""

    def backup(self, tenant: str, path: str) -> None:
        """Write a consistent copy of a tenant to a new file, while others write.

        :raises Conflict: there is a file already.
        :raises StorageFull, Unavailable: it cannot be written there; nothing is left of it.
        """

    def restore(self, tenant: str, path: str) -> None:
        """Put a backup in the tenant's place, or make the tenant of it; begins a new epoch. Stores that were opened see it at once.

        :raises Invalid: it is no whole backup of this driver; nothing is changed.
        """

    def ping(self) -> None:
        """:raises Unavailable: the driver's service does not answer."""

    def close(self) -> None:
        """Give back every connection."""
