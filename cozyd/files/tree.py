"""`Dir`, `File`: names, paths, classes, documents, projection rows (pure; docs/http/files.md, docs/files.md)."""

import mimetypes
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cozyd.documents.store import Doc, Key, Projection, Stored
from cozyd.errors import Invalid
from cozyd.files.blobs import Blob
from cozyd.permissions import FILES

VERSIONS = "io.cozy.files.versions"
TRASH_DIR = "io.cozy.files.trash-dir"
TRASH_NAME = ".cozy_trash"
TRASH_PATH = f"/{TRASH_NAME}"
LONGEST_NAME = 255
DEEPEST = 512
DEFAULT_MIME = "application/octet-stream"
_FORBIDDEN = frozenset("/\x00\n\r")
_TRASH_SUFFIX = re.compile(r" \(\d{9}\)$")
_TYPES = mimetypes.MimeTypes(strict=True)

BY_NAME = "by-parent-type-name"
NAMES = "names"
DISK_USAGE = "disk-usage"
VERSIONS_USAGE = "old-versions-disk-usage"
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


Node = Dir | File


def node_of(stored: Stored) -> Node:
    """A stored document as a folder or file."""
    doc = stored.doc
    if doc.get("type") == "directory":
        return Dir(stored.ref.id, stored.rev, doc.get("dir_id", ""), doc.get("name", ""), doc["path"], stored)
    blob = Blob(f"{stored.ref.id}/{doc.get('internal_vfs_id', '')}", int(doc["size"]), doc["md5sum"])
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

    :raises Invalid: it is relative, or climbs.
    """
    if not path.startswith("/"):
        raise Invalid("Path should be absolute", source="path")
    names = [name for name in path.split("/") if name]
    if any(name in (".", "..") for name in names):
        raise Invalid("The path climbs", source="path")
    return names


def trash_name(name: str, digits: int) -> str:
    """A name in the trash, when the plain one is taken there."""
    return f"{name[: LONGEST_NAME // 2]} ({digits:09d})" if len(name.encode()) > LONGEST_NAME - 12 else f"{name} ({digits:09d})"


def restored_name(name: str) -> str:
    """The name before it went to the trash."""
    return _TRASH_SUFFIX.sub("", name)


def copy_name(name: str, number: int, word: str = "copy") -> str:
    """`a.txt` -> `a (copy).txt`, then `a (copy) (2).txt`."""
    base, dot, extension = name.rpartition(".")
    if not base:
        base, dot, extension = name, "", ""
    count = "" if number < 2 else f" ({number})"
    return f"{base} ({word}){count}{dot}{extension}"


# -- types --------------------------------------------------------------------------------------------------------------


def guess_mime(name: str) -> str:
    """A content type from the extension."""
    if name.lower().endswith(".url"):
        return "application/internet-shortcut"
    return _TYPES.guess_type(name)[0] or DEFAULT_MIME


_CLASS_WORDS: Sequence[tuple[str, Sequence[str]]] = (
    ("pdf", ("application/pdf",)),
    ("shortcut", ("application/internet-shortcut",)),
    ("files", (DEFAULT_MIME,)),
    ("binary", ("diskimage", "msdownload", "x-msdos-program")),
    ("slide", ("presentation", "powerpoint", "keynote")),
    ("spreadsheet", ("spreadsheet", "excel", "numbers")),
    ("text", ("msword", "wordprocessingml", "opendocument.text", "x-iwork-pages", "application/rtf")),
    ("zip", ("zip", "x-rar", "vnd.rar", "x-7z", "gzip", "x-tar", "x-bzip")),
    ("code", ("html", "css", "xml", "javascript", "x-c", "x-go", "x-python", "x-ruby", "x-sh", "application/json")),
)


def class_of(mime: str) -> str:
    """The class a content type belongs to (contract: files.md, section 3)."""
    if mime == "text/x-sh" or mime.startswith(("image/", "audio/", "video/")):
        return mime.split("/", maxsplit=1)[0]
    for name, words in _CLASS_WORDS:
        if any(word in mime for word in words):
            return name
    return mime.split("/", maxsplit=1)[0]


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


# -- projections --------------------------------------------------------------------------------------------------------


def _by_name(stored: Stored) -> Iterable[tuple[Key, Any]]:
    doc = stored.doc
    if not doc.get("dir_id"):
        return ()
    if doc.get("type") == "directory":
        value: Doc = {"mtime": doc.get("updated_at"), "created": doc.get("created_at")}
    else:
        value = {
            "size": int(doc["size"]),
            "mime": doc.get("mime"),
            "mtime": doc.get("updated_at"),
            "created": doc.get("created_at"),
            "md5": doc.get("md5sum"),
            "executable": doc.get("executable") is True,
        }
    if stored.private.get(NOTES):
        value["notes"] = True
    return (((doc["dir_id"], doc["type"], doc["name"]), value),)


def _names(stored: Stored) -> Iterable[tuple[Key, Any]]:
    doc = stored.doc
    return (((doc["dir_id"], same_name(doc["name"])), doc["type"]),) if doc.get("dir_id") else ()


def _disk_usage(stored: Stored) -> Iterable[tuple[Key, Any]]:
    doc = stored.doc
    return (((doc["dir_id"],), int(doc["size"])),) if doc.get("type") == "file" else ()


def _versions_usage(stored: Stored) -> Iterable[tuple[Key, Any]]:
    return (((stored.ref.id,), int(stored.doc["size"])),)


_BY_NAME_VIEW = "function (doc) { if (doc.dir_id) { emit([doc.dir_id, doc.type, doc.name]) } }"
_NAMES_VIEW = "function (doc) { if (doc.dir_id) { emit([doc.dir_id, doc.name]) } }"  # its order has NFC and NFD in one place
_USAGE_VIEW = "function (doc) { if (doc.type === 'file') { emit(doc.dir_id, +doc.size) } }"
_VERSIONS_VIEW = "function (doc) { emit(doc._id, +doc.size) }"

PROJECTIONS = (
    Projection(
        BY_NAME,
        of={FILES: _by_name},
        reads=frozenset(("dir_id", "type", "name", "size", "mime", "updated_at", "created_at", "md5sum", "executable")),
        depth=2,
        view=_BY_NAME_VIEW,
    ),
    Projection(NAMES, of={FILES: _names}, reads=frozenset(("dir_id", "type", "name")), unique=True, depth=0, view=_NAMES_VIEW),
    Projection(
        DISK_USAGE, of={FILES: _disk_usage}, reads=frozenset(("dir_id", "type", "size")), reduce="sum", view=_USAGE_VIEW, scalar=True
    ),
    Projection(
        VERSIONS_USAGE,
        of={VERSIONS: _versions_usage},
        reads=frozenset(("size",)),
        reduce="sum",
        depth=0,
        view=_VERSIONS_VIEW,
        scalar=True,
    ),
)
