"""Apps that are being developed: served from their folder as it is at the moment (`cozyd serve --appdir slug:folder`)."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from cozyd.apps.archive import LEFT_OUT
from cozyd.apps.bundles import Bundle, Coding, Entry, type_of


class FolderBundle(Bundle):
    """The files of a folder, looked at anew for each request.

    :ivar digest: changes whenever a file does.
    """

    def path(self, name: str, coding: Coding = "") -> str:  # noqa: ARG002  # nothing is packed here
        """See `Bundle.path`."""
        return f"{self.folder}/{name}"


def bundle_of(folder: Path) -> FolderBundle:
    """A folder's files at this moment."""
    entries = dict(_entries(folder))
    digest = hashlib.sha256(repr(sorted((name, entry.hash) for name, entry in entries.items())).encode()).hexdigest()
    return FolderBundle(digest, folder, entries)


def _entries(folder: Path) -> Iterator[tuple[str, Entry]]:
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink() or not path.is_file() or LEFT_OUT & set(path.relative_to(folder).parts):
            continue
        state = path.stat()
        mark = hashlib.sha256(f"{name}\0{state.st_mtime_ns}\0{state.st_size}".encode()).hexdigest()[:32]
        sizes: Mapping[str, int] = {"": state.st_size}
        yield name, Entry(mark, type_of(name), sizes)


def parse_option(text: str) -> tuple[str, Path]:
    """`slug:folder` of the command line.

    :raises ValueError: it is none.
    """
    slug, colon, folder = text.partition(":")
    if not colon or not slug or not Path(folder).is_dir():
        raise ValueError(f"{text!r} is no slug:folder")
    return slug, Path(folder).absolute()
