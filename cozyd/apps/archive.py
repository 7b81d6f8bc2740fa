"""Archives and folders of apps -> plain files below a folder of ours, within limits.

Only regular files are taken. A link, a device, an absolute name or one that climbs is refused, and so is what is too large,
has too many entries or unpacks to far more than it is: nothing of such an archive stays.
"""

import gzip
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from cozyd.errors import BadRequest, TooLarge

MOST_ENTRIES = 20_000
LARGEST_FILE = 64 << 20
LARGEST_WHOLE = 256 << 20
LARGEST_ARCHIVE = 64 << 20
MOST_TIMES = 200
"""How many times its own size an archive may unpack to, once it passes `FREE_SIZE`."""
FREE_SIZE = 8 << 20
LONGEST_NAME, DEEPEST = 500, 32
LEFT_OUT = frozenset((".git", ".hg", "node_modules"))
PIECE = 1 << 18
MANIFESTS = ("manifest.webapp", "manifest.konnector")


@dataclass(slots=True)
class Budget:
    """What may still be unpacked.

    :param packed: the archive's own size in bytes; 0: there is none.
    """

    packed: int = 0
    entries: int = 0
    bytes: int = 0

    def entry(self) -> None:
        """Count an entry.

        :raises TooLarge: there are too many.
        """
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            raise TooLarge(f"The app has more than {MOST_ENTRIES} files")

    def take(self, size: int) -> None:
        """Count bytes.

        :raises TooLarge: there are too many, or far more than the archive has.
        """
        self.bytes += size
        if self.bytes > LARGEST_WHOLE:
            raise TooLarge(f"The app has more than {LARGEST_WHOLE >> 20} MiB")
        if self.packed and self.bytes > max(FREE_SIZE, self.packed * MOST_TIMES):
            raise TooLarge("The archive unpacks to far more than it is")


def unpack(archive: Path, target: Path, *, prefix: str | None = None) -> None:
    """Write the files of a tar archive, packed with gzip or not, below a folder.

    :param prefix: what is stripped from names, and what is not below it left out; None: the folder of the manifest.
    :raises BadRequest, TooLarge: it is no archive, or one that is not taken.
    """
    budget = Budget(archive.stat().st_size)
    try:
        with open(archive, "rb") as packed:
            top = _prefix_of(packed, budget) if prefix is None else check_parts(prefix)
            packed.seek(0)
            for member, content in _members(packed, Budget(budget.packed)):
                parts = check_parts(member.name)
                if parts[: len(top)] == top and len(parts) > len(top) and not LEFT_OUT & set(parts):
                    _write(target.joinpath(*parts[len(top) :]), content)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as cause:
        raise BadRequest("The archive cannot be read") from cause
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as cause:
        raise BadRequest("Two entries of the archive cannot both be") from cause


def copy(source: Path, target: Path) -> None:
    """Take the files of a folder; links in it are refused.

    :raises BadRequest, TooLarge: it is none, or one that is not taken.
    """
    if not source.is_dir():
        raise BadRequest("The source is no folder")
    budget = Budget()
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        here = Path(folder)
        for name in [*folders, *names]:
            if (here / name).is_symlink():
                raise BadRequest(f"The app has a link, {name[:100]}")
        for name in sorted(names):
            budget.entry()
            parts = check_parts(str((here / name).relative_to(source)))
            with open(here / name, "rb") as file:
                _write(target.joinpath(*parts), _counted(file, budget))


def pack(folder: Path, out: IO[bytes], *, level: int = 9) -> None:
    """Write a folder as tar.gz; the same files give the same bytes.

    :param level: how hard it is packed, 1 to 9.
    """
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=level, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(str(path.relative_to(folder)))
            member.size, member.mode = path.stat().st_size, 0o640
            with path.open("rb") as file:
                tar.addfile(member, file)


def read_manifest(archive: Path) -> tuple[bytes, str]:
    """The manifest of a tar archive, and the folder it is in.

    :raises BadRequest, TooLarge: there is none, or the archive is not taken.
    """
    try:
        with open(archive, "rb") as packed:
            for member, content in _members(packed, Budget(archive.stat().st_size)):
                if PurePosixPath(member.name).name in MANIFESTS:
                    return b"".join(content), str(PurePosixPath(member.name).parent)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as cause:
        raise BadRequest("The archive cannot be read") from cause
    raise BadRequest("The archive has no manifest")


def _prefix_of(packed: IO[bytes], budget: Budget) -> tuple[str, ...]:
    for member, _ in _members(packed, budget):
        if PurePosixPath(member.name).name in MANIFESTS:
            return check_parts(member.name)[:-1]
    return ()


def _members(packed: IO[bytes], budget: Budget) -> Iterator[tuple[tarfile.TarInfo, Iterator[bytes]]]:
    """Regular files one after the other; a content has to be read before the next member."""
    is_packed = packed.read(2) == b"\x1f\x8b"
    packed.seek(0)
    plain = cast(IO[bytes], gzip.GzipFile(fileobj=packed)) if is_packed else packed
    with tarfile.open(fileobj=_Metered(plain, budget), mode="r|") as tar:
        for member in tar:
            budget.entry()
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise BadRequest(f"The archive has an entry that is no plain file, {member.name[:100]}")
            check_parts(member.name)
            if member.size > LARGEST_FILE:
                raise TooLarge(f"A file of the app has more than {LARGEST_FILE >> 20} MiB")
            file = tar.extractfile(member)
            assert file is not None
            yield member, _pieces(file)


class _Metered(io.RawIOBase):
    """What tarfile reads, counted: the bytes of headers too, and of members that are skipped."""

    def __init__(self, plain: IO[bytes], budget: Budget) -> None:
        super().__init__()
        self._plain = plain
        self._budget = budget

    def read(self, size: int = -1) -> bytes:
        data = self._plain.read(min(size, PIECE) if size >= 0 else PIECE)
        self._budget.take(len(data))
        return data


def _pieces(file: Any) -> Iterator[bytes]:
    read: Callable[[], bytes] = lambda: file.read(PIECE)  # noqa: E731
    return iter(read, b"")


def _counted(file: IO[bytes], budget: Budget) -> Iterator[bytes]:
    size = 0
    for piece in _pieces(file):
        budget.take(len(piece))
        size += len(piece)
        if size > LARGEST_FILE:
            raise TooLarge(f"A file of the app has more than {LARGEST_FILE >> 20} MiB")
        yield piece


def check_parts(name: str) -> tuple[str, ...]:
    """The parts of a name in an archive.

    :raises BadRequest: it is absolute, climbs, or is none that a file may have.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    is_odd = name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or not name.isprintable()
    if is_odd or len(name) > LONGEST_NAME or len(parts) > DEEPEST or any(len(part.encode()) > 255 for part in parts):
        raise BadRequest(f"The app has a file whose name is not taken, {name[:100]!r}")
    return parts


def _write(path: Path, content: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path, "xb") as file:
        for piece in content:
            file.write(piece)


@contextmanager
def temporary(packed: bytes) -> Iterator[Path]:
    """An archive in memory, as a file for a moment."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(packed)
        file.flush()
        yield Path(file.name)
