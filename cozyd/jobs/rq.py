"""The RQ driver of `Broker`: hints lie in Redis lists, where the threads of every process take them (docs/jobs.md).

RQ's queues carry the hints, as JSON; what RQ's own workers do beside (registries, retries, time-outs) our jobs' documents do
better. What Redis loses is found again: a process that ends without a goodbye, and a Redis that lost its data, are noticed within
seconds by the others, and the patrol goes round.
"""

import contextlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job as Hint
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from rq.utils import as_text

from cozyd.jobs import broker
from cozyd.jobs.broker import Crew, Later, Run
from cozyd.redis import RedisAway, RedisLink

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger("cozyd.jobs")

FUNCTION = "workers.run"
PROCESSES, ALIVE, MARKER = "cozyd:jobs:processes", "cozyd:jobs:alive:", "cozyd:jobs:marker"
LEFT, LEFT_FOR = "cozyd:jobs:left", 60
"""A process said goodbye so many seconds ago at most: triggers that it alone knew are looked for by another."""
BEATS_EVERY, DEAD_AFTER = 3.0, 10
"""Seconds between two signs of life of a process, and after the last of them until it counts as dead."""
WAITS = 1
"""Seconds that a thread waits at Redis for a hint: less than a connection's time-out."""
PAUSE = 0.5
MOST_WAITING, AT_ONCE = 100_000, 200
"""How many hints wait for Redis to come back, and how many are sent at once."""
LEAST_AGE = 20.0
"""Seconds that a Redis has to have its data before a free lease says that a job's process is dead: they may all be lost."""

_Hint = tuple[str, str, str, bool]


class RqBroker:
    """Hints over Redis, and this process's threads.

    :param link: the way to Redis.
    :param lost: is told when hints may be lost: a process died, or Redis' data are gone.
    """

    def __init__(self, link: RedisLink, lost: Callable[[], None]) -> None:
        self._link = link
        self._lost = lost
        self._crews: Mapping[str, Crew] = {}
        self._feeders: list[threading.Thread] = []
        self._resting = threading.Event()
        self._later = Later(self._now)
        self._sender = _Sender(link, lost)
        self._keeper = _Keeper(link, lost)

    def wake(self, queue: str, domain: str, job_id: str, *, wait: float = 0, first: bool = False) -> None:
        """See `Broker.wake`: the hint is sent by a thread of its own."""
        if wait > 0:
            self._later.add(wait, (queue, domain, job_id, first))
        else:
            self._now((queue, domain, job_id, first))

    def _now(self, hint: _Hint) -> None:
        self._sender.add(hint)

    def may_reclaim(self) -> bool:
        """See `Broker.may_reclaim`."""
        return self._keeper.may_reclaim()

    def start(self, run: Run, queues: Mapping[str, int]) -> None:
        """See `Broker.start`."""
        self._keeper.start()
        self._crews = {name: Crew(name, size, run, self._again) for name, size in queues.items()}
        for name, crew in self._crews.items():
            feeder = threading.Thread(target=self._feed, args=(name, crew), name=f"jobs feeder {name}", daemon=True)
            self._feeders.append(feeder)
            feeder.start()

    def _again(self, queue: str, domain: str, job_id: str) -> None:
        self.wake(queue, domain, job_id, wait=broker.AGAIN_AFTER)

    def _feed(self, name: str, crew: Crew) -> None:
        """Take hints from Redis while the crew has a thread that is free."""
        turn = 0
        while not self._resting.is_set():
            if not crew.wait_for_room(WAITS):
                continue
            names = [_name(name, first=True), _name(name, first=False)]
            try:
                found = self._take(names if turn < broker.FIRST_IN_ROW else names[::-1])
            except RedisAway:
                self._resting.wait(PAUSE)
                continue
            if found is not None:
                domain, job_id, first = found
                turn = turn + 1 if first else 0
                crew.add(domain, job_id, first=first)

    def _take(self, names: list[str]) -> tuple[str, str, bool] | None:
        """The next hint of some queues, in this order; None: there was none for a while."""
        popped = self._link.ask(lambda redis: redis.blpop([Queue(name, connection=redis).key for name in names], WAITS))
        if popped is None:
            return None
        key, id = map(as_text, popped)
        hint = self._link.ask(lambda redis: _fetch(id, redis))
        if hint is None:
            return None
        domain, job_id = hint.args
        return str(domain), str(job_id), key.endswith(_FIRST)

    def replace(self, thread: threading.Thread) -> None:
        """See `Broker.replace`."""
        for crew in self._crews.values():
            crew.replace(thread)

    def rest(self) -> None:
        """See `Broker.rest`."""
        self._resting.set()
        self._later.close()
        for crew in self._crews.values():
            crew.rest()

    def stop(self, grace: float) -> None:
        """See `Broker.stop`: what was taken from Redis and not begun goes back there."""
        self.rest()
        deadline = time.monotonic() + grace
        for feeder in self._feeders:
            feeder.join(max(0.0, deadline - time.monotonic()))
        for crew in self._crews.values():
            crew.join(deadline)
        for name, crew in self._crews.items():
            for domain, job_id in crew.left():
                self._sender.add((name, domain, job_id, False))
        self._sender.close()
        self._keeper.close()


