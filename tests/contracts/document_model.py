"""A plain model of a document store in dictionaries, and the random walk that compares a driver with it, step by step."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cozyd.documents.store import Change, DocumentBackend, Query, Ref, Write
from cozyd.errors import Conflict, NotFound
from tests.contracts.document_values import FILES

IDS = [f"d{number}" for number in range(5)]
BODY = st.fixed_dictionaries({"n": st.integers(0, 5), "dir": st.sampled_from(["x", "y"]), "size": st.integers(0, 9)})
WHICH = st.integers(0, 99)


def order(rev: str, deleted: bool) -> tuple[bool, int, str]:
    """What decides the winner: live first, then the longer history, then the greater hash."""
    number, _, digest = rev.partition("-")
    return not deleted, int(number), digest


@dataclass
class Document:
    """All revisions of one document."""

    parents: dict[str, str | None] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    def leaves(self) -> list[str]:
        """The leaves, the winner first."""
        inner = set(self.parents.values())
        found = [rev for rev in self.parents if rev not in inner]
        return sorted(found, key=lambda rev: order(rev, rev in self.deleted), reverse=True)

    @property
    def winner(self) -> str:
        return self.leaves()[0]

    @property
    def live(self) -> bool:
        return self.winner not in self.deleted

    def path(self, rev: str) -> list[str]:
        """From a revision to its oldest ancestor."""
        found = [rev]
        while (parent := self.parents[found[-1]]) is not None:
            found.append(parent)
        return found

    def add(self, rev: str, parent: str | None, body: dict[str, Any], deleted: bool) -> None:
        """A new leaf."""
        self.parents[rev] = parent
        self.bodies[rev] = body
        if deleted:
            self.deleted.add(rev)

    def forget(self, leaf: str) -> None:
        """Purge a leaf and the ancestors that only it had."""
        at: str | None = leaf
        while at is not None and at not in self.parents.values():
            parent = self.parents.pop(at)
            self.deleted.discard(at)
            at = parent


class Walk(RuleBasedStateMachine):
    """Random writes of every kind; after each, everything that can be read is compared."""

    backend: ClassVar[DocumentBackend]
    tenants: ClassVar[int] = 0
    steps: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        Walk.tenants += 1
        self.store = self.backend.create(f"walk{self.tenants}")
        self.store.make(FILES)
        self.store.commit([Write(Ref(FILES, "_design/by-n"), body=DESIGN)])
        self.model: dict[str, Document] = {}
        self.seen = self.store.info(FILES).seq
        self.touched: set[str] = set()

    def teardown(self) -> None:
        self.backend.destroy(f"walk{self.tenants}")

    # -- writing ----------------------------------------------------------------------------------------------------

    def _base(self, id: str) -> str | None:
        known = self.model.get(id)
        return known.winner if known is not None and known.live else None

    def _write(self, id: str, body: dict[str, Any], deleted: bool = False) -> Write:
        fields = body | {"name": id}
        return Write(Ref(FILES, id), body=None if deleted else fields, rev=self._base(id), deleted=deleted)

    def _note(self, change: Change, body: dict[str, Any], parent: str | None, *, deleted: bool = False) -> None:
        id = change.new.ref.id
        known = self.model.setdefault(id, Document())
        if parent is None and known.parents:
            parent = known.winner
        known.add(change.made.rev, parent, body, deleted)
        self.touched.add(id)

    @rule(id=st.sampled_from(IDS), body=BODY)
    def put(self, id: str, body: dict[str, Any]) -> None:
        write = self._write(id, body)
        change = self.store.commit([write])[0]
        assert change.verb == ("CREATED" if write.rev is None else "UPDATED")
        self._note(change, body | {"name": id}, write.rev)

    @rule(id=st.sampled_from(IDS), size=st.integers(0, 9))
    def patch(self, id: str, size: int) -> None:
        base = self._base(id)
        if base is not None:
            change = self.store.commit([Write(Ref(FILES, id), patch={"size": size, "n": ...}, rev=base)])[0]
            body = {name: value for name, value in self.model[id].bodies[base].items() if name != "n"}
            self._note(change, body | {"size": size}, base)

    @rule(id=st.sampled_from(IDS))
    def delete(self, id: str) -> None:
        base = self._base(id)
        if base is not None:
            self._note(self.store.commit([self._write(id, {}, deleted=True)])[0], {}, base, deleted=True)

    @rule(id=st.sampled_from(IDS), which=WHICH, body=BODY)
    def write_on_any_revision(self, id: str, which: int, body: dict[str, Any]) -> None:
        """Only a live leaf can grow; every other revision is a conflict."""
        known = self.model.get(id)
        if known is None:
            return
        rev = list(known.parents)[which % len(known.parents)]
        write = Write(Ref(FILES, id), body=body | {"name": id}, rev=rev)
        if rev == known.winner or (rev in known.leaves() and rev not in known.deleted):
            change = self.store.commit([write])[0]
            self._note(change, body | {"name": id}, rev)
            assert change.new.rev == known.winner
            return
        with pytest.raises(Conflict) as caught:
            self.store.commit([write])
        assert caught.value.refs == (write.ref,)

    @rule(id=st.sampled_from(IDS), body=BODY, other=st.sampled_from(IDS))
    def a_batch_with_a_stale_write_writes_nothing(self, id: str, body: dict[str, Any], other: str) -> None:
        good, stale = self._write(id, body), Write(Ref(FILES, other), body={"name": other}, rev="9-" + "0" * 32)
        if id == other or not self.store.atomic:
            return
        with pytest.raises(Conflict) as caught:
            self.store.commit([good, stale])
        assert caught.value.refs == (stale.ref,)

    @rule(bodies=st.dictionaries(st.sampled_from(IDS), BODY, min_size=2))
    def a_batch(self, bodies: dict[str, dict[str, Any]]) -> None:
        writes = [self._write(id, body) for id, body in bodies.items()]
        for write, change in zip(writes, self.store.commit(writes), strict=True):
            self._note(change, bodies[write.ref.id] | {"name": write.ref.id}, write.rev)

    @rule(id=st.sampled_from(IDS), which=WHICH, body=BODY, deleted=st.booleans(), steps=st.integers(1, 3))
    def graft(self, id: str, which: int, body: dict[str, Any], deleted: bool, steps: int) -> None:
        """A replica's branch, from any revision that is known, or from none."""
        known = self.model.setdefault(id, Document())
        bases = [None, *known.parents]
        base = bases[which % len(bases)]
        path = [] if base is None else known.path(base)
        fields = {} if deleted else body | {"name": id}
        fresh: list[str] = []
        for step in range(steps):
            digest = hashlib.md5(f"{id}{which}{sorted(fields.items())}{deleted}{step}{path[:1]}".encode()).hexdigest()
            path.insert(0, f"{len(path) + 1}-{digest}")
            fresh.insert(0, path[0])
        revisions = {"start": len(path), "ids": [rev.split("-")[1] for rev in path]}
        self.store.graft(FILES, [{"_id": id, "_rev": path[0], "_revisions": revisions, "_deleted": deleted} | fields])
        if path[0] not in known.parents:
            for rev, parent in zip(fresh, [*fresh[1:], base], strict=True):
                known.parents.setdefault(rev, parent)
            known.add(path[0], known.parents[path[0]], fields, deleted)
            self.touched.add(id)

    @rule(id=st.sampled_from(IDS), which=WHICH)
    def purge(self, id: str, which: int) -> None:
        known = self.model.get(id)
        if known is None or not known.parents:
            return
        leaves = known.leaves()
        leaf = leaves[which % len(leaves)]
        self.store.purge(FILES, {id: [leaf]})
        known.forget(leaf)
        if not known.parents:
            del self.model[id]
            self.touched.discard(id)
        else:
            self.touched.add(id)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _live(self) -> dict[str, dict[str, Any]]:
        return {id: known.bodies[known.winner] for id, known in self.model.items() if known.parents and known.live}

    @invariant()
    def documents_are_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        Walk.steps += 1
        for id in IDS:
            known = self.model.get(id)
            try:
                found = self.store.get(Ref(FILES, id))
            except NotFound:
                assert known is None or not known.parents or not known.live
                continue
            assert known is not None
            assert (found.rev, found.doc) == (known.winner, {"_id": id, "_rev": known.winner} | known.bodies[known.winner])
            tree = self.store.tree(Ref(FILES, id))
            assert list(tree.conflicts) == [leaf for leaf in known.leaves()[1:] if leaf not in known.deleted]
            assert list(tree.path(tree.winner)) == known.path(known.winner)

    @invariant()
    def lists_and_counts_are_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        live = self._live()
        page = self.store.all(FILES, start="d")
        assert [(stored.ref.id, stored.doc["size"]) for stored in page.rows] == [(id, live[id]["size"]) for id in sorted(live)]
        assert self.store.info(FILES).count == len(live) + 1
        for folder in "xy":
            inside = {id: body for id, body in live.items() if body["dir"] == folder}
            total = self.store.total("sizes", (folder,))
            assert (total.count, total.sum) == (len(inside), sum(body["size"] for body in inside.values()))
            rows = self.store.rows("by-name", (folder,))
            assert [(row.ref.id, row.value) for row in rows] == [(id, inside[id]["size"]) for id in sorted(inside)]

    @invariant()
    def queries_find_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        wanted = sorted((body["n"], id) for id, body in self._live().items() if body.get("n", -1) >= 2)
        found = self.store.find(FILES, Query({"n": {"$gte": 2}}, sort=[("n", "asc")]))
        assert [(stored.doc["n"], stored.ref.id) for stored in found.rows] == wanted

    @rule()
    def the_feed_tells_what_changed_since(self) -> None:
        feed = self.store.changes(FILES, since=self.seen)
        assert {row.id for row in feed.rows} == self.touched
        for row in feed.rows:
            known = self.model[row.id]
            assert (sorted(row.leaves), row.leaves[0], row.deleted) == (sorted(known.leaves()), known.winner, not known.live)
        self.seen, self.touched = feed.last_seq, set()


DESIGN = {
    "language": "query",
    "views": {"by-n": {"map": {"fields": {"n": "asc"}}, "reduce": "_count", "options": {"def": {"fields": ["n"]}}}},
}


def compare(backend: DocumentBackend, start: int, steps: int) -> None:
    """Walk at least `steps` random steps from a seed, in walks of up to 50.

    :raises AssertionError: the driver and the model differ; Hypothesis shows the shortest walk it found.
    """
    quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    given = settings(max_examples=max(1, steps // 50), stateful_step_count=50, **quiet)  # type: ignore[arg-type]
    Walk.backend, Walk.steps = backend, 0
    while Walk.steps < steps:
        run_state_machine_as_test(seed(start)(type("Seeded", (Walk,), {})), settings=given)
        start += 1000
