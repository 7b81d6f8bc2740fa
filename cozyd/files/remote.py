"""What stores at the other end of a network share: contents on their way in and out, and what to do while a store is away.

A store that hangs must not take every thread of the server with it: only so many requests are under way at once, and once one has
failed to get an answer, the next ones fail at once for a while, but for one that tries.
"""

import io
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, cast
from urllib.parse import quote

from cozyd.errors import CozyError, StorageFull, TooLarge, Unavailable
from cozyd.files.blobs import PIECE, Blob, Notes
from cozyd.files.spool import Spool

log = logging.getLogger("cozyd.files")

RETRY_AFTER = 10
AWAY = 3.0
"""Seconds for which requests fail at once after one got no answer."""
PATIENCE = 2.0
"""Seconds a request waits for others to end."""
AHEAD = 1 << 16


class Refused(Exception):
    """The store refused a request.

    :param size: of the object, when a range was refused.
    """

    def __init__(self, status: int, reason: str, size: int = 0) -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.size = status, size

    def told(self) -> CozyError:
        """As our callers are told."""
        if self.status == 413:
            return TooLarge("The file store takes no content of this size")
        if self.status == 507:
            return StorageFull("The file store is full")
        log.error("The file store answered %s", self)
        return Unavailable("The file store refused the request", retry_after=RETRY_AFTER)


class Gate:
    """Places among the requests under way.

    :param parallel: how many there are.
    """

    def __init__(self, parallel: int) -> None:
        self._slots = threading.BoundedSemaphore(max(1, parallel))
        self._lock = threading.Lock()
        self._away_until = 0.0

    def enter(self) -> None:
        """Take a place; to be left again.

        :raises Unavailable: the store is away, or too many wait for it already.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._away_until:
                raise Unavailable("The file store does not answer", retry_after=RETRY_AFTER)
            if self._away_until:
                self._away_until = now + AWAY  # this one tries, the others go by what it finds
        if not self._slots.acquire(timeout=PATIENCE):
            raise Unavailable("The file store is busy", retry_after=RETRY_AFTER)

    def leave(self) -> None:
        """Give the place back."""
        self._slots.release()

    def answered(self) -> None:
        """The store is there."""
        self._away_until = 0.0

    def unanswered(self, cause: BaseException, *, in_vain: bool) -> Unavailable:
        """What callers are told when there was no answer.

        :param in_vain: somebody waited for it, as opposed to being refused at once.
        """
        log.warning("The file store does not answer: %s", cause)
        if in_vain:
            self._away_until = time.monotonic() + AWAY
        return Unavailable("The file store does not answer", retry_after=RETRY_AFTER)


class Answer(Protocol):
    """An object on its way."""

    headers: Mapping[str, str]

    def read(self, count: int) -> bytes:
        """Some bytes; none at its end, or when it was cut."""

    def close(self) -> None:
        """Give it up."""


Get = Callable[[Mapping[str, str]], Answer]
"""Begins to read an object, with headers of the request. :raises Refused, Unavailable: it cannot be read."""
Send = Callable[[Blob, Spool, str, Notes], None]
"""Puts an object: what it is, its bytes, its content type, what is noted with it."""


class RemoteBlob:
    """A content being written: received into one temporary file, sent when it is whole.

    :param folder: for that file. :param largest: bytes that an object may have.
    """

    def __init__(self, send: Send, folder: Path, key: str, type: str, about: Notes, largest: int) -> None:
        self._send, self._key, self._type, self._about, self._largest = send, key, type, about, largest
        self._spool = Spool(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._spool.close()

    def write(self, data: bytes) -> int:
        """See `NewBlob.write`."""
        self._check(self._spool.size + len(data))
        self._spool.append(data)
        return len(data)

    def fill(self, source: BinaryIO) -> None:
        """See `NewBlob.fill`."""
        if isinstance(source, Spool) and not self._spool.size:
            self._check(source.size)
            self._spool.close()
            self._spool = source
            return
        while piece := source.read(PIECE):
            self.write(piece)

    def _check(self, size: int) -> None:
        if size > self._largest:
            raise TooLarge(f"A file has at most {self._largest >> 30} GiB on this store")

    def seal(self) -> Blob:
        """See `NewBlob.seal`.

        :raises Unavailable: the store did not take it, or took something else.
        """
        blob = Blob(self._key, self._spool.size, self._spool.md5)
        self._send(blob, self._spool, self._type, self._about)
        return blob


def noted(about: Notes, prefix: str) -> dict[str, str]:
    """What is noted with an object, as its headers. Header lines are ASCII: other characters stand as in addresses."""
    return {f"{prefix}{name.title()}": quote(value, safe=" !#$&'()*+,/:;=?@[]") for name, value in about.items()}


class RemoteStream(io.RawIOBase):
    """The bytes of an object between two offsets, read again from where it broke, as often as bytes come.

    `remote` tells the server that reading it waits for the network.
    """

    remote = True

    def __init__(self, get: Get, start: int, answer: Answer, etag: str, size: int) -> None:
        super().__init__()
        self._get, self._etag = get, etag
        self._start, self._size = start, size
        self._at = self._answer_at = 0
        self._answer: Answer | None = answer
        self._ahead = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        wanted = min(len(view), AHEAD, max(0, self._size - self._at))
        if not wanted:
            return 0
        data = self._ahead[self._at : self._at + wanted] or self._sure(wanted)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def begin(self) -> None:
        """Have its first bytes, before anybody is promised any.

        :raises Unavailable: none come.
        """
        if self._size:
            self._ahead = self._sure(min(self._size, AHEAD))

    def _sure(self, wanted: int) -> bytes:
        """Some bytes from where it is: when it was cut, once more."""
        data = self._some(wanted)
        if not data:
            self._drop()
            data = self._some(wanted)
        if not data:
            raise Unavailable("The file store does not answer", retry_after=RETRY_AFTER)
        return data

    def _some(self, wanted: int) -> bytes:
        if self._answer is None or self._answer_at != self._at:
            self._drop()
            first, last = self._start + self._at, self._start + self._size - 1
            try:
                self._answer = self._get({"Range": f"bytes={first}-{last}", "If-Match": self._etag})
            except Refused as error:
                raise error.told() from error
            self._answer_at = self._at
        data = self._answer.read(wanted)
        self._answer_at += len(data)
        return data

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def close(self) -> None:
        self._drop()
        super().close()
