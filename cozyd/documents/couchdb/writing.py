"""`Commit`: the steps of one commit, under the tenant's lock.

CouchDB knows no transaction over documents, so a commit of more than one step notes first what it is going to do. Whoever opens
the tenant after a crash does what a note says and is not done yet (`redo.py`); doing a step twice changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cozyd import jsons
from cozyd.documents import attachments, edits
from cozyd.documents.attachments import MEMBER
from cozyd.documents.couchdb import lines
from cozyd.documents.couchdb.databases import Answer, Databases, refusal
from cozyd.documents.couchdb.reading import CouchStored, Privates, fields_of, stored_of
from cozyd.documents.couchdb.rows import Rows
from cozyd.documents.store import Change, Doc, Map, Ref, Stored, Write
from cozyd.errors import Conflict, CozyError, NotFound


@dataclass(slots=True)
class Current:
    """A document before a write; `rev` of a deletion too, `stored` only of a live one."""

    rev: str
    deleted: bool
    conflicts: Sequence[str] = ()
    stored: Stored | None = None


@dataclass(slots=True)
class Step:
    """One write of a batch, ready to be sent.

    :param base: the revision it grows from.
    :param fields: the new body.
    """

    write: Write
    current: Current | None
    base: str | None
    fields: Doc

    @property
    def ref(self) -> Ref:
        """Which document."""
        return self.write.ref

    def sent(self) -> Doc:
        """The document as it is sent."""
        head: Doc = {"_id": self.ref.id}
        revived = self.current is not None and self.current.deleted and self.base == self.current.rev
        if self.base is not None and not revived:  # CouchDB grows a tombstone only when it isn't named
            head["_rev"] = self.base
        if self.write.deleted:
            head["_deleted"] = True
        return head | self.fields


class Commit:
    """The writes of one commit.

    :param lenient: doctypes where a taken unique row is left out.
    """

    def __init__(self, databases: Databases, rows: Rows, lenient: frozenset[str]) -> None:
        self._databases = databases
        self._rows = rows
        self._lenient = lenient

    # -- reading ----------------------------------------------------------------------------------------------------

    def load(self, refs: Sequence[Ref]) -> Mapping[Ref, Current]:
        """What is there of some documents."""
        found: dict[Ref, Current] = {}
        privates = Privates(self._databases.privates)
        for doctype, ids in by_doctype(refs).items():
            for row in self._databases.winners(self._databases.path(doctype), ids, include_docs=True, conflicts=True):
                if "value" in row:
                    found[Ref(doctype, row["id"])] = _current(doctype, row, privates)
        return found

    def plan(self, batch: Sequence[Write]) -> Sequence[Step | CozyError]:
        """Each write with the revision it grows from and its new body, or why it cannot be made."""
        known = self.load([write.ref for write in batch])
        return [self._attempt(write, known.get(write.ref)) for write in batch]

    def _attempt(self, write: Write, current: Current | None) -> Step | CozyError:
        try:
            edits.check_id(write.ref.id)
            base = _base(write, current)
            step = Step(write, current, base, self._fields(write, current, base))
            edits.text_of(write.ref, step.fields)
        except CozyError as error:
            return error
        return step

    def _fields(self, write: Write, current: Current | None, base: str | None) -> Doc:
        old = self._body(write, current, base)
        kept = {MEMBER: old[MEMBER]} if MEMBER in old and not write.deleted else {}
        if write.patch is not None:
            return edits.clean(edits.patched(old, write.patch)) | kept
        if write.body is None:
            return {}
        body = jsons.load_object(write.body) if isinstance(write.body, bytes) else write.body
        if body.get(MEMBER):
            attachments.check(body[MEMBER], kept.get(MEMBER, {}))
            kept = {MEMBER: body[MEMBER]}
        return edits.clean(body) | kept

    def _body(self, write: Write, current: Current | None, base: str | None) -> Doc:
        """The fields an edit grows from."""
        if current is None or base is None or current.stored is None:
            return {}
        if base == current.rev:
            return jsons.load_object(current.stored.text)
        found = self._databases.revisions(self._databases.path(write.ref.doctype), [(write.ref.id, base)])[0]
        return fields_of(found) if found is not None else {}

    # -- writing ----------------------------------------------------------------------------------------------------

    def check_rows(self, steps: Sequence[Step]) -> Sequence[Conflict | None]:
        """Which writes are refused because a unique row is taken."""
        moves = [self._move(step, _new(step, "")) for step in steps]
        ledger = self._rows.ledger(moves) if any(move.old or move.new for move in moves) else lines.Ledger({})
        answers: list[Conflict | None] = []
        batch = {step.ref: _new(step, "") for step in steps}
        earlier: list[Stored] = []
        for step, move in zip(steps, moves, strict=True):
            try:
                if not step.write.deleted and self._is_strict(step.write):
                    self._rows.check_views(_old(step), batch[step.ref], batch, earlier)
                ledger.apply(move)
                earlier.append(batch[step.ref])
                answers.append(None)
            except Conflict as conflict:
                answers.append(conflict)
        return answers

    def send(self, steps: Sequence[Step]) -> Sequence[Change | CozyError]:
        """Write documents, then their private data and rows; what each write did."""
        results: dict[int, Answer] = {}
        for doctype, numbers in _numbered(steps).items():
            path = self._databases.path(doctype)
            docs = [steps[number].sent() for number in numbers]
            try:
                rows = self._databases.write(path, docs)
            except NotFound:
                self._databases.make_doctype(doctype)
                rows = self._databases.write(path, docs)
            results |= dict(zip(numbers, rows, strict=True))
        answers = [self._answer(step, results[number]) for number, step in enumerate(steps)]
        return self._finish(steps, answers)

    def _answer(self, step: Step, row: Answer) -> Stored | CozyError:
        if "error" in row:
            return Conflict(refs=[step.ref]) if row["error"] == "conflict" else refusal(row)
        return _new(step, row["rev"])

    def _finish(self, steps: Sequence[Step], answers: Sequence[Stored | CozyError]) -> Sequence[Change | CozyError]:
        done = [(step, answer) for step, answer in zip(steps, answers, strict=True) if isinstance(answer, Stored)]
        self._write_privates([step for step, _ in done])
        branched = [step.ref for step, _ in done if step.current is not None and (step.current.conflicts or step.base != step.current.rev)]
        winners = self.load(branched) if branched else {}
        seqs = {doctype: self.seq(doctype) for doctype in {step.ref.doctype for step, _ in done}}
        changes = iter([_change(step, made, winners.get(step.ref), seqs[step.ref.doctype]) for step, made in done])
        found = [next(changes) if isinstance(answer, Stored) else answer for answer in answers]
        self._write_rows([(step, change) for step, change in zip(steps, found, strict=True) if isinstance(change, Change)])
        return found

    def _write_privates(self, steps: Sequence[Step]) -> None:
        wanted: dict[Ref, Map | None] = {}
        for step in steps:
            if step.write.deleted and step.current is not None and not step.current.conflicts:
                wanted[step.ref] = None
            elif step.write.private is not None and not step.write.deleted:
                wanted[step.ref] = step.write.private
        for old in (_old(step) for step in steps if step.ref in wanted):
            if old is not None and not old.deleted:
                self._rows_before(old)
        self._databases.set_privates(wanted)

    @staticmethod
    def _rows_before(old: Stored) -> None:
        """Have the private data of before read while it is there: the rows that go were made from it."""
        _ = old.private

    def _write_rows(self, done: Sequence[tuple[Step, Change]]) -> None:
        moves = []
        for step, change in done:
            live = None if change.verb == "DELETED" else change.new
            moves.append(lines.move_of(self._rows.kept(step.ref.doctype), step.ref, _old(step), live, strict=False))
        self.write_moves(moves)

    def write_moves(self, moves: Sequence[lines.Move]) -> None:
        """Write what moves in the rows."""
        if any(move.old or move.new for move in moves):
            ledger = self._rows.ledger(moves)
            for move in moves:
                ledger.apply(move)
            self._rows.write(ledger)

    def _move(self, step: Step, new: Stored) -> lines.Move:
        projections = self._rows.kept(step.ref.doctype)
        if projections:
            self._rows.build([step.ref.doctype])
        live = None if step.write.deleted else new
        return lines.move_of(projections, step.ref, _old(step), live, strict=self._is_strict(step.write))

    def _is_strict(self, write: Write) -> bool:
        return write.strict or write.ref.doctype not in self._lenient

    def seq(self, doctype: str) -> str:
        """The last seq of a doctype; `0` when there is none."""
        try:
            found: str = self._databases.get(self._databases.path(doctype))["update_seq"]
        except NotFound:
            return "0"
        return found


def by_doctype(refs: Sequence[Ref]) -> Mapping[str, list[str]]:
    """Ids by doctype, once each."""
    found: dict[str, dict[str, None]] = {}
    for ref in refs:
        found.setdefault(ref.doctype, {})[ref.id] = None
    return {doctype: list(ids) for doctype, ids in found.items()}


def _numbered(steps: Sequence[Step]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, step in enumerate(steps):
        found.setdefault(step.ref.doctype, []).append(number)
    return found


def _current(doctype: str, row: Answer, privates: Privates) -> Current:
    value, doc = row["value"], row.get("doc")
    if value.get("deleted") or doc is None:
        return Current(value["rev"], True)
    return Current(value["rev"], False, doc.get("_conflicts", ()), stored_of(doctype, doc, privates))


def _base(write: Write, current: Current | None) -> str | None:
    """The revision an edit grows from.

    :raises Conflict: see `Write.rev`.
    """
    if current is None:
        if write.rev is not None or (write.deleted and write.body is None):
            raise Conflict(refs=[write.ref])
        return None
    if write.rev is None:
        if not current.deleted:
            raise Conflict(refs=[write.ref])
        return current.rev
    if write.rev == current.rev or write.rev in current.conflicts:
        return write.rev
    raise Conflict(refs=[write.ref])


def _old(step: Step) -> Stored | None:
    return step.current.stored if step.current is not None else None


def _new(step: Step, rev: str) -> Stored:
    """The revision that a write makes, with the private data that the document has after it."""
    write, old = step.write, _old(step)

    def private(_: Sequence[Ref]) -> Mapping[Ref, Map]:
        kept = old.private if old is not None else {}
        return {write.ref: kept if write.private is None else write.private}

    return CouchStored(write.ref, rev, jsons.dump(step.fields), Privates(private), deleted=write.deleted)


def _change(step: Step, made: Stored, winner: Current | None, seq: str) -> Change:
    """What a write did; where another branch wins, that one is the new state."""
    old, about, bodied = _old(step), step.write.about, step.write.body is not None
    if winner is None or winner.rev == made.rev:
        return edits.change_of(old, made, seq=seq, about=about, bodied=bodied)
    new = winner.stored if winner.stored is not None else made
    change = edits.change_of(old, new, seq=seq, about=about, bodied=bodied)
    return Change(change.verb, change.new, change.old, about, seq, made)
