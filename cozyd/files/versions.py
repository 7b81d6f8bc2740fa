"""`Versions`: the earlier contents of files: which are kept, and what can be done with them (docs/files.md)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Write
from cozyd.errors import Conflict, NotFound, NoVersion
from cozyd.files.contents import Contents
from cozyd.files.tree import VERSIONS, File, Version, node_of, version_of, write_time
from cozyd.permissions import FILES

PIECE = 1000
FEW = 50


@dataclass(frozen=True, slots=True)
class Keeping:
    """How many contents of a file are kept.

    :param most: contents of one file, the present one among them; 0: no earlier one is kept.
    :param apart: how long after the newest version the next untagged one is kept.
    """

    most: int = 20
    apart: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new content means for the earlier ones.

    :param keep: the replaced content becomes a version.
    :param drop: versions that go.
    """

    keep: bool
    drop: Sequence[Version] = ()

    def freed(self, old: File) -> int:
        """Bytes that the write gives back."""
        return (0 if self.keep else old.blob.size) + sum(version.blob.size for version in self.drop)


def plan(keeping: Keeping, old: File, versions: Sequence[Version], md5: str, now: datetime) -> Plan:
    """Which contents are kept when a file gets its next one.

    A tagged version stays for ever. An untagged one is not kept when it follows the newest version too soon, and the oldest
    of them go when there are too many.
    :param versions: the earlier ones, the oldest first.
    :param md5: of the new content; one that is the same makes no version.
    """
    if md5 == old.blob.md5:
        return Plan(keep=False)
    if keeping.most == 0:
        return Plan(keep=False, drop=versions)
    soon = bool(versions) and versions[-1].kept + keeping.apart > now
    keep = bool(old.stored.doc.get("tags")) or not soon
    surplus = len(versions) + 1 + keep - keeping.most
    untagged = [version for version in versions if not version.tags]
    return Plan(keep, untagged[: max(0, surplus)])


class Versions:
    """The earlier contents of one tenant's files.

    :param held: the lock of her files.
    """

    def __init__(
        self,
        docs: Documents,
        contents: Contents,
        held: Callable[[], AbstractContextManager[Any]],
        now: Callable[[], datetime],
        keeping: Keeping,
    ) -> None:
        self._docs = docs
        self._contents = contents
        self._held = held
        self._now = now
        self._keeping = keeping

    def of(self, file: str) -> Sequence[Version]:
        """The earlier contents of a file, the oldest first."""
        found = self._docs.all(VERSIONS, start=f"{file}/", end=f"{file}0").rows
        return sorted((version_of(stored) for stored in found), key=lambda version: (version.kept, version.id))

    def of_file(self, file: File) -> Sequence[Version]:
        """As `of`; nothing is looked for when the document is the first of its file, as every next content makes another."""
        return () if file.rev.startswith("1-") else self.of(file.id)

    def of_many(self, files: Sequence[File]) -> Sequence[Version]:
        """The earlier contents of some files."""
        if len(files) <= FEW:
            return [version for file in files for version in self.of(file.id)]
        ids = {file.id for file in files}
        found = self._docs.all(VERSIONS, docs=False).rows
        wanted = [stored.ref.id for stored in found if stored.ref.id.partition("/")[0] in ids]
        return [version_of(stored) for stored in self._docs.get_many(VERSIONS, wanted) if stored is not None]

    def get(self, file: str, internal: str) -> Version:
        """One earlier content.

        :raises NotFound: there is none.
        """
        try:
            return version_of(self._docs.get(Ref(VERSIONS, f"{file}/{internal}")))
        except NotFound:
            raise NoVersion from None

    def plan(self, old: File, md5: str) -> Plan:
        """See `plan`."""
        return plan(self._keeping, old, self.of(old.id), md5, self._now())

    def writes(self, old: File, chosen: Plan) -> Iterator[Write]:
        """What a plan has written in the commit of the new content."""
        if chosen.keep:
            yield self.keeping(old)
        yield from (_gone(version) for version in chosen.drop)

    def keeping(self, old: File) -> Write:
        """The write that makes a file's content a version."""
        doc = old.stored.doc
        known = doc.get("cozyMetadata") or {}
        now = write_time(self._now())
        on = known.get("uploadedOn", "")
        metadata: Doc = {"doctypeVersion": "1", "metadataVersion": 1, "createdAt": now, "updatedAt": now, "createdOn": on}
        metadata |= {"uploadedAt": known.get("uploadedAt", doc["updated_at"]), "uploadedOn": on}
        if "uploadedBy" in known:
            metadata["uploadedBy"] = known["uploadedBy"]
        body: Doc = {"updated_at": doc["updated_at"], "size": doc["size"], "md5sum": doc["md5sum"], "tags": doc.get("tags")}
        if doc.get("metadata"):
            body["metadata"] = doc["metadata"]
        body |= {"cozyMetadata": metadata, "relationships": {"file": {"data": {"_id": old.id, "_type": FILES}}}}
        return Write(Ref(VERSIONS, old.blob.key), body=body)

    def tag(self, version: Version, tags: Sequence[str]) -> Version:
        """Give a version other tags.

        :raises Conflict: it changed meanwhile.
        """
        metadata = dict(version.stored.doc.get("cozyMetadata") or {}) | {"updatedAt": write_time(self._now())}
        write = Write(version.stored.ref, patch={"tags": list(tags), "cozyMetadata": metadata}, rev=version.rev)
        return version_of(self._docs.commit([write])[0].new)

    def delete(self, version: Version) -> None:
        """Remove an earlier content for good.

        :raises Conflict: it changed meanwhile.
        """
        self._contents.commit([_gone(version)], doomed=[version.blob.key])

    def clear(self) -> None:
        """Remove every earlier content of every file, the tagged ones too."""
        start = ""
        while True:
            with self._held():
                rows = self._docs.all(VERSIONS, start=start, limit=PIECE).rows
                found = [version_of(stored) for stored in rows if not stored.ref.id.startswith("_")]
                self._contents.commit([_gone(version) for version in found], doomed=[version.blob.key for version in found])
            if len(rows) < PIECE:
                return
            start = rows[-1].ref.id + "\0"

    def revert(self, file: File, version: Version) -> File:
        """Make an earlier content the present one, and the present one a version; no byte is copied.

        :raises Conflict: either changed meanwhile.
        """
        if version.file != file.id:
            raise NoVersion
        doc = version.stored.doc
        known = doc.get("cozyMetadata") or {}
        metadata = dict(file.stored.doc.get("cozyMetadata") or {}) | {"updatedAt": write_time(self._now())}
        metadata |= {name: known[name] for name in ("uploadedAt", "uploadedOn", "uploadedBy") if name in known}
        patch: dict[str, Any] = {name: doc[name] for name in ("updated_at", "size", "md5sum")}
        patch |= {name: doc.get(name) or ... for name in ("tags", "metadata")}
        patch |= {"internal_vfs_id": version.id.partition("/")[2], "cozyMetadata": metadata}
        with self._held():
            changes = self._docs.commit([Write(file.stored.ref, patch=patch, rev=file.rev), self.keeping(file), _gone(version)])
        reverted = node_of(changes[0].new)
        if not isinstance(reverted, File):
            raise Conflict
        return reverted


def _gone(version: Version) -> Write:
    return Write(version.stored.ref, rev=version.rev, deleted=True)
