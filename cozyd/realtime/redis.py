"""The Redis driver of `Hub`: the local hub, and what other processes committed.

Own changes are told at once, as without Redis. They are sent to the others by a thread of its own, so that a commit never
waits for the network; one more thread hears theirs. While Redis is away each process hears only itself.
"""

import logging
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence

from redis.exceptions import RedisError

from cozyd import jsons
from cozyd.documents.store import Change, Ref, Stored
from cozyd.realtime import Deliver, LocalHub
from cozyd.redis import RedisAway, RedisLink

log = logging.getLogger("cozyd.realtime")

CHANNEL = "cozyd:changes"
KEPT_BYTES, KEPT_FOR = 1 << 25, 10.0
"""What waits for Redis to come back: so much text at most, none older than so many seconds."""
REMEMBERED, REMEMBERED_FOR = 4_096, 10.0
"""Of how many documents it is known which revision was told last, and for how many seconds that matters."""
PAUSE = 0.2

_Commit = tuple[float, str, Sequence[Change]]


class RedisHub:
    """Changes to the listeners of every process.

    Those of other processes come without private data and without what was before. The order of a document's changes is
    kept: one that comes after a later one of the same document, told by another process, is left out.

    :param link: the way to Redis.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._local = LocalHub()
        self._me = secrets.token_hex(8).encode()
        self._told = _Told()
        self._changed = threading.Condition()
        self._waiting: deque[_Commit] = deque()
        self._waiting_bytes = 0
        self._closed = threading.Event()
        self.hears = threading.Event()
        """Set while this process hears the others."""
        self._sender = threading.Thread(target=self._send, name="hub sender", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="hub listener", daemon=True)
        self._sender.start()
        self._listener.start()

    def publish(self, tenant: str, changes: Sequence[Change]) -> None:
        """See `Hub.publish`."""
        self._told.newer(tenant, changes)
        self._local.publish(tenant, changes)
        with self._changed:
            self._waiting.append((time.monotonic(), tenant, changes))
            self._waiting_bytes += _size(changes)
            while self._waiting_bytes > KEPT_BYTES and len(self._waiting) > 1:
                self._take()
            self._changed.notify_all()

    def subscribe(self, tenant: str, deliver: Deliver) -> Callable[[], None]:
        """See `Hub.subscribe`."""
        return self._local.subscribe(tenant, deliver)

    def close(self) -> None:
        """See `Hub.close`: what was published still goes out, if Redis answers."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._sender.join(3)
        self._sent(self._me + b"  ")  # the listener sleeps until something comes
        self._listener.join(3)
        self._local.close()

    # -- the sender -------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        while (commit := self._next()) is not None:
            published, tenant, changes = commit
            message = encode(self._me, tenant, changes)
            while not self._sent(message) and not self._closed.wait(PAUSE) and time.monotonic() - published < KEPT_FOR:
                continue

    def _next(self) -> _Commit | None:
        with self._changed:
            while not self._waiting:
                if self._closed.is_set():
                    return None
                self._changed.wait()
            return self._take()

    def _take(self) -> _Commit:
        commit = self._waiting.popleft()
        self._waiting_bytes -= _size(commit[2])
        return commit

    def _sent(self, message: bytes) -> bool:
        try:
            self._link.ask(lambda redis: redis.publish(CHANNEL, message))
        except RedisAway:
            return False
        return True

    # -- the listener -----------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._hear()
            except (RedisError, OSError):
                self._closed.wait(PAUSE)
            except Exception:  # a message that is none of ours must not end the thread
                log.exception("a message of another process was not understood")
            finally:
                self.hears.clear()

    def _hear(self) -> None:
        """Listen until the connection breaks."""
        with self._link.channel() as channel:
            channel.subscribe(CHANNEL)
            channel.get_message(timeout=3)
            self.hears.set()
            while not self._closed.is_set():
                message = channel.get_message(timeout=1)
                if message is not None and message["type"] == "message":
                    self._heard(message["data"])

    def _heard(self, message: bytes) -> None:
        sender, tenant, rest = message.split(b" ", 2)
        if sender == self._me or not self._local.has_listeners(tenant.decode()):
            return
        fresh = self._told.newer(tenant.decode(), tuple(decode(rest)))
        if fresh:
            self._local.publish(tenant.decode(), fresh)


class _Told:
    """The generations of the documents whose changes were told last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generations: OrderedDict[tuple[str, Ref], tuple[int, float]] = OrderedDict()

    def newer(self, tenant: str, changes: Sequence[Change]) -> Sequence[Change]:
        """Those that are not older than what was told of the same document just now; they count as told."""
        now = time.monotonic()
        with self._lock:
            return [change for change in changes if self._note((tenant, change.new.ref), change.new.rev, now)]

    def _note(self, key: tuple[str, Ref], rev: str, now: float) -> bool:
        generation = int(rev.partition("-")[0] or 0)
        known, at = self._generations.get(key, (0, 0.0))
        if generation < known and now - at < REMEMBERED_FOR:
            return not generation  # a made-up change has none
        self._generations[key] = (generation, now)
        self._generations.move_to_end(key)
        if len(self._generations) > REMEMBERED:
            self._generations.popitem(last=False)
        return True


def _size(changes: Sequence[Change]) -> int:
    return sum(len(change.new.text) for change in changes)


def encode(sender: bytes, tenant: str, changes: Sequence[Change]) -> bytes:
    """A message: sender, tenant, a line with what is known of each change, then the documents' texts as they are."""
    heads = [
        [one.verb, one.new.ref.doctype, one.new.ref.id, one.new.rev, one.new.deleted, one.seq, one.about, len(one.new.text)]
        for one in changes
    ]
    return b"".join((sender, b" ", tenant.encode(), b" ", jsons.dump(heads), b"\n", *(one.new.text for one in changes)))


def decode(message: bytes) -> Iterator[Change]:
    """The changes of a message, whose sender and tenant were cut off."""
    line, _, texts = message.partition(b"\n")
    start = 0
    for verb, doctype, id, rev, deleted, seq, about, length in jsons.load(line):
        text = texts[start : start + length]
        start += length
        yield Change(verb, Stored(Ref(doctype, id), rev, text, deleted=deleted), None, about, seq)
