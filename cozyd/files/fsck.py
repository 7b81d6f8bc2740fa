"""Compare what the documents say of files with the contents that are there (pure; docs/storage.md).

The names of findings are the reference's, where it has one.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from cozyd.documents.store import Stored
from cozyd.files.blobs import AVATARS
from cozyd.files.thumbnails import file_of
from cozyd.files.tree import TRASH_DIR, TRASH_NAME, TRASH_PATH, internal_id, same_name
from cozyd.permissions import ROOT_DIR

Kind = Literal["directory", "file", "version"]
MENDABLE = frozenset(
    (
        "index_missing_root",
        "index_missing_trash",
        "index_orphan_tree",
        "index_bad_fullpath",
        "index_file_with_path",
        "index_duplicate_name",
        "trashed_not_in_trash",
        "not_trashed_in_trash",
        "conflict_in_index",
        "index_missing",
        "filesystem_missing",
        "file_missing",
        "thumbnail_with_no_file",
        "wrong_usage",
        "document_store",
    )
)
"""What `Checkup` can mend; the others, a content that differs and a document that is none, need a backup or a person."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one document says.

    :param key: of its content; empty for a folder.
    :param path: as stored; folders alone should have one.
    :param md5: base64.
    """

    id: str
    rev: str
    kind: Kind
    parent: str = ""
    name: str = ""
    path: str = ""
    key: str = ""
    size: int = 0
    md5: str = ""
    trashed: bool = False
    conflicts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    :param id: of the document, or the content's key.
    :param path: where it is, for a person.
    :param about: what was expected or found, by name.
    """

    type: str
    id: str
    path: str = ""
    kind: Kind | Literal["content", "store"] = "file"
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def mendable(self) -> bool:
        """Whether something can be done about it here."""
        return self.type in MENDABLE


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a tenant's files.

    :param unreadable: ids of documents that are neither folder nor file nor version.
    :param contents: key -> size and time.
    :param usage: what the totals say that files and old versions take; None: documents changed while they were read.
    :param old: contents sealed after this time may have a document soon.
    """

    entries: Mapping[str, Entry]
    versions: Mapping[str, Entry]
    unreadable: Sequence[str]
    contents: Mapping[str, tuple[int, datetime]]
    usage: tuple[int, int] | None
    old: datetime


def entry_of(stored: Stored, kind: Kind | None = None, conflicts: Sequence[str] = ()) -> Entry | None:
    """What a document says; None: it is none of ours."""
    doc = stored.doc
    kind = kind or doc.get("type")
    try:
        if kind == "directory":
            parent, path = str(doc.get("dir_id", "")), str(doc["path"])
            return Entry(stored.ref.id, stored.rev, "directory", parent, str(doc.get("name", "")), path, conflicts=conflicts)
        size, md5 = int(doc["size"]), str(doc["md5sum"])
        if kind == "version":
            return Entry(stored.ref.id, stored.rev, "version", key=stored.ref.id, size=size, md5=md5, conflicts=conflicts)
        key = f"{stored.ref.id}/{internal_id(doc)}"
        place = {"parent": str(doc["dir_id"]), "name": str(doc["name"]), "path": str(doc.get("path", ""))}
        trashed = doc.get("trashed") is True
        return Entry(stored.ref.id, stored.rev, "file", **place, key=key, size=size, md5=md5, trashed=trashed, conflicts=conflicts)
    except (KeyError, ValueError, TypeError):
        return None


class _Paths:
    """Where each entry is, by names and parents alone."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._known: dict[str, str | None] = {ROOT_DIR: "/", TRASH_DIR: TRASH_PATH}

    def of(self, entry: Entry) -> str | None:
        """An entry's path; None: it hangs on nothing, or on itself."""
        if entry.kind == "directory":
            return self._dir(entry.id)
        above = self._dir(entry.parent)
        return None if above is None else f"{above.rstrip('/')}/{entry.name}"

    def _dir(self, id: str) -> str | None:
        chain: list[str] = []
        while id not in self._known:
            entry = self._entries.get(id)
            if entry is None or entry.kind != "directory" or id in chain:
                self._known |= dict.fromkeys([*chain, id])
                break
            chain.append(id)
            id = entry.parent
        above = self._known[id]
        for below in reversed(chain):
            if below in self._known:
                above = self._known[below]
                continue
            above = None if above is None else f"{above.rstrip('/')}/{self._entries[below].name}"
            self._known[below] = above
        return self._known[chain[0]] if chain else above


