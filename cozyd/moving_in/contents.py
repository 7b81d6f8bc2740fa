"""`Contents` port: where the bytes of a cozy-stack's files are: a local storage tree, or Swift (contract of storage: docs/storage.md)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from cozyd.errors import NotFound
from cozyd.files.blobs import AVATAR_BROUGHT, AVATARS, THUMBNAILS, BlobStore
from cozyd.files.thumbnails import FORMATS, key_of
from cozyd.files.tree import TRASH_NAME

VERSIONS_FOLDER = ".cozy_versions"
THUMBNAILS_FOLDER = ".thumbs"
AVATAR_PATH = f"{THUMBNAILS_FOLDER}/avatar"
SHARD = 4
"""How many characters of an id are a folder of their own in the local layout."""


@dataclass(frozen=True, slots=True)
class Content:
    """One content that documents name.

    :param key: its key in our blob store: `<file id>/<internal id>`.
    :param path: where a local tree has it, from the instance's folder; empty of an earlier content.
    :param size: bytes. :param md5: base64; empty: no document says.
    """

    key: str
    path: str
    size: int
    md5: str = ""

    @property
    def name(self) -> str:
        """What people are told it is."""
        return self.path or f"the earlier content {self.key}"


class Contents(Protocol):
    """The contents of one instance, read only."""

    def open(self, content: Content) -> BinaryIO:
        """Its bytes.

        :raises NotFound: it is not there.
        """

    def file(self, content: Content) -> Path | None:
        """The file of this machine that has it, where there is one."""

    def pictures(self) -> Iterator[Content]:
        """What no document names: thumbnails of files, and the owner's picture."""


class StorageTree:
    """A local storage tree of a cozy-stack: real names, earlier contents and thumbnails in folders of their own.

    :param folder: of the instance: `<fs.url>/<domain>`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, content: Content) -> BinaryIO:
        """See `Contents.open`."""
        try:
            return open(self.file(content), "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as cause:
            raise NotFound(f"{content.name} is not in {self.folder}") from cause

    def file(self, content: Content) -> Path:
        """See `Contents.file`."""
        if content.path:
            return self.folder / content.path.lstrip("/")
        id, _, internal = content.key.partition("/")
        return self.folder / VERSIONS_FOLDER / id[:SHARD] / id[SHARD:] / internal

    def pictures(self) -> Iterator[Content]:
        """See `Contents.pictures`."""
        avatar = self.folder / AVATAR_PATH
        if avatar.is_file():
            yield Content(AVATAR_BROUGHT, f"/{AVATAR_PATH}", avatar.stat().st_size)
        for path in sorted((self.folder / THUMBNAILS_FOLDER).glob("*/*-*.jpg")):
            id, _, format = path.stem.rpartition("-")
            if format in FORMATS:
                yield Content(key_of(id, format), f"/{path.relative_to(self.folder)}", path.stat().st_size)


def find_tree(storage: Path, domain: str) -> StorageTree | None:
    """The tree of an instance below the folder of a cozy-stack's storage, or that folder when it is the tree itself."""
    if (storage / domain).is_dir():
        return StorageTree(storage / domain)
    return StorageTree(storage) if (storage / TRASH_NAME).is_dir() else None


class SwiftContainer:
    """An instance's container in Swift, whose layout is ours too.

    :param blobs: the Swift of the cozy-stack.
    :param area: the instance's prefix.
    """

    def __init__(self, blobs: BlobStore, area: str) -> None:
        self._blobs = blobs
        self._area = area

    def open(self, content: Content) -> BinaryIO:
        """See `Contents.open`."""
        return self._blobs.open(self._area, content.key)

    def file(self, content: Content) -> Path | None:  # noqa: ARG002
        """See `Contents.file`."""
        return None

    def pictures(self) -> Iterator[Content]:
        """See `Contents.pictures`."""
        for folder in (THUMBNAILS, AVATARS):
            for key, size, _ in self._blobs.list(self._area, f"{folder}/"):
                yield Content(key, "", size)
