"""`BlobStore` port, and the local directory driver.

A blob is written once, sealed, and never changes; documents name only sealed ones. Layout of the local driver:
`<folder>/<area>/<last two digits of the first part>/<key>`, thumbnails `<folder>/<area>/thumbs/<last two digits of the
file's id>/<name>`, temporary files below `<folder>/tmp` on the same disk.
"""

import errno
import io
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import BinaryIO, ClassVar, Protocol, Self, cast

from cozyd.durable import make_folder, sync
from cozyd.errors import NotFound, RangeNotSatisfiable, StorageFull, Unavailable
from cozyd.files.spool import OwnFolder, Spool, translated

PIECE = 1 << 20
PLACE_TRIES = 100
THUMBNAILS = "thumbs"
AVATARS = "avatar"
"""First part of the keys of contents that no document of files names: the instance record does."""
AVATAR_BROUGHT = f"{AVATARS}/brought"
"""The picture of an instance that a cozy-stack made, whose record names none."""
Notes = Mapping[str, str]
NO_NOTES: Notes = MappingProxyType({})
_KEY = re.compile(r"[\w-]+(/[\w-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Blob:
    """A sealed blob.

    :param key: `<file id>/<internal id>`: the Swift object's name, the version's id.
    :param size: bytes.
    :param md5: base64.
    :param data: the bytes of a small one, which become durable with the document that names it (`contents.py`).
    """

    key: str
    size: int
    md5: str
    data: bytes | None = None


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

    keeps_small: ClassVar[bool]
    """Whether it is for small contents too; else those lie beside the documents, where the document store can hold them."""

    @property
    def temporary(self) -> Path:
        """The folder for this process's temporary files: a `Spool` in it is taken over without a copy where that can be."""

    def new(self, area: str, key: str, *, size: int | None = None, type: str = "", about: Notes = NO_NOTES) -> NewBlob:
        """Begin a blob.

        :param size: bytes, when it is known.
        :param about: what is noted with it, for those who look into the store, where it can note things.
        """

    def open(self, area: str, key: str, *, start: int = 0, stop: int | None = None, about: Notes = NO_NOTES) -> BinaryIO:
        """A seekable stream of the bytes from `start` up to `stop` (exclusive).

        :param about: what has to be noted with it, where anything is noted under these names.
        :raises NotFound: there is none, or something else is noted with it.
        :raises RangeNotSatisfiable: it ends before `start`.
        """

    def copy(self, area: str, blob: Blob, new: str, *, about: Notes = NO_NOTES) -> Blob:
        """The same bytes under another key.

        :param about: as of `new`.
        :raises NotFound: there is none.
        """

    def adopt(self, area: str, key: str, file: Path) -> bool:
        """Have a file of this machine as a blob without a copy, by a hard link; False: that cannot be here.

        The file stays where it is, and may never be changed. Its name here lasts once the disk is synced.
        """

    def delete(self, area: str, keys: Iterable[str]) -> None:
        """Remove blobs; absent ones are fine."""

    def list(self, area: str, under: str = "") -> Iterator[tuple[str, int, datetime]]:
        """Key, size and time of every blob whose key starts with `under`."""

    def destroy(self, area: str) -> None:
        """Remove every byte of an area; an absent one is fine."""

    def ping(self) -> None:
        """:raises Unavailable: the store does not answer."""


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
        if isinstance(source, Spool) and not self._spool.size and _same_disk(source.path, self._spool.path):
            self._spool.close()
            self._spool = source
            return
        while piece := source.read(PIECE):
            self._spool.append(piece)

    def seal(self) -> Blob:
        """See `NewBlob.seal`."""
        self._spool.sync()
        with translated():
            os.utime(self._spool.path)
            _place(self._spool.path, self._target, os.replace)
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


def is_key(text: str) -> bool:
    """Whether a content may have this key; no other can lead out of an area."""
    return _KEY.fullmatch(text) is not None


class LocalBlobs:
    """Blobs in a folder of the local disk.

    :param folder: made when it is not there; what dead processes left in its temporary folder is removed.
    """

    keeps_small: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = OwnFolder(folder / "tmp")

    @property
    def temporary(self) -> Path:
        """See `BlobStore.temporary`."""
        return self._own.path

    def close(self) -> None:
        """Give up the temporary folder."""
        self._own.close()

    def new(self, area: str, key: str, *, size: int | None = None, type: str = "", about: Notes = NO_NOTES) -> NewBlob:  # noqa: ARG002
        """See `BlobStore.new`.

        :raises StorageFull: `size` is more than the disk has left.
        """
        if size is not None and size > shutil.disk_usage(self._folder).free:
            raise StorageFull("The disk is full")
        return _LocalBlob(Spool(self.temporary), self._path(area, key), key)

    def open(self, area: str, key: str, *, start: int = 0, stop: int | None = None, about: Notes = NO_NOTES) -> BinaryIO:  # noqa: ARG002
        """See `BlobStore.open`."""
        try:
            with translated():
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

    def copy(self, area: str, blob: Blob, new: str, *, about: Notes = NO_NOTES) -> Blob:  # noqa: ARG002
        """See `BlobStore.copy`: a hard link."""
        source, target = self._path(area, blob.key), self._path(area, new)
        try:
            with translated():
                _place(source, target, os.link)
        except FileNotFoundError as cause:
            raise NotFound("The content is gone") from cause
        return Blob(new, blob.size, blob.md5)

    def adopt(self, area: str, key: str, file: Path) -> bool:
        """See `BlobStore.adopt`."""
        target = self._path(area, key)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.unlink(missing_ok=True)
        try:
            os.link(file, target)
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                return False
            raise
        return True

    def delete(self, area: str, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`."""
        for key in keys:
            path = self._path(area, key)
            with translated():
                path.unlink(missing_ok=True)
            try:
                path.parent.rmdir()
            except OSError:
                continue  # other contents of the same file are there, or it is gone already

    def list(self, area: str, under: str = "") -> Iterator[tuple[str, int, datetime]]:
        """See `BlobStore.list`."""
        top = self._folder / area
        ids = (top / digits / id for digits in _names(top) for id in _names(top / digits))
        for path in (folder / name for folder in ids for name in _names(folder)):
            above = THUMBNAILS if path.parent.parent.name == THUMBNAILS else path.parent.name
            key = f"{above}/{path.name}"
            if not key.startswith(under):
                continue
            try:
                state = path.stat()
            except FileNotFoundError:
                continue  # it was removed while the list is read
            yield key, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC)

    def destroy(self, area: str) -> None:
        """See `BlobStore.destroy`."""
        with translated():
            try:
                shutil.rmtree(self._folder / area)
            except FileNotFoundError:
                return

    def ping(self) -> None:
        """See `BlobStore.ping`."""
        if not os.access(self.temporary, os.W_OK):
            raise Unavailable("The folder of the blobs cannot be written")

    def _path(self, area: str, key: str) -> Path:
        """Where a blob lies. Keys are made by the server, never by clients; one that is none of its own has no content.

        :raises NotFound: it is none.
        """
        if not is_key(key):
            raise NotFound("The content is gone")
        first, _, second = key.partition("/")
        if first == THUMBNAILS:  # thousands of one tenant: by the last digits of the file's id
            return self._folder / area / first / second.rpartition("-")[0][-2:] / second
        return self._folder / area / first[-2:] / first / second


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _place(source: Path, target: Path, put: Callable[[Path, Path], None]) -> None:
    """Give a file its name, durably. The folder may vanish meanwhile, when the last other content in it is deleted."""
    for attempt in range(PLACE_TRIES):
        make_folder(target.parent)
        try:
            put(source, target)
        except FileNotFoundError:
            if attempt == PLACE_TRIES - 1 or not source.exists():
                raise
        else:
            sync(target.parent)
            return


def _names(folder: Path) -> list[str]:
    """What is in a folder; nothing when it has gone."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
