"""The promises of `Hub`, run over every driver.

A driver's test module subclasses `HubContract` with a `hub` fixture. Delivery may come on another thread, so the tests wait.
"""

import threading
from collections.abc import Callable, Sequence

from cozyd.documents.store import Change, Ref, Stored
from cozyd.realtime import Hub
from tests.support.serving import eventually

ALICE, BOB = "alice.example", "bob.example"


def change(id: str) -> Change:
    return Change("UPDATED", Stored(Ref("io.cozy.things", id), "1-a", b"{}"))


class Heard(list[list[str]]):
    """What was delivered: the ids of each commit."""

    def __call__(self, changes: Sequence[Change]) -> None:
        self.append([one.new.ref.id for one in changes])


class HubContract:
    """Every test of the port's promise."""

    def test_a_commit_is_delivered_whole_and_once_to_each_subscriber(self, hub: Hub):
        first, second = Heard(), Heard()
        hub.subscribe(ALICE, first)
        hub.subscribe(ALICE, second)
        hub.publish(ALICE, [change("a"), change("b")])
        hub.publish(ALICE, [change("c")])
        eventually(lambda: first == second == [["a", "b"], ["c"]])

    def test_domains_are_apart(self, hub: Hub):
        hers, his = Heard(), Heard()
        hub.subscribe(ALICE, hers)
        hub.subscribe(BOB, his)
        hub.publish(BOB, [change("b")])
        hub.publish(ALICE, [change("a")])
        eventually(lambda: (hers, his) == ([["a"]], [["b"]]))

    def test_who_stopped_hears_nothing_more_and_the_others_do(self, hub: Hub):
        first, second = Heard(), Heard()
        stop = hub.subscribe(ALICE, first)
        hub.subscribe(ALICE, second)
        stop()
        stop()
        hub.publish(ALICE, [change("a")])
        eventually(lambda: second == [["a"]])
        assert first == []

    def test_the_same_listener_may_subscribe_twice_and_stop_once(self, hub: Hub):
        heard = Heard()
        stop = hub.subscribe(ALICE, heard)
        hub.subscribe(ALICE, heard)
        stop()
        hub.publish(ALICE, [change("a")])
        eventually(lambda: heard == [["a"]])

    def test_a_failing_listener_harms_neither_the_writer_nor_the_others(self, hub: Hub):
        def fails(changes: Sequence[Change]) -> None:
            raise RuntimeError(len(changes))

        heard = Heard()
        hub.subscribe(ALICE, fails)
        hub.subscribe(ALICE, heard)
        hub.publish(ALICE, [change("a")])
        eventually(lambda: heard == [["a"]])

    def test_a_listener_may_stop_and_subscribe_while_it_hears(self, hub: Hub):
        heard = Heard()
        stops: list[Callable[[], None]] = []

        def once(_changes: Sequence[Change]) -> None:
            stops.pop()()
            hub.subscribe(ALICE, heard)

        stops.append(hub.subscribe(ALICE, once))
        hub.publish(ALICE, [change("a")])
        eventually(lambda: not stops)
        hub.publish(ALICE, [change("b")])
        eventually(lambda: heard == [["b"]])

    def test_each_writer_s_order_is_kept(self, hub: Hub):
        heard = Heard()
        hub.subscribe(ALICE, heard)

        def write(name: str) -> None:
            for number in range(200):
                hub.publish(ALICE, [change(f"{name}{number}")])

        writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(10)
        eventually(lambda: len(heard) == 800)
        ids = [id for commit in heard for id in commit]
        for name in "abcd":
            assert [id for id in ids if id[0] == name] == [f"{name}{number}" for number in range(200)]

    def test_nobody_has_to_listen_and_a_closed_hub_is_harmless(self, hub: Hub):
        hub.publish(BOB, [change("a")])
        heard = Heard()
        stop = hub.subscribe(ALICE, heard)
        hub.close()
        hub.publish(ALICE, [change("b")])
        stop()
        assert heard == []
