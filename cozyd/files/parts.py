"""Contents that come in several requests: what has come lies in a file that outlives the process (docs/http/uploads.md).

`<folder>/<tenant>/<upload>/info` says what it will be, `part` has the bytes, `lock` is held by whoever writes. Nothing is
written twice: bodies go straight into `part`, and `part` becomes the content.
"""

import fcntl
import hashlib
import io
import os
import re
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, BinaryIO, Self, cast

from cozyd import jsons
from cozyd.durable import sync
from cozyd.errors import ChecksumMismatch, CozyError, Locked, NotFound, TooLarge
from cozyd.files.blobs import PIECE
from cozyd.files.spool import Spool, translated

KEPT = timedelta(days=7)
"""How long an upload waits for its next bytes, and a finished one tells that it is."""
HASHES_KEPT = 1000
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Info:
    """What an upload will be.

    :param key: of its content.
    :param length: bytes in the end.
    :param dir_id: the folder it is for. :param replaces: the file whose next content it is, or empty.
    :param fields: members of the document. :param told: what the client said of it, given back as it came.
    :param md5: base64, once it is whole. :param file: the id of its file, once there is one.
    """

    id: str
    key: str
    length: int
    dir_id: str
    name: str
    replaces: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    told: str = ""
    md5: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one request have to be.

    :param algorithm: one of `ALGORITHMS`.
    :param digest: of that algorithm.
    """

    algorithm: str
    digest: bytes


ALGORITHMS = ("md5", "sha1", "sha256")


class _Hashes:
    """The MD5 of what has come of recent uploads, so that it need not be read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Path, tuple[int, Any]] = OrderedDict()

    def take(self, path: Path, size: int) -> Any:
        """The hash of the first `size` bytes of a file, which are read unless they went through here."""
        with self._lock:
            known = self._known.pop(path, None)
        if known is not None and known[0] == size:
            return known[1]
        md5 = hashlib.md5(usedforsecurity=False)
        with open(path, "rb") as file:
            while piece := file.read(PIECE):
                md5.update(piece)
        return md5

    def keep(self, path: Path, size: int, md5: Any) -> None:
        """Remember a hash."""
        with self._lock:
            self._known[path] = (size, md5)
            if len(self._known) > HASHES_KEPT:
                self._known.popitem(last=False)


class _Whole(Spool):
    """A whole part, as a blob takes it: it is not a temporary file, closing it removes nothing."""

    def __init__(self, path: Path, size: int, md5: Any) -> None:
        io.RawIOBase.__init__(self)
        self.path = path
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._md5 = md5
        self.size = size

    def close(self) -> None:
        """Give the descriptor up."""
        self._file.close()
        io.RawIOBase.close(self)


