"""The cache's contract over Redis, and what holds while that is away."""

import secrets
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from cozyd.cache import Cache
from cozyd.cache.redis import RedisCache
from cozyd.redis import ALONE_FOR, RedisAway, RedisLink
from tests.contracts.cache import CacheContract, Forward
from tests.support.redis import RedisServer
from tests.support.serving import eventually


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[RedisLink]:
    Redis.from_url(redis_server.url).flushall()
    made = RedisLink(redis_server.url)
    yield made
    made.close()


@pytest.fixture
def cache(link: RedisLink) -> Cache:
    return RedisCache(link)


@pytest.fixture
def forward(redis_server: RedisServer) -> Forward:
    """Redis' clock cannot be set, so every key's time is shortened by as much."""
    redis = Redis.from_url(redis_server.url)

    def shorten(seconds: float) -> None:
        for key in redis.keys("*"):
            redis.pexpire(key, redis.pttl(key) - round(seconds * 1000))

    return shorten


class TestRedisCache(CacheContract):
    """The contract."""

    def test_processes_share_values_and_counters(self, redis_server: RedisServer, link: RedisLink):
        here, there = RedisCache(link), RedisCache(RedisLink(redis_server.url))
        here.set("key", b"value", 10)
        assert there.get("key") == b"value"
        assert [here.hit("count", 10), there.hit("count", 10)] == [1, 2]
        there.delete("key")
        assert here.get("key") is None


def answers(link: RedisLink) -> bool:
    try:
        return link.ask(lambda redis: bool(redis.ping()))
    except RedisAway:
        return False


def test_a_limit_is_never_off(own_redis: RedisServer):
    link = RedisLink(own_redis.url)
    cache = RedisCache(link)
    assert [cache.hit("attempts", 60) for _ in range(3)] == [1, 2, 3]
    own_redis.kill()
    assert [cache.hit("attempts", 60) for _ in range(12)] == list(range(1, 13))
    cache.set("key", b"alone", 60)
    assert cache.get("key") == b"alone"
    own_redis.start()
    eventually(lambda: answers(link))
    name = secrets.token_hex(4)
    cache.set(name, b"shared", 60)
    assert RedisCache(RedisLink(own_redis.url)).get(name) == b"shared"


def test_a_redis_that_hangs_holds_up_one_caller_and_no_other(own_redis: RedisServer):
    link = RedisLink(own_redis.url)
    cache = RedisCache(link)
    assert cache.hit("attempts", 60) == 1
    own_redis.stop_for_a_while()
    assert cache.hit("attempts", 60) == 1
    began = time.monotonic()
    assert [cache.hit("attempts", 60) for _ in range(100)] == list(range(2, 102))
    assert time.monotonic() - began < ALONE_FOR
    own_redis.go_on()
    eventually(lambda: answers(link), within=15)


def test_a_redis_that_was_never_there_is_no_reason_to_fail(own_redis: RedisServer):
    own_redis.kill()
    cache = RedisCache(RedisLink(own_redis.url))
    cache.set("key", b"value", 60)
    assert cache.get("key") == b"value"
    cache.delete("key")
    assert cache.get("key") is None
    assert [cache.hit("attempts", 60) for _ in range(3)] == [1, 2, 3]