_FIRST = ".first"


def _name(queue: str, *, first: bool) -> str:
    """RQ's queue of ours; those that somebody waits for have their own."""
    return f"cozyd.{queue}{_FIRST if first else ''}"


def _fetch(id: str, redis: "Redis") -> Hint | None:
    """A hint as RQ keeps it, taken out of Redis; None: it is gone."""
    try:
        hint = Hint.fetch(id, connection=redis, serializer=JSONSerializer)
    except NoSuchJobError:
        return None
    redis.delete(hint.key)
    return hint


class _Sender:
    """Puts hints into RQ's queues, on a thread of its own; while Redis is away they wait here."""

    def __init__(self, link: RedisLink, lost: Callable[[], None]) -> None:
        self._link = link
        self._lost = lost
        self._changed = threading.Condition()
        self._waiting: deque[_Hint] = deque()
        self._overflown = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, hint: _Hint) -> None:
        """Send a hint."""
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._overflown = True
                return
            self._waiting.append(hint)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobs sender", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Send what waits, if Redis answers."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(3)

    def _run(self) -> None:
        while (hints := self._next()) is not None:
            while not self._sent(hints):
                if self._closed:
                    return
                time.sleep(PAUSE)
            if self._overflown:
                self._overflown = False
                self._lost()

    def _next(self) -> list[_Hint] | None:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]

    def _sent(self, hints: list[_Hint]) -> bool:
        by_queue: dict[str, list[_Hint]] = {}
        for hint in hints:
            by_queue.setdefault(_name(hint[0], first=hint[3]), []).append(hint)
        try:
            for name, some in by_queue.items():
                self._link.ask(partial(_enqueue, name, some))
        except RedisAway:
            return False
        return True


def _enqueue(name: str, hints: list[_Hint], redis: "Redis") -> None:
    queue = Queue(name, connection=redis, serializer=JSONSerializer, death_penalty_class=TimerDeathPenalty)
    queue.enqueue_many(
        [
            Queue.prepare_data(
                FUNCTION, args=[domain, job_id], job_id=f"{job_id}-{secrets.token_hex(4)}", description=job_id, result_ttl=0, timeout=-1
            )
            for _, domain, job_id, _ in hints
        ]
    )


class _Keeper:
    """Tells the other processes that this one lives, and looks whether they do, and whether Redis still has its data."""

    def __init__(self, link: RedisLink, lost: Callable[[], None]) -> None:
        self._link = link
        self._lost = lost
        self._me = secrets.token_hex(8)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs keeper", daemon=True)
        self._marked_at = float("inf")

    def start(self) -> None:
        """Begin; the first sign of life is given at once, if Redis answers."""
        self._look()
        self._thread.start()

    def close(self) -> None:
        """Say goodbye."""
        self._closed.set()
        with contextlib.suppress(RedisAway):
            self._link.ask(self._leave)

    def _leave(self, redis: "Redis") -> None:
        redis.srem(PROCESSES, self._me)
        redis.delete(ALIVE + self._me)
        redis.set(LEFT, "", ex=LEFT_FOR)

    def may_reclaim(self) -> bool:
        """Whether leases that are free have been free for long enough to say something."""
        return time.time() - self._marked_at > LEAST_AGE

    def _run(self) -> None:
        while not self._closed.wait(BEATS_EVERY):
            self._look()

    def _look(self) -> None:
        try:
            has_lost = self._has_lost_data()
            died = self._link.ask(self._beat)
            has_left = self._link.ask(lambda redis: redis.delete(LEFT)) > 0
        except RedisAway:
            self._marked_at = float("inf")
            return
        if has_lost:
            log.warning("Redis has no data of ours: every open job is looked at")
        if died:
            log.warning("%d processes ended without a goodbye: what they left is looked at", died)
        if has_lost or died or has_left:
            self._lost()

    def _has_lost_data(self) -> bool:
        """Whether the marker had to be made; one process is told so."""
        now = str(time.time())
        made = self._link.ask(lambda redis: redis.set(MARKER, now, nx=True))
        self._marked_at = float(now if made else self._link.ask(lambda redis: redis.get(MARKER)) or "inf")
        return bool(made)

    def _beat(self, redis: "Redis") -> int:
        """Give a sign of life; how many of the others died, as far as nobody else has noticed."""
        redis.set(ALIVE + self._me, "", ex=DEAD_AFTER)
        redis.sadd(PROCESSES, self._me)
        others = [as_text(name) for name in redis.smembers(PROCESSES)]
        dead = [name for name in others if not redis.exists(ALIVE + name)]
        return sum(redis.srem(PROCESSES, name) for name in dead)
