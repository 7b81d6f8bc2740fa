"""A tenant with everything that a store can hold: branches, deletions, private data, local and design documents."""

from typing import Any

from cozyd.documents.store import DocumentStore, Ref, Write
from tests.contracts.document_values import FILES, LENIENT_TYPE, THINGS, design, put


def live_in(store: DocumentStore) -> None:
    """Write a little of everything."""
    a, b, c = "1-" + "a" * 32, "2-" + "b" * 32, "2-" + "c" * 32
    for rev, more in ((b, {"n": 1}), (c, {"n": 2})):
        store.graft(THINGS, [{"_id": "branched", "_rev": rev, "_revisions": {"start": 2, "ids": [rev[2:], a[2:]]}} | more])
    dead = {"_deleted": True, "why": "moved"}
    store.graft(THINGS, [{"_id": "roots", "_rev": a, "n": 1}, {"_id": "roots", "_rev": "1-" + "d" * 32} | dead])
    values: list[Any] = [2**53 + 1, 1.5, -0.0, 1e300, None, True, "é\x00😀", {"": [[]]}]
    made = put(store, THINGS, "a/b c+%é", values=values)
    for number in range(12):
        made = put(store, THINGS, made.ref.id, made.rev, n=number)
    gone = put(store, THINGS, "gone", n=1)
    store.commit([Write(gone.ref, body={"why": "moved"}, rev=gone.rev, deleted=True)])
    again = put(store, THINGS, "again", n=1)
    store.commit([Write(again.ref, rev=again.rev, deleted=True)])
    put(store, THINGS, "again", n=2)
    put(store, THINGS, "_design/by-n", **design("by-n", "n"))
    store.set_local(THINGS, "checkpoint/==", {"seq": 1})
    store.set_local(THINGS, "checkpoint/==", {"seq": 2, "_rev": "0-1"})
    for number in range(3):
        write = Write(Ref(LENIENT_TYPE, f"card{number}"), body={"col": "c", "n": number}, private={"href": f"h{number}"})
        store.commit([write])
    put(store, FILES, "f", dir="r", name="a", size=5)
    store.make("io.cozy.empty")
