"""The locks' contract over Redis; owners that die or are stopped; Redis away."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from redis import Redis

from cozyd.errors import Locked, Unavailable
from cozyd.locks import Lock, Locks
from cozyd.locks.redis import PREFIX, RedisLocks
from cozyd.redis import RedisLink
from tests.contracts.locks import LocksContract
from tests.support.redis import RedisServer
from tests.support.serving import eventually

HOLDER = """
import sys
from cozyd.locks.redis import RedisLocks
from cozyd.redis import RedisLink
with RedisLocks(RedisLink(sys.argv[1])).hold("name", ttl=float(sys.argv[2])) as lock:
    print("held", flush=True)
    sys.stdin.readline()
    print("alive" if lock.alive() else "lost", flush=True)
"""


@pytest.fixture
def make(redis_server: RedisServer) -> Iterator[Callable[[], RedisLocks]]:
    """Makes the locks of one more process."""
    with ExitStack() as made:

        def process() -> RedisLocks:
            link = RedisLink(redis_server.url)
            locks = RedisLocks(link)
            made.callback(link.close)
            made.callback(locks.close)
            return locks

        yield process


@pytest.fixture
def locks(make: Callable[[], RedisLocks]) -> Locks:
    return make()


class TestRedisLocks(LocksContract):
    """The contract, within one process."""


class Either:
    """The locks of two processes in turn."""

    def __init__(self, first: Locks, second: Locks) -> None:
        self._both = [first, second]

    def hold(self, name: str, **how):
        self._both.reverse()
        return self._both[0].hold(name, **how)

    def is_held(self, name: str) -> bool:
        one, other = (locks.is_held(name) for locks in self._both)
        assert one == other
        return one


class TestRedisLocksOfTwoProcesses(LocksContract):
    """The contract, between processes."""

    @pytest.fixture
    def locks(self, make) -> Locks:
        return Either(make(), make())  # type: ignore[return-value]


class Holder:
    """A process that holds the lock `name`."""

    def __init__(self, redis: RedisServer, ttl: float) -> None:
        command = [sys.executable, "-c", HOLDER, redis.url, str(ttl)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def end(self) -> str:
        """Let it give the lock back; what it thought of it."""
        return self.process.communicate("\n", timeout=10)[0].strip()

    def die(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.communicate()


def test_the_lock_of_a_dead_process_is_free_at_its_time(redis_server: RedisServer, locks: Locks):
    holder = Holder(redis_server, ttl=1.5)
    began = time.monotonic()
    with pytest.raises(Locked), locks.hold("name", wait=0.3):
        pass
    holder.die()
    with locks.hold("name", wait=5) as lock:
        assert lock.alive()
    assert time.monotonic() - began < 4


def test_a_lock_is_renewed_as_long_as_its_owner_lives(redis_server: RedisServer, locks: Locks):
    holder = Holder(redis_server, ttl=0.6)
    with pytest.raises(Locked), locks.hold("name", wait=2):
        pass
    assert holder.end() == "alive"
    with locks.hold("name", wait=0):
        pass


def test_who_was_stopped_knows_that_the_lock_is_lost_and_does_not_free_another_s(redis_server: RedisServer, locks: Locks, make):
    holder = Holder(redis_server, ttl=0.6)
    holder.process.send_signal(signal.SIGSTOP)
    with locks.hold("name", wait=5):
        holder.process.send_signal(signal.SIGCONT)
        assert holder.end() == "lost"
        with pytest.raises(Locked), make().hold("name", wait=0.2):
            pass


def test_a_lock_is_a_lease_of_its_time(redis_server: RedisServer, locks: Locks):
    redis = Redis.from_url(redis_server.url)
    with locks.hold("name", ttl=30):
        assert 25_000 < redis.pttl(f"{PREFIX}name") <= 30_000
    assert not redis.exists(f"{PREFIX}name")


def test_alone_a_process_goes_on_with_locks_of_its_own(own_redis: RedisServer):
    locks = RedisLocks(RedisLink(own_redis.url))
    own_redis.kill()
    with locks.hold("name", wait=0) as lock:
        assert lock.alive()
        with pytest.raises(Locked), locks.hold("name", wait=0):
            pass
    with locks.hold("name", wait=0):
        pass


def test_what_must_not_be_done_alone_is_refused(own_redis: RedisServer):
    locks = RedisLocks(RedisLink(own_redis.url))
    with locks.hold("name", strict=True) as lock:
        assert lock.alive()
    own_redis.kill()
    with pytest.raises(Unavailable), locks.hold("name", strict=True):
        pass


def test_a_lock_that_redis_forgot_is_not_alive_for_long(own_redis: RedisServer):
    locks = RedisLocks(RedisLink(own_redis.url))
    with locks.hold("name", ttl=1) as lock:
        own_redis.kill()
        own_redis.start()
        eventually(lambda: not lock.alive())


def test_a_waiter_that_redis_leaves_goes_on(own_redis: RedisServer):
    mine, yours = RedisLocks(RedisLink(own_redis.url)), RedisLocks(RedisLink(own_redis.url))
    held: list[Lock] = []

    def wait() -> None:
        with yours.hold("name", wait=10) as lock:
            held.append(lock)

    with mine.hold("name"):
        waiter = threading.Thread(target=wait)
        waiter.start()
        own_redis.kill()
        waiter.join(5)
    assert len(held) == 1