class Part:
    """An upload that one request writes to; nobody else does meanwhile. It is the buffer that the server receives a body into.

    :param folder: of the upload.
    :raises Locked: another request writes to it.
    """

    def __init__(self, folder: Path, info: Info, hashes: _Hashes) -> None:
        self.info = info
        self._folder, self._hashes = folder, hashes
        self.path = folder / "part"
        self._lock = _locked(folder / "lock")
        self._file: IO[bytes] | None = None
        self._checksum: Checksum | None = None
        self._own: Any = None
        self.size = self.began_at = self.path.stat().st_size if self.path.exists() else info.length

    @property
    def is_whole(self) -> bool:
        """Whether all has come."""
        return self.size == self.info.length

    def expect(self, checksum: Checksum | None) -> None:
        """What the bytes that come now have to be."""
        self._checksum = checksum
        self._own = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum is not None else None

    def append(self, data: bytes) -> None:
        """Add bytes that came.

        :raises TooLarge: more than were announced.
        :raises StorageFull: there is no room for them.
        """
        if self.size + len(data) > self.info.length:
            raise TooLarge("More bytes came than were announced")
        with translated():
            if self._file is None:
                self._md5 = self._hashes.take(self.path, self.size)
                self._before = self._md5.copy()
                self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
            written = 0
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        self._md5.update(data)
        if self._own is not None:
            self._own.update(data)
        self.size += len(data)

    def fill(self, source: BinaryIO) -> None:
        """Add all of a stream."""
        while piece := source.read(PIECE):
            self.append(piece)

    def accept(self) -> None:
        """The body has come whole: it is on the disk when this returns.

        :raises ChecksumMismatch: it is not what it was said to be; none of it is kept.
        """
        if self._checksum is not None and self._own.digest() != self._checksum.digest:
            raise ChecksumMismatch("The bytes are not those of the checksum")
        self._checksum = None
        if self._file is not None:
            with translated():
                os.fsync(self._file.fileno())

    def whole(self) -> Spool:
        """All of it, as a blob takes it."""
        md5 = self._hashes.take(self.path, self.size)
        self._hashes.keep(self.path, self.size, md5)
        return _Whole(self.path, self.size, md5)

    def save(self, **changes: Any) -> None:
        """Note something about it, durably."""
        self.info = replace(self.info, **changes)
        write_info(self._folder, self.info)

    def forget(self) -> None:
        """Remove it with all that came."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def getfile(self) -> Self:
        """As the server asks of a body's buffer."""
        return self

    def read(self, _count: int = -1) -> bytes:
        """Nothing: what came is where it belongs already."""
        return b""

    def seek(self, _offset: int) -> int:
        """As of an empty stream."""
        return 0

    def __len__(self) -> int:
        return self.size - self.began_at

    def __bool__(self) -> bool:
        return True

    def close(self) -> None:
        """Let others write. What came without its promised checksum being compared is not kept, all else is."""
        if self._file is not None:
            if self._checksum is not None:
                os.ftruncate(self._file.fileno(), self.began_at)
                self._hashes.keep(self.path, self.began_at, self._before)
            else:
                self._hashes.keep(self.path, self.size, self._md5)
            self._file.close()
            self._file = None
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Parts:
    """All uploads of one tenant.

    :param folder: hers.
    """

    def __init__(self, folder: Path, now: Any) -> None:
        self._folder, self._now = folder, now
        self._hashes = _Hashes()

    def create(self, info: Info) -> Part:
        """Begin an upload, and open it."""
        folder = self._folder / info.id
        with translated():
            folder.mkdir(parents=True, mode=0o700)
            for name in ("lock", "part"):
                (folder / name).touch(mode=0o600)
            write_info(folder, info)
            sync(self._folder)
        return Part(folder, info, self._hashes)

    def info(self, id: str) -> Info:
        """What an upload will be.

        :raises NotFound: there is none, or it has run out.
        """
        folder = self._at(id)
        if expires(folder) < self._now():
            raise NotFound("The upload has run out")
        return read_info(folder)

    def open(self, id: str) -> Part:
        """Open an upload to write to it.

        :raises NotFound: there is none.
        :raises Locked: another request writes to it.
        """
        self.info(id)
        folder = self._at(id)
        part = Part(folder, read_info(folder), self._hashes)
        if not folder.is_dir():
            part.close()
            raise NotFound("There is no such upload")
        part.info = read_info(folder)
        return part

    def offset(self, info: Info) -> int:
        """How many bytes of it have come."""
        path = self._folder / info.id / "part"
        try:
            return info.length if info.file else path.stat().st_size
        except FileNotFoundError:
            return info.length

    def expires(self, id: str) -> datetime:
        """When it is given up unless more comes."""
        return expires(self._at(id))

    def reserved(self) -> tuple[int, int]:
        """How many uploads are under way, and the bytes they will have."""
        found = [info for info in self._all() if not info.file]
        return len(found), sum(info.length for info in found)

    def _all(self) -> Iterator[Info]:
        for folder in _folders(self._folder):
            try:
                if expires(folder) >= self._now():
                    yield read_info(folder)
            except NotFound:
                continue

    def _at(self, id: str) -> Path:
        """:raises NotFound: there is none."""
        folder = self._folder / id
        if not _ID.fullmatch(id) or not (folder / "info").is_file():
            raise NotFound("There is no such upload")
        return folder


def new_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_hex(16)


def expires(folder: Path) -> datetime:
    """When an upload is given up: so long after the last byte, or after its end."""
    for name in ("part", "info"):
        try:
            return datetime.fromtimestamp((folder / name).stat().st_mtime, UTC) + KEPT
        except FileNotFoundError:
            continue
    raise NotFound("There is no such upload")


def collect(folder: Path, now: datetime) -> int:
    """Remove the uploads of all tenants that have run out; how many.

    :param folder: has a folder for each tenant.
    """
    removed = 0
    for upload in (one for tenant in _folders(folder) for one in _folders(tenant)):
        try:
            if expires(upload) >= now:
                continue
            with _locked(upload / "lock"):
                shutil.rmtree(upload, ignore_errors=True)
        except (CozyError, OSError):
            continue  # somebody writes to it, or it has gone
        removed += 1
    return removed


def read_info(folder: Path) -> Info:
    """What an upload's folder says.

    :raises NotFound: nothing.
    """
    try:
        return Info(**jsons.load_object((folder / "info").read_bytes()))
    except (OSError, TypeError, CozyError) as cause:
        raise NotFound("There is no such upload") from cause


def write_info(folder: Path, info: Info) -> None:
    """Have an upload's folder say it, all or nothing."""
    fresh = folder / "info.new"
    with translated():
        with open(fresh, "wb") as file:
            file.write(jsons.dump(asdict(info)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, folder / "info")
        sync(folder)


def _folders(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    except FileNotFoundError:
        return []


def _locked(path: Path) -> IO[bytes]:
    """Hold a lock that the kernel frees with its owner.

    :raises Locked: somebody has it.
    :raises NotFound: there is none.
    """
    try:
        with translated():
            held = open(path, "rb+")  # noqa: SIM115
    except FileNotFoundError as cause:
        raise NotFound("There is no such upload") from cause
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        held.close()
        raise Locked("Another request sends to this upload", retry_after=1) from cause
    return cast(IO[bytes], held)
