"""PouchDB 9, unmodified, replicates with `/data` (docs/http/data.md): push, pull, live, cuts, conflicts; and is its oracle."""

import random
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest

from tests.support.pouchdb import PouchError, Replica, Replicas
from tests.support.serving import Served, eventually

pytestmark = pytest.mark.tool


@pytest.fixture
def replicas() -> Iterator[Replicas]:
    with Replicas() as made:
        yield made


@pytest.fixture
def remote(replicas: Replicas, served: Served, request: pytest.FixtureRequest) -> Replica:
    """A doctype of this test's own."""
    doctype = f"io.cozy.test.pouch{crc32(request.node.name.encode())}"
    return replicas.connect("remote", served, doctype, served.token(doctype))


def documents(count: int) -> list[dict[str, Any]]:
    return [{"_id": f"doc/{number:05} é+%", "n": number, "deep": {"x": [1, 2.5, None, {"y": "z"}]}} for number in range(count)]


def read(replica: Replica, id: str) -> dict[str, Any]:
    """A document with its history and its conflicts, which PouchDB gives in no order."""
    found: dict[str, Any] = replica.get(id, {"conflicts": True, "revs": True})
    return found | {"_conflicts": sorted(found.get("_conflicts", ()))}


def move(replicas: Replicas, remote: Replica, count: int) -> None:
    """Push, pull into another replica, and again: nothing is left to do."""
    here, there = replicas.open("here"), replicas.open("there")
    here.bulkDocs(documents(count))
    pushed = replicas.replicate(here, remote)
    assert (pushed["written"], pushed["failures"]) == (count, 0)
    pulled = replicas.replicate(remote, there)
    assert (pulled["written"], pulled["failures"]) == (count, 0)
    assert here.state() == remote.state() == there.state()
    assert there.get(documents(8)[7]["_id"])["deep"] == {"x": [1, 2.5, None, {"y": "z"}]}
    assert replicas.replicate(here, remote)["read"] == 0
    assert replicas.replicate(remote, there)["read"] == 0


def test_a_thousand_documents_go_up_and_come_down(replicas: Replicas, remote: Replica):
    move(replicas, remote, 1000)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_ten_thousand_documents_go_up_and_come_down(replicas: Replicas, remote: Replica):
    move(replicas, remote, 10_000)


def test_edits_on_both_sides_converge_to_one_winner(replicas: Replicas, remote: Replica):
    one, other = replicas.open("one"), replicas.open("other")
    one.bulkDocs(documents(5))
    replicas.replicate(one, remote)
    replicas.replicate(remote, other)
    first, second, third = (one.get(doc["_id"]) for doc in documents(3))
    one.put(first | {"n": "one"})
    other.put(other.get(first["_id"]) | {"n": "other"})
    other.remove(other.get(second["_id"]))
    for step in range(30):
        third["_rev"] = one.put(third | {"n": step})["rev"]
    for _ in range(2):
        for replica in (one, other):
            replicas.replicate(replica, remote)
            replicas.replicate(remote, replica)
    assert one.state() == other.state() == remote.state()
    assert len(remote.state()[first["_id"]]["leaves"]) == 2
    for id in (first["_id"], third["_id"]):
        assert read(one, id) == read(other, id) == read(remote, id)
    for replica in (one, other, remote):
        with pytest.raises(PouchError) as caught:
            replica.get(second["_id"])
        assert caught.value.status == 404


def test_live_sync_carries_edits_both_ways(replicas: Replicas, remote: Replica):
    here, there = replicas.open("here"), replicas.open("there")
    remote.bulkDocs([{"_id": "before", "n": 0}])
    replicas.ask("startSync", name="first", one=here.name, other=remote.name)
    replicas.ask("startSync", name="second", one=there.name, other=remote.name)
    eventually(lambda: "before" in here.state() and "before" in there.state())
    here.put({"_id": "from here", "n": 1})
    there.put({"_id": "from there", "n": 2})
    remote.bulkDocs([{"_id": "from a third", "n": 3}])
    eventually(lambda: len(here.state()) == len(there.state()) == len(remote.state()) == 4)
    here.remove(here.get("before"))
    eventually(lambda: there.state().get("before", {}).get("deleted", False))
    assert here.state() == there.state() == remote.state()
    assert replicas.ask("stopSync", name="first") == replicas.ask("stopSync", name="second") == []


