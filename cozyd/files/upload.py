"""A content on its way in: a blob that never grows past the room there is, and whose first bytes are kept."""

from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

from cozyd.errors import QuotaExceeded
from cozyd.files.blobs import PIECE, Blob, NewBlob
from cozyd.files.metadata import HEAD
from cozyd.files.spool import Spool


@dataclass(frozen=True, slots=True)
class Room:
    """How much an owner has left.

    :param used: bytes taken now.
    :param quota: bytes she may take, None: no limit.
    :param freed: bytes that the write gives back.
    """

    used: int
    quota: int | None
    freed: int = 0

    def check(self, size: int) -> None:
        """:raises QuotaExceeded: so many bytes do not fit."""
        if self.quota is not None and self.used - self.freed + size > self.quota:
            raise QuotaExceeded("The file is too big and exceeds the disk quota")


@dataclass(frozen=True, slots=True)
class Content(Blob):
    """A sealed blob that has just come.

    :param head: its first bytes, for what it says about itself.
    """

    head: bytes = b""


class Upload:
    """A `NewBlob` that checks the quota as the bytes come."""

    def __init__(self, blob: NewBlob, room: Room) -> None:
        self._blob = blob
        self._room = room
        self._size = 0
        self._head = b""

    def __enter__(self) -> Self:
        self._blob.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._blob.__exit__(kind, error, trace)

    def write(self, data: bytes) -> int:
        """See `NewBlob.write`."""
        self._size += len(data)
        self._room.check(self._size)
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        return self._blob.write(data)

    def fill(self, source: BinaryIO) -> None:
        """See `NewBlob.fill`."""
        if isinstance(source, Spool):
            self._room.check(self._size + source.size)
            self._head = self._head or source.getfile().read(HEAD) or b""
            self._blob.fill(source.getfile())
            return
        while piece := source.read(PIECE):
            self.write(piece)

    def seal(self) -> Content:
        """See `NewBlob.seal`."""
        blob = self._blob.seal()
        return Content(blob.key, blob.size, blob.md5, blob.data, self._head)
