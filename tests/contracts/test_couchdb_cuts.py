"""A commit on CouchDB that is cut at any of its steps is whole or was never begun, once the tenant is written to again."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from cozyd.documents.couchdb import CouchBackend
from cozyd.documents.store import Change, DocumentStore, Ref, Write
from cozyd.errors import Unavailable
from cozyd.locks import LocalLocks
from tests.contracts.document_values import LENIENT, LENIENT_TYPE, PROJECTIONS, THINGS, put
from tests.support.couchdb import empty_server, needs_couchdb

pytestmark = needs_couchdb
JOBS = "io.cozy.jobs"
STEPS = 40


@pytest.fixture
def url() -> Iterator[str]:
    with empty_server() as address:
        yield address


class Dying:
    """A process of the server whose connection to CouchDB ends before a given request, for good."""

    def __init__(self, url: str, requests: int) -> None:
        self.backend = CouchBackend(url, PROJECTIONS, lenient=LENIENT, locks=LocalLocks())
        self.left = requests
        self._send = self.backend._client._send
        self.backend._client._send = self._counted  # type: ignore[method-assign, assignment]

    def _counted(self, *given: Any) -> tuple[int, bytes]:
        if self.left <= 0:
            raise Unavailable("the connection was cut")
        self.left -= 1
        return self._send(*given)


def react(changes: Sequence[Change], _seq: str) -> Sequence[Write]:
    """A job for each card that changed."""
    return [
        Write(Ref(JOBS, f"{change.new.ref.id}-{change.new.rev}"), body={"of": change.new.ref.id})
        for change in changes
        if change.new.ref.doctype == LENIENT_TYPE
    ]


def commit(store: DocumentStore) -> None:
    old = store.get(Ref(LENIENT_TYPE, "old"))
    gone = store.get(Ref(LENIENT_TYPE, "gone"))
    batch = [
        Write(old.ref, body={"col": "d", "n": 2}, rev=old.rev, private={"href": "moved"}),
        Write(gone.ref, rev=gone.rev, deleted=True),
        Write(Ref(LENIENT_TYPE, "new"), body={"col": "c", "n": 3}, private={"href": "n"}),
        Write(Ref(THINGS, "with"), body={"n": 1}),
    ]
    store.commit(batch, react)


def state(store: DocumentStore) -> dict[str, Any]:
    """What can be read of the commit."""
    cards = store.get_many(LENIENT_TYPE, ["old", "gone", "new"])
    return {
        "cards": [None if one is None else (one.doc["n"], dict(one.private)) for one in cards],
        "thing": store.get_many(THINGS, ["with"])[0] is not None,
        "rows": [(row.key, row.ref.id) for row in store.rows("members")],
        "jobs": sorted(one.doc["of"] for one in store.all(JOBS).rows),
        "findings": list(store.check()),
    }


BEFORE = {
    "cards": [(1, {"href": "o"}), (1, {"href": "g"}), None],
    "thing": False,
    "rows": [(("c", "g"), "gone"), (("c", "o"), "old")],
    "jobs": [],
    "findings": [],
}
AFTER = {
    "cards": [(2, {"href": "moved"}), None, (3, {"href": "n"})],
    "thing": True,
    "rows": [(("c", "n"), "new"), (("d", "moved"), "old")],
    "jobs": ["gone", "new", "old"],
    "findings": [],
}


@pytest.mark.timeout(240)
def test_a_commit_that_is_cut_anywhere_is_whole_or_was_never_begun(url: str):
    seen = []
    for requests in range(STEPS):
        tenant = f"cut{requests}"
        whole = CouchBackend(url, PROJECTIONS, lenient=LENIENT, locks=LocalLocks())
        store = whole.create(tenant)
        for id in ("old", "gone"):
            store.commit([Write(Ref(LENIENT_TYPE, id), body={"col": "c", "n": 1}, private={"href": id[0]})])
        store.make(THINGS)
        store.make(JOBS)
        dying = Dying(url, requests)
        try:
            commit(dying.backend.open(tenant))
            ended = True
        except Unavailable:
            ended = False
        again = CouchBackend(url, PROJECTIONS, lenient=LENIENT, locks=LocalLocks())
        reopened = again.open(tenant)
        reopened.commit([Write(Ref("io.cozy.other", "touch"), body={})], react)
        found = state(reopened)
        assert found in ([AFTER] if ended else [BEFORE, AFTER]), f"cut before request {requests + 1}"
        seen.append(found == AFTER)
        for backend in (whole, dying.backend, again):
            backend.close()
        if ended:
            break
    assert seen[0] is False
    assert ended
    assert seen == sorted(seen)


def test_what_a_cut_commit_changed_is_told_when_it_is_finished(url: str):
    whole = CouchBackend(url, PROJECTIONS, lenient=LENIENT, locks=LocalLocks())
    store = whole.create("one")
    put(store, THINGS, "a", n=1)
    dying = Dying(url, 5)
    told: list[str] = []
    opened = dying.backend.open("one")
    with pytest.raises(Unavailable):
        opened.commit([Write(Ref(THINGS, id), body={"n": 1}) for id in "bc"], react)
    dying.left = 1000
    opened.listen(lambda changes: told.extend(change.new.ref.id for change in changes))
    put(opened, THINGS, "d", n=1)
    assert told == ["b", "c", "d"]
    whole.close()
    dying.backend.close()
