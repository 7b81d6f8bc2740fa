"""`BlobStore` port, the local directory driver, and `Spool`, what a large body is received into.

A blob is written once, sealed, and never changes; documents name only sealed ones. Layout of the local driver:
`<folder>/<area>/<last two digits of the first part>/<key>`, temporary files in `<folder>/tmp` on the same disk.
"""

import base64
import errno
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, cast

from cozyd.errors import NotFound, RangeNotSatisfiable, StorageFull, Unavailable

PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """A sealed blob.

    :param key: `<file id>/<internal id>`: the Swift object's name, the version's id.
    :param size: bytes.
    :param md5: base64.
    """

    key: str
    size: int
    md5: str


class NewBlob(AbstractContextManager["NewBlob"], Protocol):
    """A blob being written; leaving the block unsealed discards it."""

    def write(self, data: bytes) -> int:
        """Add bytes.

        :raises StorageFull: there is no room for them.
        """

    def fill(self, source: BinaryIO) -> None:
        """Add all of a stream; a `Spool` on the same disk is renamed, not copied."""

    def seal(self) -> Blob:
        """Make it last: bytes and name are on the disk when this returns."""


class BlobStore(Protocol):
    """Contents by area (a tenant's prefix) and key."""

    def new(self, area: str, key: str, *, size: int | None = None, type: str = "") -> NewBlob:
        """Begin a blob.

        :param size: bytes, when it is known.
        """

    def open(self, area: str, key: str, *, start: int = 0, stop: int | None = None) -> BinaryIO:
        """A seekable stream of the bytes from `start` up to `stop` (exclusive).

        :raises NotFound: there is none.
        :raises RangeNotSatisfiable: it ends before `start`.
        """

    def copy(self, area: str, blob: Blob, new: str) -> Blob:
        """The same bytes under another key.

        :raises NotFound: there is none.
        """

    def delete(self, area: str, keys: Iterable[str]) -> None:
        """Remove blobs; absent ones are fine."""

    def list(self, area: str, under: str = "") -> Iterator[tuple[str, int, datetime]]:
        """Key, size and time of every blob whose key starts with `under`."""

    def destroy(self, area: str) -> None:
        """Remove every byte of an area; an absent one is fine."""

    def ping(self) -> None:
        """:raises Unavailable: the store does not answer."""


@contextmanager
def translated() -> Iterator[None]:
    """The disk's errors as ours.

    :raises StorageFull: no room left.
    """
    try:
        yield
    except OSError as cause:
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("The disk is full") from cause
        raise


class Spool(io.RawIOBase):
    """A temporary file a body is received into; afterwards a stream of it. Length and MD5 are known at the end.

    It has the methods waitress wants of a body's buffer. `close` removes the file, unless a blob took it.

    :param folder: the blob store's temporary folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / f"spool-{secrets.token_hex(12)}"
        with translated():
            self._file = open(self.path, "w+b", buffering=0)  # noqa: SIM115
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    @property
    def md5(self) -> str:
        """Base64 of what has come so far."""
        return base64.b64encode(self._md5.digest()).decode()

    def append(self, data: bytes) -> None:
        """Add bytes that came.

        :raises StorageFull: there is no room for them.
        """
        with translated():
            written = 0
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        self._md5.update(data)
        self.size += len(data)

    def getfile(self) -> Self:
        """The stream of what came, from its beginning."""
        self._file.seek(0)
        return self

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    def readable(self) -> bool:
        """It is a stream to read."""
        return True

    def seekable(self) -> bool:
        """It can be read again."""
        return True

    def readinto(self, buffer: object) -> int | None:
        """See `io.RawIOBase.readinto`."""
        return self._file.readinto(cast(bytearray, buffer))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._file.tell()

    def sync(self) -> None:
        """Have every byte on the disk."""
        with translated():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Give the file up; it is removed unless a blob took it."""
        if not self.closed:
            self._file.close()
            self.path.unlink(missing_ok=True)
        super().close()


