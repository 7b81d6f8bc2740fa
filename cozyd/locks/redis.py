"""The Redis driver of `Locks`: leases that a keeper renews, and that end by themselves when their owner died.

A lease is a key with a random token. It is taken, renewed and given back by one script each, so that nobody gives back
what another holds. The threads of a process queue at a lock of the process first, so that only one of them asks Redis.
"""

import math
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cozyd.errors import Locked, Unavailable
from cozyd.locks import LocalLocks, Lock
from cozyd.redis import RedisAway, RedisLink

PREFIX = "cozyd:lock:"
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two attempts to take a lock that another process holds."""
AT_REST = 1.0
"""Seconds that the keeper sleeps at most: most leases are given back before that."""

_TAKE = """
local token = redis.call('get', KEYS[1])
if token and token ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return 1
"""
_RENEW = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('pexpire', KEYS[1], ARGV[2])
"""
_GIVE_BACK = """
if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end
return 1
"""


class _Lease:
    """A lock held at Redis.

    :param until: monotonic seconds; up to then nobody else can have it.
    """

    def __init__(self, name: str, ttl: float) -> None:
        self.key = PREFIX + name
        self.ttl = ttl
        self.token = secrets.token_hex(16)
        self.until = 0.0
        self.due = 0.0

    def alive(self) -> bool:
        """See `Lock.alive`."""
        return time.monotonic() < self.until

    def take(self, link: RedisLink) -> bool:
        """Take it; False: another holds it.

        :raises RedisAway: Redis does not answer.
        """
        return self._run(link, _TAKE)

    def renew(self, link: RedisLink) -> bool:
        """Hold it for its time again; False: it ran out, and may be another's.

        :raises RedisAway: Redis does not answer.
        """
        return self.alive() and self._run(link, _RENEW)

    def _run(self, link: RedisLink, script: str) -> bool:
        asked = time.monotonic()
        if link.ask(lambda redis: redis.eval(script, 1, self.key, self.token, math.ceil(self.ttl * 1000))) != 1:
            return False
        self.until = asked + self.ttl
        self.due = asked + self.ttl / 3
        return True


class RedisLocks:
    """Leases that all processes share. While Redis is away they are those of the process, unless `strict`.

    :param link: the way to Redis.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._local = LocalLocks()
        self._keeper = _Keeper(link)

    @contextmanager
    def hold(self, name: str, *, wait: float = 10, ttl: float = 30, strict: bool = False) -> Iterator[Lock]:
        """See `Locks.hold`."""
        deadline = time.monotonic() + wait
        with self._local.hold(name, wait=wait) as local:
            try:
                lease = self._take(name, deadline, ttl)
            except RedisAway as cause:
                if strict:
                    raise Unavailable(f"{name} cannot be locked without Redis", retry_after=5) from cause
                yield local
                return
            self._keeper.add(lease)
            try:
                yield lease
            finally:
                self._keeper.remove(lease)
                self._give_back(lease)

    def is_held(self, name: str) -> bool:
        """See `Locks.is_held`."""
        if self._local.is_held(name):
            return True
        try:
            return self._link.ask(lambda redis: redis.exists(_Lease(name, 0).key)) == 1
        except RedisAway:
            return False

    def close(self) -> None:
        """See `Locks.close`."""
        self._keeper.close()

    def _take(self, name: str, deadline: float, ttl: float) -> _Lease:
        lease = _Lease(name, ttl)
        pause = FIRST_PAUSE
        while not lease.take(self._link):
            left = deadline - time.monotonic()
            if left <= 0:
                raise Locked(f"{name} is in use", retry_after=1)
            time.sleep(min(pause, left))
            pause = min(pause * 2, LONGEST_PAUSE)
        return lease

    def _give_back(self, lease: _Lease) -> None:
        try:
            self._link.ask(lambda redis: redis.eval(_GIVE_BACK, 1, lease.key, lease.token))
        except RedisAway:
            return  # it ends by itself


class _Keeper:
    """Renews the leases of the process, each after a third of its time."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._changed = threading.Condition()
        self._leases: set[_Lease] = set()
        self._thread: threading.Thread | None = None
        self._wakes = 0.0
        self._closed = False

    def add(self, lease: _Lease) -> None:
        """Renew it from now on."""
        with self._changed:
            self._leases.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lease keeper", daemon=True)
                self._thread.start()
            elif lease.due < self._wakes:
                self._changed.notify_all()

    def remove(self, lease: _Lease) -> None:
        """Leave it alone."""
        with self._changed:
            self._leases.discard(lease)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (lease := self._next()) is not None:
            self._renew(lease)

    def _next(self) -> _Lease | None:
        """The next lease to renew, when it is time."""
        with self._changed:
            while not self._closed:
                lease = min(self._leases, key=lambda one: one.due, default=None)
                left = AT_REST if lease is None else lease.due - time.monotonic()
                if lease is not None and left <= 0:
                    return lease
                self._wakes = time.monotonic() + min(left, AT_REST)
                self._changed.wait(min(left, AT_REST))
        return None

    def _renew(self, lease: _Lease) -> None:
        try:
            kept = lease.renew(self._link)
        except RedisAway:
            lease.due = time.monotonic() + min(1.0, lease.ttl / 3)
            return
        if not kept:
            lease.until = 0.0
            self.remove(lease)
