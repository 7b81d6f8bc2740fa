"""`Dir`, `File`, `Version`: documents as values; rules of names and paths (pure; docs/files.md)."""

import base64
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cozyd.documents.store import Stored
from cozyd.errors import BadRequest, Invalid
from cozyd.files.blobs import Blob
from cozyd.files.kinds import DEFAULT_MIME

VERSIONS = "io.cozy.files.versions"
TRASH_DIR = "io.cozy.files.trash-dir"
TRASH_NAME = ".cozy_trash"
TRASH_PATH = f"/{TRASH_NAME}"
LONGEST_NAME = 255
LONGEST_EXTENSION = 32
DEEPEST = 512
_FORBIDDEN = frozenset("/\x00\n\r")
_TRASH_SUFFIX = re.compile(r" \(\d{9}\)$")

NOTES = "properties"
"""Member of the private data: what WebDAV clients keep with a folder or file."""


@dataclass(frozen=True, slots=True)
class Dir:
    """A folder.

    :param parent: id of the folder it is in, empty of the root.
    :param path: from the root, no slash at the end but of the root.
    """

    id: str
    rev: str
    parent: str
    name: str
    path: str
    stored: Stored

    @property
    def trashed(self) -> bool:
        """Whether it is the trash or below it."""
        return self.path == TRASH_PATH or self.path.startswith(TRASH_PATH + "/")

    def below(self, name: str) -> str:
        """The path of a child."""
        return f"{self.path.rstrip('/')}/{name}"


@dataclass(frozen=True, slots=True)
class File:
    """A file; its content is a sealed blob."""

    id: str
    rev: str
    parent: str
    name: str
    blob: Blob
    mime: str
    mtime: datetime
    executable: bool
    trashed: bool
    stored: Stored

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is known of its content: `metadata` of the document."""
        found = self.stored.doc.get("metadata")
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Version:
    """An earlier content of a file.

    :param id: `<file id>/<internal id>`, the key of its blob.
    :param kept: when it became a version.
    """

    id: str
    rev: str
    blob: Blob
    mtime: datetime
    kept: datetime
    tags: Sequence[str]
    stored: Stored

    @property
    def file(self) -> str:
        """Id of the file it is of."""
        return self.id.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Reference:
    """A document that points at a folder or file."""

    type: str
    id: str

    @property
    def json(self) -> dict[str, str]:
        """As documents have it."""
        return {"id": self.id, "type": self.type}


Node = Dir | File


def node_of(stored: Stored) -> Node:
    """A stored document as a folder or file."""
    doc = stored.doc
    if doc.get("type") == "directory":
        return Dir(stored.ref.id, stored.rev, doc.get("dir_id", ""), doc.get("name", ""), doc["path"], stored)
    blob = Blob(f"{stored.ref.id}/{internal_id(doc)}", int(doc["size"]), doc["md5sum"])
    return File(
        stored.ref.id,
        stored.rev,
        doc["dir_id"],
        doc["name"],
        blob,
        doc.get("mime", DEFAULT_MIME),
        read_time(doc["updated_at"]),
        doc.get("executable") is True,
        doc.get("trashed") is True,
        stored,
    )


def internal_id(doc: Mapping[str, Any]) -> str:
    """What the key of a file's content ends with. A cozy-stack with a local storage tree names none: there it is its MD5 in hex."""
    try:
        return doc.get("internal_vfs_id") or base64.b64decode(doc["md5sum"], validate=True).hex()
    except (ValueError, TypeError):
        return ""


def version_of(stored: Stored) -> Version:
    """A stored document as an earlier content."""
    doc = stored.doc
    blob = Blob(stored.ref.id, int(doc["size"]), doc["md5sum"])
    kept = (doc.get("cozyMetadata") or {}).get("createdAt", "")
    return Version(stored.ref.id, stored.rev, blob, read_time(doc["updated_at"]), read_time(kept), doc.get("tags") or (), stored)


# -- names --------------------------------------------------------------------------------------------------------------


def check_name(name: str) -> str:
    """A name that a folder or file may have.

    :raises Invalid: empty, `.`, `..`, longer than 255 bytes, or with a slash, NUL or line end.
    """
    if name in ("", ".", "..") or _FORBIDDEN & set(name):
        raise Invalid("Invalid filename: empty or contains an illegal character", source="name")
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        raise Invalid("Invalid filename: longer than 255 bytes", source="name")
    return name


def check_depth(path: str) -> None:
    """:raises Invalid: the path has 512 levels or more."""
    if path.count("/") >= DEEPEST:
        raise Invalid("The path is too deep", source="path")


def same_name(name: str) -> str:
    """What twins are compared by: NFC."""
    return unicodedata.normalize("NFC", name)


def split_path(path: str) -> list[str]:
    """The names along an absolute path.

    :raises BadRequest: it is relative.
    :raises Invalid: it climbs.
    """
    if not path.startswith("/"):
        raise BadRequest("Path should be absolute")
    names = [name for name in path.split("/") if name]
    if any(name in (".", "..") for name in names):
        raise Invalid("The path climbs", source="path")
    return names


def unique_tags(tags: Iterable[str]) -> list[str]:
    """Tags without spaces around them, each once; empty ones are none."""
    return list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))


def trash_name(name: str, digits: int) -> str:
    """A name in the trash, when the plain one is taken there."""
    suffix = f" ({digits:09d})"
    return _cut(name, LONGEST_NAME - len(suffix)) + suffix


def restored_name(name: str) -> str:
    """The name before it went to the trash."""
    return _TRASH_SUFFIX.sub("", name)


def copy_name(name: str, word: str = "copy") -> str:
    """`a.txt` -> `a (copy).txt`; cut where it would be too long."""
    return _before_extension(name, f" ({word})")


def numbered_name(name: str, number: int) -> str:
    """`a.txt` -> `a (2).txt`; cut where it would be too long."""
    return _before_extension(name, f" ({number})")


def fitting_name(name: str) -> str:
    """A name without what names may not have, cut where it would be too long; empty where nothing is left."""
    plain = "".join("_" if char in _FORBIDDEN else char for char in name).strip()
    return _before_extension(plain, "") if plain.strip(".") else ""


def _before_extension(name: str, text: str) -> str:
    base, dot, extension = name.rpartition(".")
    if not base or len(extension.encode()) > LONGEST_EXTENSION:
        base, dot, extension = name, "", ""
    tail = text + dot + extension
    return _cut(base, LONGEST_NAME - len(tail.encode())) + tail


def _cut(name: str, size: int) -> str:
    """As much of a name as has so many bytes, characters whole."""
    return name.encode("utf-8", "surrogatepass")[:size].decode("utf-8", "ignore")


def climb(path: str) -> Iterator[str]:
    """The paths above a path, the nearest first, the root last."""
    while path.rstrip("/"):
        path = path.rstrip("/").rpartition("/")[0]
        yield path or "/"


# -- times --------------------------------------------------------------------------------------------------------------


def write_time(time: datetime) -> str:
    """A time as documents have it."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_time(text: str) -> datetime:
    """A document's time; an unreadable one is the epoch."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def write_moment(time: datetime) -> str:
    """A moment that a client told, in UTC, to the digit she told it: `.345`, not `.345000`."""
    text = time.astimezone(UTC).isoformat().removesuffix("+00:00")
    return f"{text.rstrip('0') if '.' in text else text}Z"


def read_moment(text: str) -> datetime | None:
    """A moment that a client tells, RFC 3339 with its zone, between the years 1 and 9999; None: it is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
