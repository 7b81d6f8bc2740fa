"""`Reactions`: the jobs that a commit makes by itself, in the commit's own transaction (docs/jobs.md).

What runs here holds the writer's lock: nothing is read, nothing waits. The triggers are known from memory; when the store says that
they have changed since, the commit is undone, they are read again, and it is done anew.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from cozyd import jsons
from cozyd.documents.store import Batch, Change, Ref, Stale, Write
from cozyd.files.tree import write_time
from cozyd.jobs.events import DIFFERS, EventRule, texts_of
from cozyd.jobs.job import JOBS
from cozyd.jobs.trigger import PENDING, Trigger, id_of
from cozyd.permissions import CLOSED, FILES


class _Shelf:
    """The patterns for one doctype and verb, with their triggers, found by the values they name: hundreds cost what the few at hand do.

    :ivar by_id: those that name ids or folders.
    :ivar by_field: those that name values of a field, by the field.
    """

    __slots__ = ("by_field", "by_id", "others")

    def __init__(self) -> None:
        self.by_id: dict[str, list[_Line]] = {}
        self.by_field: dict[str, dict[str, list[_Line]]] = {}
        self.others: list[_Line] = []

    def add(self, rule: EventRule, trigger: Trigger) -> None:
        """Put a pattern here."""
        if not rule.values or rule.values == (DIFFERS,):
            self.others.append((rule, trigger))
            return
        table = self.by_id if rule.selector is None else self.by_field.setdefault(rule.selector, {})
        for value in rule.values:
            table.setdefault(value, []).append((rule, trigger))

    def matching(self, change: Change) -> Iterable[Trigger]:
        """The triggers that fire for a change, once each."""
        lines = list(self.others)
        for id in (change.new.ref.id, *change.about.get("above", ())) if self.by_id else ():
            lines += self.by_id.get(id, ())
        for selector, table in self.by_field.items():
            docs = [change.new.doc, *([change.old.doc] if change.old is not None else [])]
            lines += [line for doc in docs for text in texts_of(selector, doc) for line in table.get(text, ())]
        return {trigger.id: trigger for rule, trigger in lines if rule.matches(change)}.values()


_Line = tuple[EventRule, Trigger]


class Reactions:
    """One tenant's.

    :param tenant: `domain` and `prefix`.
    :param built_in: triggers that come with the workers.
    :param read: gives the tenant's own.
    :param atomic: whether the store can undo a commit; else triggers are read where they are needed.
    """

    def __init__(
        self,
        tenant: Mapping[str, str],
        built_in: Sequence[Trigger],
        read: Callable[[], Sequence[Trigger]],
        now: Callable[[], datetime],
        *,
        atomic: bool,
    ) -> None:
        self._tenant = tenant
        self._built_in = built_in
        self._read = read
        self._now = now
        self._atomic = atomic
        self._book: Mapping[tuple[str, str], _Shelf] = {}
        self.looks_above = not atomic
        """Whether a trigger may ask for folders: then changes have to say which ones files are in."""
        self.seq: str | None = None
        """The sequence of the triggers that are known."""

    def __call__(self, changes: Sequence[Change], seq: str) -> Batch:
        """See `React`.

        :raises Stale: the triggers have changed since they were read.
        """
        if not self._atomic:
            seq = seq.partition("-")[0]  # the rest of CouchDB's may differ for one state
        if seq != self.seq:
            if self._atomic:
                raise Stale(lambda: self._renew(seq))
            self._renew(seq)
        if not self._book:
            return ()
        told = [change for change in changes if change.seq and not change.new.ref.id.startswith("_design/")]  # an index is no data
        return [write for change in told for write in self._writes(change)]

    def _renew(self, seq: str) -> None:
        """Read the triggers, which are as they were at this seq, or newer."""
        book: dict[tuple[str, str], _Shelf] = {}
        for trigger in (*self._built_in, *self._read()):
            for rule in trigger.rules:
                for verb in rule.verbs:
                    book.setdefault((rule.doctype, verb), _Shelf()).add(rule, trigger)
        self.looks_above = not self._atomic or any(shelf.by_id for (doctype, _), shelf in book.items() if doctype == FILES)
        self._book, self.seq = book, seq

    def _writes(self, change: Change) -> Iterator[Write]:
        shelf = self._book.get((change.new.ref.doctype, change.verb))
        if shelf is None:
            return
        for trigger in shelf.matching(change):
            if not trigger.made(change.new):
                yield self._window(trigger) if trigger.debounce else self._job(trigger, change)

    def _window(self, trigger: Trigger) -> Write:
        """The first hit opens the window; it is there already for the others."""
        return Write(Ref(PENDING, trigger.id), body={"until": write_time(self._now() + trigger.debounce)})

    def _job(self, trigger: Trigger, change: Change) -> Write:
        """A job that exists already when the same change is told twice."""
        ref = change.new.ref
        body = trigger.job(event=event_of(change, self._tenant)).fields(self._tenant, self._now())
        return Write(Ref(JOBS, id_of(trigger.id, ref.doctype, ref.id, change.new.rev)), body=body)


def event_of(change: Change, tenant: Mapping[str, str]) -> bytes:
    """A change as a job's worker gets it; the documents go into it as the texts they are, but those that no app may read."""
    head = jsons.dump({**tenant, "verb": change.verb})
    ref = change.new.ref
    if ref.doctype in CLOSED:  # jobs may be read by whoever has them in her rules
        return head[:-1] + b',"doc":' + jsons.dump({"_id": ref.id, "_rev": change.new.rev}) + b"}"
    old = b"" if change.old is None else b',"old":' + change.old.render()
    return head[:-1] + b',"doc":' + change.new.render() + old + b"}"
