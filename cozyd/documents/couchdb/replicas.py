"""`Graft`: writes that replicas make (`new_edits=false`): their revisions are merged as they are."""

from collections.abc import Mapping, Sequence

from cozyd.documents import attachments, edits, revtree
from cozyd.documents.attachments import MEMBER
from cozyd.documents.couchdb import lines
from cozyd.documents.couchdb.databases import Databases, refusal
from cozyd.documents.couchdb.rows import Rows
from cozyd.documents.couchdb.writing import Commit, Current
from cozyd.documents.store import Change, Doc, Map, Ref, Stored
from cozyd.errors import CozyError, NotFound, PreconditionFailed


class Graft:
    """One graft into a doctype.

    :param commit: reads and writes of the commit it belongs to.
    """

    def __init__(self, databases: Databases, rows: Rows, commit: Commit, doctype: str) -> None:
        self._databases = databases
        self._rows = rows
        self._commit = commit
        self._doctype = doctype
        self._given: list[Doc | CozyError] = []
        self._before: Mapping[Ref, Current] = {}
        self._new: set[tuple[str, str]] = set()

    def prepare(self, docs: Sequence[Doc]) -> Sequence[tuple[Ref, str | None]]:
        """Read what is there; answers the documents that will change, with their winners."""
        self._given = [self._attempt(doc) for doc in docs]
        sound = [doc for doc in self._given if isinstance(doc, dict)]
        self._before = self._commit.load([Ref(self._doctype, doc["_id"]) for doc in sound])
        asked: dict[str, list[str]] = {}
        for doc in sound:
            asked.setdefault(doc["_id"], []).append(doc["_rev"])
        missing = self._databases.post(self._databases.path(self._doctype, "_revs_diff"), asked) if asked else {}
        self._new = {(id, rev) for id, found in missing.items() for rev in found["missing"]}
        refs = dict.fromkeys(Ref(self._doctype, id) for id, _ in sorted(self._new))
        return [(ref, self._before[ref].rev if ref in self._before else None) for ref in refs]

    def send(self, private: Mapping[str, Map]) -> Sequence[Change | CozyError | None]:
        """Write; answers as `DocumentStore.graft`."""
        sound = [doc for doc in self._given if isinstance(doc, dict)]
        path = self._databases.path(self._doctype)
        refused = self._merge(path, sound) if sound else {}
        refs = list(dict.fromkeys(Ref(self._doctype, id) for id, _ in sorted(self._new)))
        after = self._commit.load(refs)
        self._write_privates(refs, after, private)
        seq = self._commit.seq(self._doctype)
        self._write_rows(refs, after)
        told: set[tuple[str, str]] = set()
        return [self._answer(doc, refused, after, seq, told) if isinstance(doc, dict) else doc for doc in self._given]

    def _merge(self, path: str, docs: Sequence[Doc]) -> Mapping[str, CozyError]:
        """Have CouchDB merge revisions; why it refused some. A stub of what is not here refuses all that come with it: then one by one."""
        try:
            rows = self._databases.write(path, docs, new_edits=False)
        except PreconditionFailed as error:
            if len(docs) == 1:
                return {docs[0]["_id"]: error}
            return {id: refused for doc in docs for id, refused in self._merge(path, [doc]).items()}
        return {row["id"]: refusal(row) for row in rows if "error" in row}

    def _attempt(self, doc: Doc) -> Doc | CozyError:
        """A replica's revision as it is sent: its path is `_rev` and `_revisions` in one."""
        try:
            id = edits.check_id(doc.get("_id"))
            path = revtree.given_path(doc)
            fields = edits.clean(doc)
            edits.text_of(Ref(self._doctype, id), fields)
            if doc.get(MEMBER):
                attachments.check(doc[MEMBER])
        except CozyError as error:
            return error
        revisions = {"start": revtree.generation(path[0]), "ids": [rev.partition("-")[2] for rev in path]}
        head: Doc = {"_id": id, "_rev": path[0], "_revisions": revisions}
        if doc.get("_deleted") is True:
            head["_deleted"] = True
        return head | fields | ({MEMBER: doc[MEMBER]} if doc.get(MEMBER) else {})

    def _write_privates(self, refs: Sequence[Ref], after: Mapping[Ref, Current], private: Mapping[str, Map]) -> None:
        wanted: dict[Ref, Map | None] = {ref: private[ref.id] for ref in refs if ref.id in private}
        wanted |= {ref: None for ref in refs if ref in after and after[ref].deleted}
        self._databases.set_privates(wanted)

    def _write_rows(self, refs: Sequence[Ref], after: Mapping[Ref, Current]) -> None:
        projections = self._rows.kept(self._doctype)
        if not projections:
            return
        self._rows.build([self._doctype])
        moves = [lines.move_of(projections, ref, _live(self._before.get(ref)), _live(after.get(ref)), strict=False) for ref in refs]
        self._commit.write_moves(moves)

    def _answer(
        self, doc: Doc, refused: Mapping[str, CozyError], after: Mapping[Ref, Current], seq: str, told: set[tuple[str, str]]
    ) -> Change | CozyError | None:
        ref, at = Ref(self._doctype, doc["_id"]), (doc["_id"], doc["_rev"])
        if ref.id in refused:
            return refused[ref.id]
        if at not in self._new or at in told:
            return None
        told.add(at)
        current = after.get(ref)
        if current is None:
            return NotFound("missing")
        new = current.stored or Stored(ref, current.rev, self._tombstone(current.rev, doc), deleted=True)
        return edits.change_of(_live(self._before.get(ref)), new, seq=seq, about={}, bodied=True)

    @staticmethod
    def _tombstone(rev: str, doc: Doc) -> bytes:
        """The body of a winning deletion, when it is the one that was given."""
        return edits.text_of(Ref("", ""), edits.clean(doc)) if doc["_rev"] == rev else b"{}"


def _live(current: Current | None) -> Stored | None:
    return current.stored if current is not None else None
