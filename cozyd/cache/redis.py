"""The Redis driver of `Cache`; while Redis is away, values and counters are those of the process."""

from collections.abc import Callable
from typing import TypeVar, cast

from redis import Redis

from cozyd.cache import LocalCache
from cozyd.redis import RedisAway, RedisLink

PREFIX = "cozyd:cache:"
_HIT = """
local count = redis.call('incr', KEYS[1])
if count == 1 then redis.call('pexpire', KEYS[1], ARGV[1]) end
return count
"""

T = TypeVar("T")


class RedisCache:
    """Values and counters that all processes share.

    :param link: the way to Redis.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._local = LocalCache()

    def get(self, key: str) -> bytes | None:
        """See `Cache.get`."""
        return self._ask(lambda redis: cast(bytes | None, redis.get(_value(key))), lambda: self._local.get(key))

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """See `Cache.set`."""
        self._ask(lambda redis: redis.set(_value(key), value, px=_ms(ttl)), lambda: self._local.set(key, value, ttl))

    def delete(self, key: str) -> None:
        """See `Cache.delete`."""
        self._local.delete(key)
        self._ask(lambda redis: redis.delete(_value(key), _counter(key)), lambda: None)

    def hit(self, key: str, window: float) -> int:
        """See `Cache.hit`; a limit is never off: the process counts its own hits while Redis is away."""
        return self._ask(lambda redis: cast(int, redis.eval(_HIT, 1, _counter(key), _ms(window))), lambda: self._local.hit(key, window))

    def _ask(self, step: Callable[[Redis], T], alone: Callable[[], T]) -> T:
        try:
            return self._link.ask(step)
        except RedisAway:
            return alone()


def _value(key: str) -> str:
    return f"{PREFIX}value:{key}"


def _counter(key: str) -> str:
    return f"{PREFIX}hits:{key}"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
