"""Where a backup is written: a folder, or a tar file. Entries are written once; the manifest comes last and makes it whole."""

import hashlib
import io
import os
import tarfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from cozyd import jsons
from cozyd.durable import make_folder, sync
from cozyd.errors import BadRequest, Invalid, StorageFull, Unavailable

MANIFEST = "manifest.json"
PIECE = 1 << 20
_PART = ".part"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a backup: bytes, and their MD5 in base64."""

    size: int
    md5: str


class Target(Protocol):
    """A backup being written."""

    entries: dict[str, Entry]

    def has(self, name: str, size: int) -> bool:
        """Whether an entry is there already; one of an earlier backup counts from now on."""

    def add(self, name: str, source: BinaryIO) -> None:
        """Write an entry from a seekable stream."""

    def scratch(self) -> Any:
        """A context manager that gives the name of a file not there yet, beside the target; removed at the end."""

    def take(self, name: str, path: Path) -> None:
        """Write an entry from a file, which may be moved away."""

    def finish(self, head: Mapping[str, Any]) -> None:
        """Write the manifest."""


@contextmanager
def create(path: Path) -> Iterator[Target]:
    """Begin a backup; what was begun is removed when the block fails.

    :raises Invalid: a file that is there and is no `.tar`.
    :raises StorageFull, Unavailable: it cannot be written.
    """
    if path.suffix != ".tar" and path.exists() and not path.is_dir():
        raise Invalid(f"{path} is a file; a backup is a folder, or a file whose name ends in .tar")
    kind = _TarTarget if path.suffix == ".tar" and not path.is_dir() else _FolderTarget
    with translated(path):
        made = kind(path)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """The operating system's errors as ours."""
    try:
        yield
    except OSError as cause:
        if cause.errno == 28:
            raise StorageFull(f"There is no room for {path}") from cause
        raise Unavailable(f"{path} cannot be used: {cause.strerror or cause}") from cause


class _Hashed(io.RawIOBase):
    """A stream that is hashed as it is read."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source = source
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        """As any stream's."""
        piece = self._source.read(PIECE if size < 0 else size)
        self._md5.update(piece)
        self._size += len(piece)
        return piece

    def entry(self) -> Entry:
        """What was read."""
        return Entry(self._size, b64encode(self._md5.digest()).decode())


class _FolderTarget:
    """A folder; entries of the backup before stay until the new manifest is there."""

    def __init__(self, root: Path) -> None:
        make_folder(root)
        self._root = root
        self.entries: dict[str, Entry] = {}
        self._earlier = _earlier(root / MANIFEST)
        for path in root.rglob(f"*{_PART}"):
            path.unlink()

    def has(self, name: str, size: int) -> bool:
        """See `Target.has`."""
        if name not in self.entries:
            known = self._earlier.get(name)
            path = self._root / name
            if known is None or known.size != size or not path.is_file() or path.stat().st_size != size:
                return False
            self.entries[name] = known
        return True

    def add(self, name: str, source: BinaryIO) -> None:
        """See `Target.add`."""
        hashed = _Hashed(source)
        with self._writing(name) as file:
            while piece := hashed.read(PIECE):
                file.write(piece)
        self.entries[name] = hashed.entry()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """See `Target.scratch`."""
        path = self._root / f"documents{_PART}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def take(self, name: str, path: Path) -> None:
        """See `Target.take`."""
        with path.open("rb") as file:
            hashed = _Hashed(file)
            while hashed.read(PIECE):
                continue
            os.fsync(file.fileno())
        path.chmod(0o600)
        path.replace(self._root / name)
        self.entries[name] = hashed.entry()

    def finish(self, head: Mapping[str, Any]) -> None:
        """See `Target.finish`; what the manifest does not name is removed then."""
        for folder in {(self._root / name).parent for name in self.entries}:
            sync(folder)
        with self._writing(MANIFEST) as file:
            file.write(manifest(head, self.entries))
        sync(self._root)
        for name in self._earlier.keys() - self.entries.keys():
            path = self._root / name
            path.unlink(missing_ok=True)
            if path.parent != self._root and not any(path.parent.iterdir()):
                path.parent.rmdir()

    def close(self) -> None:
        """Nothing is open."""

    @contextmanager
    def _writing(self, name: str) -> Iterator[BinaryIO]:
        path = self._root / name
        make_folder(path.parent)
        part = path.with_name(path.name + _PART)
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


class _TarTarget:
    """A tar file, written beside and renamed at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + _PART)
        self._file = open(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")  # noqa: SIM115
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self.entries: dict[str, Entry] = {}

    def has(self, name: str, size: int) -> bool:  # noqa: ARG002
        """See `Target.has`."""
        return name in self.entries

    def add(self, name: str, source: BinaryIO) -> None:
        """See `Target.add`."""
        info = tarfile.TarInfo(name)
        info.size = source.seek(0, os.SEEK_END)
        info.mode = 0o600
        source.seek(0)
        hashed = _Hashed(source)
        self._tar.addfile(info, hashed)
        self.entries[name] = hashed.entry()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """See `Target.scratch`."""
        path = self._path.with_name(f"{self._path.name}.documents{_PART}")
        path.unlink(missing_ok=True)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def take(self, name: str, path: Path) -> None:
        """See `Target.take`."""
        with path.open("rb") as file:
            self.add(name, file)

    def finish(self, head: Mapping[str, Any]) -> None:
        """See `Target.finish`."""
        text = manifest(head, self.entries)
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o600
        self._tar.addfile(info, io.BytesIO(text))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self._path)
        sync(self._path.parent)

    def close(self) -> None:
        """Remove what was not finished."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def md5_of(path: Path) -> str:
    """The MD5 of a file, in base64."""
    with path.open("rb") as file:
        return b64encode(hashlib.file_digest(file, "md5").digest()).decode()


def manifest(head: Mapping[str, Any], entries: Mapping[str, Entry]) -> bytes:
    """The text of a manifest."""
    return jsons.dump({**head, "entries": {name: [entry.size, entry.md5] for name, entry in entries.items()}})


def read_manifest(text: bytes) -> tuple[dict[str, Any], dict[str, Entry]]:
    """Head and entries of a manifest.

    :raises BadRequest: it is none.
    """
    head = jsons.load_object(text)
    try:
        return head, {name: Entry(int(size), str(md5)) for name, (size, md5) in head.pop("entries").items()}
    except (KeyError, AttributeError, TypeError, ValueError) as cause:
        raise BadRequest("it is no manifest") from cause


def _earlier(path: Path) -> dict[str, Entry]:
    try:
        return read_manifest(path.read_bytes())[1]
    except (FileNotFoundError, BadRequest):
        return {}
