"""Projections of files: the rows that listings, look-ups, quota and references read (pure; docs/files.md)."""

from collections.abc import Iterable
from typing import Any

from cozyd.documents.store import Doc, Key, Projection, Stored
from cozyd.files.tree import NOTES, VERSIONS, same_name
from cozyd.permissions import FILES

BY_NAME = "by-parent-type-name"
NAMES = "names"
DISK_USAGE = "disk-usage"
VERSIONS_USAGE = "old-versions-disk-usage"
PHOTOS_USAGE = "photos-disk-usage"
"""Of the pictures of contacts, which the quota counts too; its rows are those of `cozyd/pim/photos.py`."""
USAGES = (DISK_USAGE, VERSIONS_USAGE, PHOTOS_USAGE)
"""What the quota is compared with, all together."""
REFERENCED = "referenced-by"
REFERENCED_BY_TIME = "referenced-by-sorted-by-datetime"
NOT_SYNCHRONIZED = "not-synchronized-on"


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


def _referenced(stored: Stored) -> Iterable[tuple[Key, Any]]:
    return [((type, id), None) for type, id in _references(stored.doc, "referenced_by")]


def _referenced_by_time(stored: Stored) -> Iterable[tuple[Key, Any]]:
    found = _references(stored.doc, "referenced_by")
    metadata = stored.doc.get("metadata") if found else None
    time = metadata.get("datetime") if isinstance(metadata, dict) else None
    return [((type, id, time if isinstance(time, str) else ""), None) for type, id in found]


def _not_synchronized(stored: Stored) -> Iterable[tuple[Key, Any]]:
    if stored.doc.get("type") != "directory":
        return ()
    return [((type, id), None) for type, id in _references(stored.doc, "not_synchronized_on")]


def _references(doc: Doc, name: str) -> Iterable[tuple[str, str]]:
    return dict.fromkeys((one["type"], one["id"]) for one in doc.get(name) or ())


_BY_NAME_VIEW = "function (doc) { if (doc.dir_id) { emit([doc.dir_id, doc.type, doc.name]) } }"
_NAMES_VIEW = "function (doc) { if (doc.dir_id) { emit([doc.dir_id, doc.name]) } }"  # its order has NFC and NFD in one place
_USAGE_VIEW = "function (doc) { if (doc.type === 'file') { emit(doc.dir_id, +doc.size) } }"
_VERSIONS_VIEW = "function (doc) { emit(doc._id, +doc.size) }"

_REFERENCED_VIEW = "function (doc) { (doc.referenced_by || []).forEach(function (one) { emit([one.type, one.id]) }) }"
_REFERENCED_BY_TIME_VIEW = (
    "function (doc) { var time = (doc.metadata && doc.metadata.datetime) || ''; "
    "(doc.referenced_by || []).forEach(function (one) { emit([one.type, one.id, time]) }) }"
)
_NOT_SYNCHRONIZED_VIEW = (
    "function (doc) { if (doc.type === 'directory') { "
    "(doc.not_synchronized_on || []).forEach(function (one) { emit([one.type, one.id]) }) } }"
)

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
        VERSIONS_USAGE, of={VERSIONS: _versions_usage}, reads=frozenset(("size",)), reduce="sum", depth=0, view=_VERSIONS_VIEW, scalar=True
    ),
    Projection(REFERENCED, of={FILES: _referenced}, reads=frozenset(("referenced_by",)), depth=2, view=_REFERENCED_VIEW),
    Projection(
        REFERENCED_BY_TIME,
        of={FILES: _referenced_by_time},
        reads=frozenset(("referenced_by", "metadata")),
        depth=0,
        view=_REFERENCED_BY_TIME_VIEW,
    ),
    Projection(
        NOT_SYNCHRONIZED,
        of={FILES: _not_synchronized},
        reads=frozenset(("type", "not_synchronized_on")),
        depth=2,
        view=_NOT_SYNCHRONIZED_VIEW,
    ),
)