def test_a_replication_that_was_cut_goes_on_from_its_checkpoint(replicas: Replicas, fresh: Served):
    doctype = "io.cozy.test.cut"
    remote = replicas.connect("remote", fresh, doctype, fresh.token(doctype))
    here = replicas.open("here")
    here.bulkDocs(documents(400))
    assert replicas.replicate(here, remote)["written"] == 400
    here.bulkDocs([{"_id": f"later{number}", "n": number} for number in range(50)])
    fresh.kill()
    with pytest.raises(PouchError):
        replicas.replicate(here, remote)
    fresh.start()
    gone_on = replicas.replicate(here, remote)
    assert (gone_on["read"], gone_on["written"]) == (50, 50)
    assert here.state() == remote.state()


def test_a_selector_or_ids_choose_what_comes(replicas: Replicas, remote: Replica):
    remote.bulkDocs(documents(40))
    some, named = replicas.open("some"), replicas.open("named")
    assert replicas.replicate(remote, some, selector={"n": {"$gte": 35}})["written"] == 5
    wanted = [documents(9)[7]["_id"], documents(9)[8]["_id"]]
    assert replicas.replicate(remote, named, doc_ids=wanted)["written"] == 2
    assert sorted(named.state()) == wanted


def test_its_own_queries_work(remote: Replica):
    remote.bulkDocs([{"_id": f"d{number}", "n": number % 10, "name": f"name {number}"} for number in range(50)])
    assert remote.createIndex({"index": {"fields": ["n", "name"]}})["result"] == "created"
    found = remote.find({"selector": {"n": {"$gt": 7}}, "sort": ["n", "name"], "fields": ["_id", "n"], "limit": 6})["docs"]
    assert [doc["_id"] for doc in found] == ["d18", "d28", "d38", "d48", "d8", "d19"]
    rows = remote.allDocs({"startkey": "d4", "endkey": "d5", "include_docs": True})["rows"]
    assert [row["id"] for row in rows][:3] == ["d4", "d40", "d41"]
    stale = remote.get("d1")
    remote.put(stale | {"n": 99})
    with pytest.raises(PouchError) as caught:
        remote.put(stale | {"n": 100})
    assert (caught.value.status, caught.value.name) == (409, "conflict")


class Wanderers:
    """Random edits and replications on three replicas, one of them ours, and the same on three of PouchDB's own."""

    def __init__(self, replicas: Replicas, trio: list[Replica], seed: int) -> None:
        self.replicas = replicas
        self.trio = trio
        self.chance = random.Random(seed)

    def step(self) -> None:
        """One edit, deletion, losing branch or replication."""
        replica = self.chance.choice(self.trio)
        kind = self.chance.random()
        if kind < 0.3:
            source, target = self.chance.sample(self.trio, 2)
            self.replicas.replicate(source, target)
            return
        id = f"d{self.chance.randrange(6)}"
        leaves = [leaf["ok"] for leaf in self._leaves(replica, id) if "ok" in leaf]
        live = [leaf for leaf in leaves if not leaf.get("_deleted")]
        body = {"_id": id, "n": self.chance.randrange(4)}
        if live:
            body["_rev"] = self.chance.choice(live)["_rev"]
            if kind < 0.45:
                body["_deleted"] = True
        replica.bulkDocs([body])

    def _leaves(self, replica: Replica, id: str) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = replica.get(id, {"open_revs": "all", "revs": True})
        except PouchError:
            return []
        return found

    def settle(self) -> None:
        """Replicate each to each until all have heard of all."""
        for _ in range(2):
            for source in self.trio:
                for target in self.trio:
                    if source is not target:
                        self.replicas.replicate(source, target)


def wander(replicas: Replicas, served: Served, seed: int, steps: int) -> None:
    doctype = f"io.cozy.test.wander{seed}"
    remote = replicas.connect("remote", served, doctype, served.token(doctype))
    trio = [remote, replicas.open("second"), replicas.open("third")]
    wanderers = Wanderers(replicas, trio, seed)
    for _ in range(steps):
        wanderers.step()
    wanderers.settle()
    states = [replica.state() for replica in trio]
    assert states[0] == states[1] == states[2]
    for id, state in states[1].items():
        if not state["deleted"]:
            assert read(remote, id) == read(trio[1], id)


def test_random_edits_and_replications_end_equal_on_all_replicas(replicas: Replicas, served: Served):
    wander(replicas, served, seed=1, steps=250)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [11, 12, 13, 14, 15])
def test_longer_histories_end_equal_too(replicas: Replicas, served: Served, seed: int):
    wander(replicas, served, seed=seed, steps=400)
