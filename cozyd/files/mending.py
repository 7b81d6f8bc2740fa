"""`Mender`: what is done about each kind of finding, under the lock of the tenant's files."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import NotFound
from cozyd.files import tree
from cozyd.files.contents import Contents
from cozyd.files.fsck import Finding
from cozyd.files.rows import NAMES
from cozyd.files.thumbnails import file_of
from cozyd.files.tree import TRASH_DIR, TRASH_NAME, VERSIONS, internal_id, write_time
from cozyd.locks import Locks
from cozyd.permissions import FILES, ROOT_DIR

LOST = "Lost and found"


class Mender:
    """One tenant's. Each commit names the revision it looked at, so that what changes meanwhile is left alone."""

    def __init__(
        self,
        docs: Documents,
        contents: Contents,
        area: str,
        locks: Locks,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._docs, self._contents, self._area, self._locks = docs, contents, area, locks
        self._now, self._new_id = now, new_id
        self._by_type: dict[str, Callable[[Finding], None]] = {
            "index_missing_root": self._make_top,
            "index_missing_trash": self._make_top,
            "index_orphan_tree": self._hang_up,
            "index_bad_fullpath": lambda found: self._patch(found, path=found.about["expected_fullpath"]),
            "index_file_with_path": lambda found: self._patch(found, path=...),
            "index_duplicate_name": self._rename,
            "trashed_not_in_trash": lambda found: self._patch(found, trashed=False),
            "not_trashed_in_trash": lambda found: self._patch(found, trashed=True),
            "conflict_in_index": self._end_conflicts,
            "index_missing": self._drop_content,
            "filesystem_missing": self._without_content,
            "file_missing": self._drop_version,
            "thumbnail_with_no_file": self._drop_thumbnail,
            "wrong_usage": lambda _: self._docs.tidy(),
            "document_store": lambda _: self._docs.tidy(),
        }

    def mend(self, finding: Finding) -> None:
        """Do what can be done about a finding.

        :raises Conflict: it changed meanwhile.
        """
        with self._locks.hold(f"files/{self._area}", wait=30):
            self._by_type[finding.type](finding)

    # -- documents --------------------------------------------------------------------------------------------------

    def _find(self, doctype: str, id: str) -> Stored | None:
        try:
            return self._docs.get(Ref(doctype, id))
        except NotFound:
            return None

    def _patch(self, finding: Finding, **fields: Any) -> None:
        stored = self._find(FILES, finding.id)
        if stored is not None:
            self._docs.commit([Write(stored.ref, patch=fields, rev=stored.rev)])

    def _make_top(self, finding: Finding) -> None:
        now = write_time(self._now())
        body: Doc = {"type": "directory", "path": finding.path, "created_at": now, "updated_at": now}
        if finding.id == TRASH_DIR:
            body |= {"name": TRASH_NAME, "dir_id": ROOT_DIR}
        self._docs.commit([Write(Ref(FILES, finding.id), body=body)])

    def _hang_up(self, finding: Finding) -> None:
        """Put what hangs on nothing into a folder of its own in the root."""
        stored = self._find(FILES, finding.id)
        if stored is None or self._hangs(stored):
            return
        lost = self._lost()
        name = self._free_name(lost, str(stored.doc.get("name") or stored.ref.id))
        fields: dict[str, Any] = {"dir_id": lost, "name": name}
        if stored.doc.get("type") == "directory":
            fields["path"] = f"/{LOST}/{name}"
        self._docs.commit([Write(stored.ref, patch=fields, rev=stored.rev)])

    def _hangs(self, stored: Stored) -> bool:
        """Whether a way leads from it to the root, as it may once another of its ring was hung up."""
        seen: set[str] = set()
        at: Stored | None = stored
        while at is not None and at.ref.id not in seen:
            if at.ref.id == ROOT_DIR:
                return True
            seen.add(at.ref.id)
            at = self._find(FILES, at.doc.get("dir_id") or "-")
            if at is not None and at.doc.get("type") != "directory":
                return False
        return False

    def _lost(self) -> str:
        """The folder for what hangs on nothing."""
        rows = self._docs.rows(NAMES, (ROOT_DIR, LOST), limit=1)
        if rows and rows[0].value == "directory":
            return rows[0].ref.id
        now = write_time(self._now())
        name = self._free_name(ROOT_DIR, LOST)
        body = {"type": "directory", "name": name, "dir_id": ROOT_DIR, "path": f"/{name}", "created_at": now, "updated_at": now}
        id = self._new_id()
        self._docs.commit([Write(Ref(FILES, id), body=body)])
        return id

    def _free_name(self, home: str, name: str) -> str:
        number, wanted = 1, name
        while self._docs.rows(NAMES, (home, tree.same_name(wanted)), limit=1):
            number += 1
            wanted = tree.numbered_name(tree.copy_name(name, "found again"), number)
        return wanted

    def _rename(self, finding: Finding) -> None:
        stored = self._find(FILES, finding.id)
        if stored is None:
            return
        name = self._free_name(stored.doc["dir_id"], stored.doc["name"])
        self._docs.commit([Write(stored.ref, patch={"name": name}, rev=stored.rev)])

    def _end_conflicts(self, finding: Finding) -> None:
        ref = Ref(FILES, finding.id)
        self._docs.commit([Write(ref, rev=rev, deleted=True) for rev in finding.about["conflicts"]])

    # -- contents ---------------------------------------------------------------------------------------------------

    def _drop_content(self, finding: Finding) -> None:
        """Delete a content that no document names, not even since it was looked for."""
        id, _, internal = finding.id.partition("/")
        file = self._find(FILES, id)
        if (file is None or internal_id(file.doc) != internal) and self._find(VERSIONS, finding.id) is None:
            self._contents.delete(finding.id)

    def _drop_thumbnail(self, finding: Finding) -> None:
        if self._find(FILES, file_of(finding.id)) is None:
            self._contents.delete(finding.id)

    def _drop_version(self, finding: Finding) -> None:
        stored = self._find(VERSIONS, finding.id)
        if stored is not None:
            self._contents.commit([Write(stored.ref, rev=stored.rev, deleted=True)], doomed=[stored.ref.id])

    def _without_content(self, finding: Finding) -> None:
        """A file whose content is gone gets the newest of its old ones; one that has none is nothing any more."""
        if finding.kind == "version":
            self._drop_version(finding)
            return
        stored = self._find(FILES, finding.id)
        if stored is None or self._contents.is_there(f"{stored.ref.id}/{internal_id(stored.doc)}"):
            return
        version = self._newest_version(stored.ref.id)
        if version is None:
            self._docs.commit([Write(stored.ref, rev=stored.rev, deleted=True)])
            return
        kept: dict[str, Any] = {name: version.doc[name] for name in ("size", "md5sum", "updated_at", "metadata") if name in version.doc}
        kept["internal_vfs_id"] = version.ref.id.partition("/")[2]
        self._docs.commit([Write(stored.ref, patch=kept, rev=stored.rev), Write(version.ref, rev=version.rev, deleted=True)])

    def _newest_version(self, id: str) -> Stored | None:
        """The newest old content that is there."""
        found = self._docs.all(VERSIONS, start=f"{id}/", end=f"{id}0").rows
        for version in sorted(found, key=lambda one: str(one.doc.get("updated_at", "")), reverse=True):
            if self._contents.is_there(version.ref.id):
                return version
        return None