class _LocalBlob:
    """A blob being written to the local disk."""

    def __init__(self, spool: Spool, target: Path, key: str) -> None:
        self._spool = spool
        self._target = target
        self._key = key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._spool.close()

    def write(self, data: bytes) -> int:
        """See `NewBlob.write`."""
        self._spool.append(data)
        return len(data)

    def fill(self, source: BinaryIO) -> None:
        """See `NewBlob.fill`."""
        if isinstance(source, Spool) and not self._spool.size and source.path.parent == self._spool.path.parent:
            self._spool.close()
            self._spool = source
            return
        while piece := source.read(PIECE):
            self._spool.append(piece)

    def seal(self) -> Blob:
        """See `NewBlob.seal`."""
        self._spool.sync()
        with translated():
            _make_folder(self._target.parent)
            os.replace(self._spool.path, self._target)
            _sync_folder(self._target.parent)
        return Blob(self._key, self._spool.size, self._spool.md5)


class _Part(io.RawIOBase):
    """The bytes of a file between two offsets, as a stream of their own."""

    def __init__(self, file: io.FileIO, start: int, stop: int) -> None:
        super().__init__()
        self._file = file
        self._start, self._stop = start, stop
        file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int | None:
        view = memoryview(cast(bytearray, buffer))
        left = self._stop - self._file.tell()
        return self._file.readinto(view[: max(0, left)])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._stop}[whence]
        return self._file.seek(max(self._start, base + offset)) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def close(self) -> None:
        self._file.close()
        super().close()


class LocalBlobs:
    """Blobs in a folder of the local disk.

    :param folder: made when it is not there; what an earlier process left in its temporary folder is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.temporary = folder / "tmp"
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True, exist_ok=True, mode=0o700)

    def new(self, area: str, key: str, *, size: int | None = None, type: str = "") -> NewBlob:  # noqa: ARG002
        """See `BlobStore.new`.

        :raises StorageFull: `size` is more than the disk has left.
        """
        if size is not None and size > shutil.disk_usage(self._folder).free:
            raise StorageFull("The disk is full")
        return _LocalBlob(Spool(self.temporary), self._path(area, key), key)

    def open(self, area: str, key: str, *, start: int = 0, stop: int | None = None) -> BinaryIO:
        """See `BlobStore.open`."""
        try:
            file = open(self._path(area, key), "rb", buffering=0)  # noqa: SIM115
        except FileNotFoundError as cause:
            raise NotFound("The content is gone") from cause
        size = os.fstat(file.fileno()).st_size
        if start > size or (start == size and size and start):
            file.close()
            raise RangeNotSatisfiable(size)
        if start == 0 and (stop is None or stop >= size):
            return cast(BinaryIO, file)
        return cast(BinaryIO, _Part(file, start, size if stop is None else min(stop, size)))

    def copy(self, area: str, blob: Blob, new: str) -> Blob:
        """See `BlobStore.copy`: a hard link."""
        source, target = self._path(area, blob.key), self._path(area, new)
        with translated():
            _make_folder(target.parent)
            try:
                os.link(source, target)
            except FileNotFoundError as cause:
                raise NotFound("The content is gone") from cause
            _sync_folder(target.parent)
        return Blob(new, blob.size, blob.md5)

    def delete(self, area: str, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`."""
        for key in keys:
            path = self._path(area, key)
            path.unlink(missing_ok=True)
            try:
                path.parent.rmdir()
            except OSError:
                continue  # other contents of the same file are there, or it is gone already

    def list(self, area: str, under: str = "") -> Iterator[tuple[str, int, datetime]]:
        """See `BlobStore.list`."""
        top = self._folder / area
        for path in sorted(top.glob("*/*/*")):
            key = f"{path.parent.name}/{path.name}"
            if key.startswith(under):
                state = path.stat()
                yield key, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC)

    def destroy(self, area: str) -> None:
        """See `BlobStore.destroy`."""
        shutil.rmtree(self._folder / area, ignore_errors=True)

    def ping(self) -> None:
        """See `BlobStore.ping`."""
        if not os.access(self.temporary, os.W_OK):
            raise Unavailable("The folder of the blobs cannot be written")

    def _path(self, area: str, key: str) -> Path:
        """Where a blob lies. Keys are made by the server, never by clients."""
        first, _, second = key.partition("/")
        return self._folder / area / first[-2:] / first / second


def _make_folder(folder: Path) -> None:
    """Make a folder whose name survives a power loss."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
