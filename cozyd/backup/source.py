"""A backup being read: a folder or a tar file with a whole manifest."""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from cozyd.backup.target import MANIFEST, Entry, read_manifest, translated
from cozyd.errors import BadRequest, Invalid


class Source(Protocol):
    """An open backup."""

    head: dict[str, Any]
    entries: dict[str, Entry]

    def open(self, name: str) -> BinaryIO:
        """The bytes of an entry."""

    def as_file(self, name: str) -> AbstractContextManager[Path]:
        """An entry as a file, to be read only."""


@contextmanager
def open_backup(path: Path, temporary: Path) -> Iterator[Source]:
    """Open a backup and compare it with its manifest: names and sizes.

    :param temporary: a folder for what has to lie in a file of its own.
    :raises Invalid: it is none, or not whole.
    :raises Unavailable: it cannot be read.
    """
    with translated(path):
        if path.is_dir():
            yield _FolderSource(path)
            return
        try:
            tar = tarfile.open(path, "r:")  # noqa: SIM115
        except tarfile.TarError as cause:
            raise Invalid(f"{path} is no backup") from cause
        with tar:
            yield _TarSource(path, tar, temporary)


class _FolderSource:
    """A folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            self.head, self.entries = read_manifest((root / MANIFEST).read_bytes())
        except (FileNotFoundError, BadRequest) as cause:
            raise Invalid(f"{root} is no whole backup: it has no manifest") from cause
        for name, entry in self.entries.items():
            path = root / name
            if ".." in Path(name).parts or not path.is_file() or path.stat().st_size != entry.size:
                raise Invalid(f"The backup is damaged: {name} is missing or has another size")

    def open(self, name: str) -> BinaryIO:
        """See `Source.open`."""
        return (self._root / name).open("rb")

    @contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        """See `Source.as_file`."""
        yield self._root / name


class _TarSource:
    """A tar file."""

    def __init__(self, path: Path, tar: tarfile.TarFile, temporary: Path) -> None:
        self._tar = tar
        self._temporary = temporary
        try:
            self._members = {member.name: member for member in tar.getmembers() if member.isfile()}
            text = cast(BinaryIO, tar.extractfile(self._members[MANIFEST])).read()
            self.head, self.entries = read_manifest(text)
        except (tarfile.TarError, KeyError, BadRequest) as cause:
            raise Invalid(f"{path} is no whole backup: it has no manifest") from cause
        for name, entry in self.entries.items():
            if name not in self._members or self._members[name].size != entry.size:
                raise Invalid(f"The backup is damaged: {name} is missing or has another size")

    def open(self, name: str) -> BinaryIO:
        """See `Source.open`."""
        return cast(BinaryIO, self._tar.extractfile(self._members[name]))

    @contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        """See `Source.as_file`."""
        with tempfile.NamedTemporaryFile(dir=self._temporary) as file, self.open(name) as content:
            shutil.copyfileobj(content, file)
            file.flush()
            yield Path(file.name)
