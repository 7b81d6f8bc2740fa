"""Redo notes: what a commit of several steps is going to do, written before its first step and removed after its last.

A note that is found is of a commit that was cut: its process died, or CouchDB went away. Its steps are done again; one that was
done already is known by the revision it grew from, which is no longer the document's.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cozyd import jsons
from cozyd.documents import edits
from cozyd.documents.couchdb import names
from cozyd.documents.couchdb.databases import Databases
from cozyd.documents.couchdb.reading import fields_of
from cozyd.documents.couchdb.rows import Rows
from cozyd.documents.couchdb.writing import Commit, Current, Step
from cozyd.documents.store import Change, Doc, Map, Ref, Stored, Write
from cozyd.errors import NotFound, Unavailable

PREFIX = "redo:"


def note_of(steps: Sequence[Step], grafted: Sequence[tuple[Ref, str | None]] = (), about: Map = MappingProxyType({})) -> Doc:
    """What a commit is going to do.

    :param grafted: documents whose new state is known by its not being the winner of before, which is named.
    :param about: what the changes of those are told with.
    """
    done = [
        _entry(step.ref, step.base, step.write.about)
        | {"deleted": step.write.deleted, "fields": step.fields}
        | ({"private": dict(step.write.private)} if step.write.private is not None else {})
        for step in steps
    ]
    merged = [_entry(ref, rev, about) for ref, rev in grafted]
    return {"_id": f"{PREFIX}{time.time_ns():016x}{secrets.token_hex(4)}", "steps": done, "grafted": merged}


def _entry(ref: Ref, base: str | None, about: Map) -> Doc:
    return {"doctype": ref.doctype, "id": ref.id, "base": base} | ({"about": dict(about)} if about else {})


class Notes:
    """A tenant's redo notes."""

    def __init__(self, databases: Databases, rows: Rows, lenient: frozenset[str]) -> None:
        self._databases = databases
        self._rows = rows
        self._lenient = lenient
        self._path = databases.own(names.PRIVATE)

    def write(self, note: Doc) -> None:
        """Write a note."""
        try:
            self._put(note)
        except NotFound:
            self._databases.make(self._path)
            self._put(note)

    def _put(self, note: Doc) -> None:
        note["_rev"] = self._databases.write(self._path, [note])[0]["rev"]

    def remove(self, notes: Sequence[Doc]) -> bool:
        """Their commit is done; False: CouchDB went away, and they are found later."""
        gone = [{"_id": note["_id"], "_rev": note["_rev"], "_deleted": True} for note in notes]
        try:
            if gone:
                self._databases.write(self._path, gone)
        except Unavailable:
            return False
        return True

    def found(self) -> Sequence[Doc]:
        """The notes that are there."""
        try:
            rows = self._databases.get(f"{self._path}/_all_docs", startkey=PREFIX, endkey="redo;", include_docs=True)["rows"]
        except NotFound:
            return []
        return [row["doc"] for row in rows]

    def restore(self, note: Doc) -> None:
        """Put back the leaves that a purge keeps."""
        for doctype, docs in note.get("kept", {}).items():
            if docs:
                self._databases.write(self._databases.path(doctype), docs, new_edits=False)

    def redo(self, note: Doc) -> Sequence[Change]:
        """Do what a note says and is not done yet; what its commit changed."""
        self.restore(note)
        commit = Commit(self._databases, self._rows, self._lenient)
        refs = [Ref(one["doctype"], one["id"]) for one in (*note["steps"], *note["grafted"])]
        known = commit.load(refs)
        open_steps = [_step(one, known) for one in note["steps"] if _is_open(one, known)]
        done = [_step(one, known) for one in note["steps"] if _is_done(one, known)]
        self._databases.set_privates({step.ref: step.write.private for step in done if step.write.private is not None})
        self._databases.set_privates({step.ref: None for step in done if step.write.deleted})
        changes = [answer for answer in commit.send(open_steps) if isinstance(answer, Change)] if open_steps else []
        after = commit.load(refs)
        for ref in refs:
            current = after.get(ref)
            self._rows.repair(ref, current.stored if current is not None else None)
        told = {change.new.ref for change in changes}
        merged = [one for one in note["grafted"] if not _is_open(one, known)]
        late = [self._late(one, after, commit.seq(one["doctype"])) for one in (*note["steps"], *merged)]
        return changes + [change for change in late if change is not None and change.new.ref not in told]

    def _late(self, one: Doc, after: Mapping[Ref, Current], seq: str) -> Change | None:
        """What a step that had been done changed: the document of before is read anew, while CouchDB keeps it."""
        ref = Ref(one["doctype"], one["id"])
        current = after.get(ref)
        if current is None or current.rev == one["base"]:
            return None
        new = current.stored or Stored(ref, current.rev, b"{}", deleted=True)
        old = self._before(ref, one["base"])
        change = edits.change_of(old, new, seq=seq, about=one.get("about", {}), bodied=bool(one.get("fields")))
        if one["base"] is None or old is not None or new.deleted:
            return change
        return Change("UPDATED", new, None, change.about, seq)

    def _before(self, ref: Ref, rev: str | None) -> Stored | None:
        """The live document of before; None also when CouchDB has tidied it away."""
        if rev is None:
            return None
        doc = self._databases.revisions(self._databases.path(ref.doctype), [(ref.id, rev)])[0]
        if doc is None or doc.get("_deleted"):
            return None
        return Stored(ref, rev, edits.text_of(ref, fields_of(doc)))


def _is_open(one: Doc, known: Mapping[Ref, Current]) -> bool:
    """Whether a step is not done: the document is as it was before."""
    current = known.get(Ref(one["doctype"], one["id"]))
    return current is None if one["base"] is None else current is not None and one["base"] in (current.rev, *current.conflicts)


def _is_done(one: Doc, known: Mapping[Ref, Current]) -> bool:
    """Whether a step is done and nobody wrote after it."""
    current = known.get(Ref(one["doctype"], one["id"]))
    if current is None or _is_open(one, known):
        return False
    if one["deleted"] or current.stored is None:
        return bool(one["deleted"]) and current.deleted
    return jsons.canonical(fields_of(current.stored.doc)) == jsons.canonical(one["fields"])


def _step(one: Doc, known: Mapping[Ref, Current]) -> Step:
    ref = Ref(one["doctype"], one["id"])
    write = Write(ref, body=one["fields"], rev=one["base"], deleted=one["deleted"], private=one.get("private"), about=one.get("about", {}))
    return Step(write, known.get(ref), one["base"], one["fields"])
