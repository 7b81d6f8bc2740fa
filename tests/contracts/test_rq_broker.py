"""The brokers' contract over RQ on a real Redis, and what only several processes, or a Redis that is away, show."""

import json
import threading
import zlib
from collections.abc import Iterator

import pytest
from redis import Redis

from cozyd.jobs.broker import Broker
from cozyd.jobs.rq import ALIVE, MARKER, PROCESSES, RqBroker
from cozyd.redis import RedisLink
from tests.contracts.broker import BrokerContract, Floor
from tests.support.redis import RedisServer
from tests.support.serving import eventually

QUEUES = BrokerContract.QUEUES


class House:
    """Brokers over one Redis, and what they were told of losses."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.losses = threading.Semaphore(0)
        self.floors: list[Floor] = []
        self.made: list[RqBroker] = []

    def open(self) -> RqBroker:
        broker = RqBroker(RedisLink(self.server.url), self.losses.release)
        self.made.append(broker)
        return broker

    def start(self) -> tuple[RqBroker, Floor]:
        broker, floor = self.open(), Floor()
        self.floors.append(floor)
        broker.start(floor.run, QUEUES)
        return broker, floor

    def close(self) -> None:
        for floor in self.floors:
            for gate in floor.gates.values():
                gate.set()
        for broker in self.made:
            broker.stop(5)


@pytest.fixture
def house(redis_server: RedisServer) -> Iterator[House]:
    Redis.from_url(redis_server.url).flushdb()
    made = House(redis_server)
    yield made
    made.close()


@pytest.fixture
def broker(house: House) -> Broker:
    return house.open()


class TestRqBroker(BrokerContract):
    """The contract."""

    @pytest.fixture(autouse=True)
    def _redis(self, redis_server: RedisServer) -> None:
        self.redis = Redis.from_url(redis_server.url)

    def settled(self, broker: Broker) -> None:
        """As the contract's."""
        eventually(lambda: len(self.redis.keys("rq:job:*")) == 7)


def test_each_hint_comes_to_one_of_several_processes(house: House):
    first, one = house.start()
    _, two = house.start()
    for number in range(200):
        first.wake("two", "alice.example", str(number))
    eventually(lambda: len(one.begun) + len(two.begun) == 200)
    assert sorted(one.ids() + two.ids()) == sorted(map(str, range(200)))


def test_hints_are_json_that_runs_nothing(house: House):
    broker = house.open()
    broker.wake("one", "alice.example", "a")
    redis = Redis.from_url(house.server.url)
    eventually(lambda: bool(redis.keys("rq:job:*")))
    data = redis.hget(redis.keys("rq:job:*")[0], "data")
    assert isinstance(data, bytes)
    assert json.loads(zlib.decompress(data)) == ["workers.run", None, ["alice.example", "a"], {}]


def test_what_was_hinted_while_redis_was_away_comes_after_its_return(own_redis: RedisServer):
    house = House(own_redis)
    broker, floor = house.start()
    own_redis.kill()
    for number in range(20):
        broker.wake("two", "alice.example", str(number))
    own_redis.start()
    eventually(lambda: sorted(floor.ids()) == sorted(map(str, range(20))), within=15)
    house.close()


def test_a_redis_that_was_away_from_the_start_is_used_when_it_comes(own_redis: RedisServer):
    own_redis.kill()
    house = House(own_redis)
    broker, floor = house.start()
    broker.wake("one", "alice.example", "a")
    own_redis.start()
    eventually(lambda: floor.ids() == ["a"], within=15)
    house.close()


def test_a_process_that_ends_without_goodbye_is_noticed_once(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cozyd.jobs.rq.BEATS_EVERY", 0.1)
    redis = Redis.from_url(house.server.url)
    house.start()
    house.start()
    assert house.losses.acquire(timeout=5)  # this Redis was empty
    redis.sadd(PROCESSES, "dead")
    assert house.losses.acquire(timeout=5)
    assert not redis.sismember(PROCESSES, "dead")
    assert len(redis.keys(f"{ALIVE}*")) == 2
    assert not house.losses.acquire(timeout=0.5)


def test_a_redis_that_lost_its_data_is_noticed_and_nobody_reclaims_for_a_while(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cozyd.jobs.rq.BEATS_EVERY", 0.1)
    redis = Redis.from_url(house.server.url)
    redis.set(MARKER, "1000.0")
    broker, _ = house.start()
    assert broker.may_reclaim()
    redis.flushdb()
    assert house.losses.acquire(timeout=5)
    assert not broker.may_reclaim()


def test_who_stops_says_goodbye_and_gives_back_what_was_not_begun(house: House):
    broker, floor = house.start()
    floor.gate("a")
    broker.wake("one", "alice.example", "a")
    eventually(lambda: floor.ids() == ["a"])
    broker.wake("one", "alice.example", "b")
    broker.rest()
    floor.gates["a"].set()
    broker.stop(10)
    redis = Redis.from_url(house.server.url)
    assert redis.scard(PROCESSES) == 0
    _, other = house.start()
    eventually(lambda: other.ids() == ["b"])


def test_one_of_the_others_looks_round_when_a_process_has_left(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cozyd.jobs.rq.BEATS_EVERY", 0.1)
    leaving, _ = house.start()
    house.start()
    assert house.losses.acquire(timeout=5)  # this Redis was empty
    leaving.stop(5)
    assert house.losses.acquire(timeout=5)
    assert not house.losses.acquire(timeout=0.5)