def compare(look: Look) -> list[Finding]:
    """All findings of a look but those that need the contents to be read."""
    paths = _Paths(look.entries)
    found = [Finding("index_bad_document", id) for id in look.unreadable]
    found += _missing_tops(look.entries)
    for entry in look.entries.values():
        found += _placed(entry, paths)
        if entry.conflicts:
            found.append(Finding("conflict_in_index", entry.id, paths.of(entry) or "", entry.kind, {"conflicts": list(entry.conflicts)}))
    found += _twins(look.entries.values(), paths)
    found += _contents(look, paths)
    found += _usage(look)
    return found


def _missing_tops(entries: Mapping[str, Entry]) -> Iterator[Finding]:
    for id, path, type in ((ROOT_DIR, "/", "index_missing_root"), (TRASH_DIR, TRASH_PATH, "index_missing_trash")):
        if id not in entries:
            yield Finding(type, id, path, "directory")


def _placed(entry: Entry, paths: _Paths) -> Iterator[Finding]:
    """Whether an entry hangs on the root, and says itself where it is."""
    path = paths.of(entry)
    if path is None or (not entry.parent and entry.id not in (ROOT_DIR, TRASH_DIR)):
        yield Finding("index_orphan_tree", entry.id, entry.path or entry.name, entry.kind, {"parent": entry.parent})
        return
    if entry.kind == "directory" and entry.path != path:
        yield Finding("index_bad_fullpath", entry.id, entry.path, "directory", {"expected_fullpath": path})
    if entry.kind == "file":
        if entry.path:
            yield Finding("index_file_with_path", entry.id, path)
        in_trash = path.startswith(TRASH_PATH + "/")
        if entry.trashed != in_trash:
            yield Finding("not_trashed_in_trash" if in_trash else "trashed_not_in_trash", entry.id, path, about={"trashed": in_trash})


def _twins(entries: Iterable[Entry], paths: _Paths) -> Iterator[Finding]:
    """All but the first of those with one name in one folder."""
    named: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.parent:
            named[entry.parent, same_name(entry.name)].append(entry)
    for same in named.values():
        for entry in sorted(same, key=lambda one: (one.name != TRASH_NAME, one.id))[1:]:
            yield Finding("index_duplicate_name", entry.id, paths.of(entry) or entry.name, entry.kind)


def _contents(look: Look, paths: _Paths) -> Iterator[Finding]:
    named = {entry.key: entry for entry in (*look.versions.values(), *look.entries.values()) if entry.key}
    for version in look.versions.values():
        file = look.entries.get(version.id.partition("/")[0])
        if file is None or file.kind != "file":
            yield Finding("file_missing", version.id, kind="version")
    for key, entry in named.items():
        path = "" if entry.kind == "version" else paths.of(entry) or entry.name
        if key not in look.contents:
            yield Finding("filesystem_missing", entry.id, path, entry.kind, {"size": entry.size, "md5sum": entry.md5})
        elif look.contents[key][0] != entry.size:
            yield mismatch(entry, path, look.contents[key][0], "")
    for key, (size, time) in look.contents.items():
        pictured = look.entries.get(file_of(key))
        if file_of(key) and (pictured is None or pictured.kind != "file") and time < look.old:
            yield Finding("thumbnail_with_no_file", key, kind="content", about={"size": size})
        elif key not in named and time < look.old and not file_of(key) and not key.startswith(f"{AVATARS}/"):
            yield Finding("index_missing", key, kind="content", about={"size": size})


def mismatch(entry: Entry, path: str, size: int, md5: str) -> Finding:
    """A content that is not what its document says.

    :param size: bytes that are there.
    :param md5: base64 of what is there; empty: not read.
    """
    about = {"size_index": entry.size, "size_file": size, "md5sum_index": entry.md5, "md5sum_file": md5}
    return Finding("content_mismatch", entry.id, path, entry.kind, {"content_mismatch": about})


def _usage(look: Look) -> Iterator[Finding]:
    """Whether the totals that the quota is compared with are those of the documents."""
    counted = (
        sum(entry.size for entry in look.entries.values() if entry.kind == "file"),
        sum(version.size for version in look.versions.values()),
    )
    if look.usage is not None and counted != look.usage:
        yield Finding("wrong_usage", "disk-usage", kind="store", about={"counted": list(counted), "noted": list(look.usage)})
