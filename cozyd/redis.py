"""The way to Redis: one pool of connections, left alone for a while after it failed (docs/farm.md).

Nothing in Redis is kept for good: whoever asks has to have an answer for when it is away.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.exceptions import RedisError
from redis.retry import Retry

log = logging.getLogger("cozyd.redis")

CONNECT_WITHIN, ANSWER_WITHIN, ALONE_FOR = 2.0, 3.0, 1.0
"""Seconds: until a connection stands, until an answer came, until Redis is asked again after it failed."""

T = TypeVar("T")


class RedisAway(Exception):
    """Redis does not answer, or refuses."""


class RedisLink:
    """The connections of a process to one Redis.

    :param url: `redis://[user:password@]host:port/database`, `rediss://...` or `unix:///path?db=0`.
    """

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_WITHIN,
            socket_timeout=ANSWER_WITHIN,
            health_check_interval=30,
            retry=Retry(NoBackoff(), 1),  # a connection of the pool may have been closed since; a second one is fresh
        )
        self._lock = threading.Lock()
        self._alone_until = 0.0
        self._is_away = False

    def ask(self, step: Callable[["Redis"], T]) -> T:
        """What a step answers.

        :raises RedisAway: it failed, or did so less than a second ago.
        """
        if self._is_away:
            self._try_again()
        try:
            answer = step(self._redis)
        except (RedisError, OSError) as cause:
            self._failed(cause)
            raise RedisAway from cause
        if self._is_away:
            self._is_away = False
            log.warning("Redis is back")
        return answer

    def answers(self) -> bool:
        """Whether it is there now."""
        try:
            self.ask(lambda redis: redis.ping())
        except RedisAway:
            return False
        return True

    def channel(self) -> PubSub:
        """A connection of its own that hears what is published."""
        channel: PubSub = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        return channel

    def close(self) -> None:
        """Give every connection back."""
        self._redis.close()

    def _try_again(self) -> None:
        """Of all that ask while it is away one tries, once a second: one that hangs holds up nobody else."""
        with self._lock:
            now = time.monotonic()
            if now < self._alone_until:
                raise RedisAway
            self._alone_until = now + CONNECT_WITHIN + ANSWER_WITHIN

    def _failed(self, cause: Exception) -> None:
        with self._lock:
            self._alone_until = time.monotonic() + ALONE_FOR
            if not self._is_away:
                self._is_away = True
                log.warning("Redis is away, this process goes on alone: %s", cause)
