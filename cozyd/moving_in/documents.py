"""An instance's documents: copied revision by revision, then compared."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from cozyd import doctypes
from cozyd.documents.revtree import given_path
from cozyd.documents.store import Doc, DocumentStore
from cozyd.documents.transfer import digest_of
from cozyd.errors import CozyError
from cozyd.files.tree import VERSIONS
from cozyd.moving_in.contents import Content
from cozyd.moving_in.sources import Source, Trouble
from cozyd.moving_in.tree import Tree
from cozyd.permissions import FILES
from cozyd.pim import groups
from cozyd.pim.record import CONTACTS, GROUPS

BATCH = 200
MADE = frozenset(f"_design/{one.name}" for one in doctypes.PROJECTIONS if one.view)
"""Design documents that our CouchDB driver makes where they are missing: no part of what comes in."""
Step = Mapping[str, Any]


class Documents:
    """One instance's.

    :param target: None: only look.
    """

    def __init__(self, source: Source, prefix: str, target: DocumentStore | None) -> None:
        self._source = source
        self._prefix = prefix
        self._target = target
        self._tree = Tree()
        self.counts = {"doctypes": 0, "documents": 0, "deleted": 0, "revisions": 0, "locals": 0}

    @property
    def files(self) -> Sequence[Content]:
        """What the documents that were read say about contents."""
        return self._tree.contents()

    def copy(self) -> Iterator[Step]:
        """Bring in every leaf that is not here yet; what cannot be is told."""
        if self._target is not None:
            for doctype in (FILES, VERSIONS):  # no file system is without them
                self._target.make(doctype)
        for doctype in self._source.doctypes(self._prefix):
            self.counts["doctypes"] += 1
            if self._target is not None:
                self._target.make(doctype)
            seen: dict[str, bool] = {}
            for docs, troubles in self._batches(doctype):
                yield from (trouble.step for trouble in troubles)
                self._note(doctype, docs, seen)
                yield from (trouble.step for trouble in self._graft(doctype, docs))
                yield {"step": "documents", "doctype": doctype, "done": len(seen)}
            self.counts["documents"] += sum(seen.values())
            self.counts["deleted"] += len(seen) - sum(seen.values())
            self._copy_locals(doctype)

    def _note(self, doctype: str, docs: Sequence[Doc], seen: dict[str, bool]) -> None:
        for doc in docs:
            self.counts["revisions"] += 1
            seen[doc["_id"]] = seen.get(doc["_id"], False) or doc.get("_deleted") is not True
            if doctype in (FILES, VERSIONS) and doc.get("_deleted") is not True:
                self._tree.add(doctype, doc)

    def _graft(self, doctype: str, docs: Sequence[Doc]) -> Iterator[Trouble]:
        if self._target is None:
            return
        missing = self._target.missing_revs(doctype, _revs(docs))
        wanted = [doc for doc in docs if doc["_id"] in missing]
        private = groups.names_of(wanted, self._groups) if doctype == CONTACTS and wanted else None
        answers = self._target.graft(doctype, wanted, private=private) if wanted else ()
        for doc, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, CozyError):
                yield Trouble("refused", f"{doctype} {doc['_id']}", answer.detail)

    @cached_property
    def _groups(self) -> Mapping[str, Doc]:
        """The groups that contacts name, by id: phones see their names in cards."""
        if GROUPS not in self._source.doctypes(self._prefix):
            return {}
        leaves = self._source.leaves(self._prefix, GROUPS)
        return {one["_id"]: one for one in leaves if not isinstance(one, Trouble) and one.get("_deleted") is not True}

    def _copy_locals(self, doctype: str) -> None:
        for local in self._source.locals(self._prefix, doctype):
            self.counts["locals"] += 1
            id = str(local["_id"]).removeprefix("_local/")
            if self._target is not None and self._target.local(doctype, id) is None:
                self._target.set_local(doctype, id, {name: value for name, value in local.items() if name[:1] != "_"})

    def compare(self) -> Iterator[Step]:
        """Read both sides once more: each leaf of the source is here with the same history, fields and attachments.

        A leaf that was edited here since is in its document's history, which is as good.
        """
        assert self._target is not None
        for doctype in self._source.doctypes(self._prefix):
            compared = 0
            for docs, _ in self._batches(doctype):
                for name in self._differing(doctype, docs):
                    yield Trouble("differs", f"{doctype} {name}", "it is not here as the source has it").step
                compared += len(docs)
                yield {"step": "compare", "doctype": doctype, "done": compared}

    def _differing(self, doctype: str, docs: Sequence[Doc]) -> Iterator[str]:
        assert self._target is not None
        revs = _revs(docs)
        here = {(doc["_id"], doc["_rev"]): digest_of(doc) for doc in self._target.replicas(doctype, revs)}
        absent = self._target.missing_revs(doctype, revs)
        for doc in docs:
            at = doc["_id"], given_path(doc)[0]
            if doc["_id"] in absent or (at in here and here[at] != digest_of(doc)):
                yield f"{at[0]} {at[1]}"

    def _batches(self, doctype: str) -> Iterator[tuple[Sequence[Doc], Sequence[Trouble]]]:
        lines = self._source.leaves(self._prefix, doctype)
        while some := list(islice(lines, BATCH)):
            docs = [line for line in some if not isinstance(line, Trouble) and line["_id"] not in MADE]
            yield docs, [line for line in some if isinstance(line, Trouble)]


def _revs(docs: Sequence[Doc]) -> dict[str, list[str]]:
    revs: dict[str, list[str]] = {}
    for doc in docs:
        revs.setdefault(doc["_id"], []).append(given_path(doc)[0])
    return revs
