"""The hub's contract over Redis, within a process and between processes; Redis away."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest
from redis import Redis

from cozyd.documents.store import Change, Ref, Stored
from cozyd.realtime import Hub
from cozyd.realtime.redis import CHANNEL, RedisHub
from cozyd.redis import RedisLink
from tests.contracts.hub import ALICE, BOB, Heard, HubContract, change
from tests.support.redis import RedisServer
from tests.support.serving import eventually

Make = Callable[[RedisServer], RedisHub]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes the hub of one more process, which hears the others."""
    with ExitStack() as made:

        def process(redis: RedisServer) -> RedisHub:
            link = RedisLink(redis.url)
            hub = RedisHub(link)
            made.callback(link.close)
            made.callback(hub.close)
            assert hub.hears.wait(5)
            return hub

        yield process


@pytest.fixture
def hub(redis_server: RedisServer, make: Make) -> Hub:
    return make(redis_server)


class TestRedisHub(HubContract):
    """The contract, within one process."""


class Across:
    """What one process publishes, for the listeners of another."""

    def __init__(self, publisher: RedisHub, listener: RedisHub) -> None:
        self._publisher = publisher
        self._listener = listener

    def publish(self, domain: str, changes: Sequence[Change]) -> None:
        self._publisher.publish(domain, changes)

    def subscribe(self, domain: str, deliver: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        return self._listener.subscribe(domain, deliver)

    def close(self) -> None:
        self._publisher.close()
        self._listener.close()


class TestRedisHubOfTwoProcesses(HubContract):
    """The contract, between processes."""

    @pytest.fixture
    def hub(self, redis_server: RedisServer, make: Make) -> Hub:
        return Across(make(redis_server), make(redis_server))


class Kept(list[Change]):
    """The changes that were delivered."""

    def __call__(self, changes: Sequence[Change]) -> None:
        self.extend(changes)


def revision(generation: int) -> Change:
    return Change("UPDATED", Stored(Ref("io.cozy.things", "one"), f"{generation}-a", b"{}"))


def test_a_change_arrives_as_it_was_but_for_private_data(redis_server: RedisServer, make: Make):
    here, there = make(redis_server), make(redis_server)
    text = '{"name":"\u00e9\\n","list":[1,{"a":null}]}'.encode()
    new = Stored(Ref("io.cozy.contacts", "a b/\u00e9"), "3-abc", text, private=b'{"raw":"secret"}')
    gone = Stored(Ref("io.cozy.contacts", "gone"), "2-def", b"{}", deleted=True)
    kept = Kept()
    there.subscribe(ALICE, kept)
    here.publish(ALICE, [Change("CREATED", new, None, {"above": ["x"]}, "7-e"), Change("DELETED", gone, new, {}, "8-e")])
    eventually(lambda: len(kept) == 2)
    first, second = kept
    assert (first.verb, first.new.ref, first.new.rev, first.new.text, first.seq) == ("CREATED", new.ref, "3-abc", text, "7-e")
    assert (first.about, first.new.private) == ({"above": ["x"]}, {})
    assert (second.verb, second.new.ref, second.new.deleted, second.new.rev) == ("DELETED", gone.ref, True, "2-def")


def test_a_change_is_heard_once_where_it_was_made(redis_server: RedisServer, make: Make):
    here, there = make(redis_server), make(redis_server)
    mine, yours = Heard(), Heard()
    here.subscribe(ALICE, mine)
    there.subscribe(ALICE, yours)
    here.publish(ALICE, [change("a")])
    eventually(lambda: yours == [["a"]])
    there.publish(ALICE, [change("b")])
    eventually(lambda: mine[1:] == [["b"]])
    assert mine == [["a"], ["b"]]


def test_an_older_state_is_not_told_after_a_later_one(redis_server: RedisServer, make: Make):
    one, two, listener = (make(redis_server) for _ in range(3))
    kept, marks = Kept(), Heard()
    listener.subscribe(ALICE, kept)
    listener.subscribe(BOB, marks)
    two.publish(ALICE, [revision(3)])
    eventually(lambda: len(kept) == 1)
    one.publish(ALICE, [revision(2)])
    one.publish(BOB, [change("mark")])
    eventually(lambda: marks == [["mark"]])
    one.publish(ALICE, [revision(4)])
    eventually(lambda: len(kept) == 2)
    assert [one.new.rev for one in kept] == ["3-a", "4-a"]


def test_without_redis_a_process_hears_itself_and_the_others_again_afterwards(own_redis: RedisServer, make: Make):
    here, there = make(own_redis), make(own_redis)
    mine, yours = Heard(), Heard()
    here.subscribe(ALICE, mine)
    there.subscribe(ALICE, yours)
    own_redis.kill()
    eventually(lambda: not there.hears.is_set())
    here.publish(ALICE, [change("alone")])
    assert mine == [["alone"]]
    own_redis.start()
    assert there.hears.wait(10)
    here.publish(ALICE, [change("together")])
    eventually(lambda: ["together"] in yours)
    assert mine == [["alone"], ["together"]]


def test_a_process_that_starts_before_redis_hears_the_others_later(own_redis: RedisServer, make: Make):
    own_redis.kill()
    early = RedisHub(RedisLink(own_redis.url))
    heard = Heard()
    early.subscribe(ALICE, heard)
    early.publish(ALICE, [change("a")])
    assert heard == [["a"]]
    own_redis.start()
    assert early.hears.wait(10)
    make(own_redis).publish(ALICE, [change("b")])
    eventually(lambda: ["b"] in heard)
    early.close()


def test_what_was_published_last_still_goes_out(redis_server: RedisServer, make: Make):
    heard = Heard()
    make(redis_server).subscribe(ALICE, heard)
    leaving = make(redis_server)
    for number in range(100):
        leaving.publish(ALICE, [change(str(number))])
    leaving.close()
    eventually(lambda: len(heard) == 100)


def test_strange_messages_do_no_harm(redis_server: RedisServer, make: Make):
    hub = make(redis_server)
    heard = Heard()
    hub.subscribe(ALICE, heard)
    redis = Redis.from_url(redis_server.url)
    for message in (b"", b"x", b"x alice.example", b"x alice.example {", b"x \xff []\n", b'x alice.example [["UPDATED"]]\n'):
        redis.publish(CHANNEL, message)
    eventually(lambda: _arrives(hub, make(redis_server), heard))


def _arrives(hub: RedisHub, other: RedisHub, heard: Heard) -> bool:
    assert hub.hears.wait(5)
    other.publish(ALICE, [change("a")])
    return ["a"] in heard
