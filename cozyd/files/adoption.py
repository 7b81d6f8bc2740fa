"""Contents of the reference's local storage, for documents that are here already: those of an instance that came from its CouchDB.

There the content of a file lies at the file's own path, and an earlier one at `.cozy_versions/<id, 4>/<id, rest>/<revision>`; no
document says where (docs/storage.md).
"""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from cozyd.documents import Documents
from cozyd.documents.store import Stored, Write
from cozyd.files import Files
from cozyd.files.blobs import Blob
from cozyd.files.contents import Contents
from cozyd.files.tree import VERSIONS, File, node_of, version_of
from cozyd.permissions import FILES

PAGE = 1000


class Adoption:
    """One tenant's. It can be run again: what has its content is left alone."""

    def __init__(self, files: Files, docs: Documents, contents: Contents) -> None:
        self._files, self._docs, self._contents = files, docs, contents
        self.files, self.versions, self.bytes = 0, 0, 0

    def run(self, storage: Path) -> Iterator[tuple[Path, str]]:
        """Take the contents that documents lack; the paths of those that are not what their documents say, with the reason.

        :param storage: the reference's folder of the instance.
        :raises StorageFull: there is no more room; what came before stays.
        """
        for stored in self._documents(FILES):
            if stored.doc.get("type") == "file":
                yield from self._file(storage, stored)
        for stored in self._documents(VERSIONS):
            yield from self._version(storage, stored)

    def _documents(self, doctype: str) -> Iterator[Stored]:
        start = ""
        while True:
            rows = self._docs.all(doctype, start=start, limit=PAGE).rows
            yield from (stored for stored in rows if not stored.ref.id.startswith("_design/"))
            if len(rows) < PAGE:
                return
            start = rows[-1].ref.id + "\0"

    def _file(self, storage: Path, stored: Stored) -> Iterator[tuple[Path, str]]:
        file = node_of(stored)
        if not isinstance(file, File) or self._contents.is_there(file.blob.key):
            return
        source = storage / self._files.path(file).lstrip("/")
        internal = secrets.token_hex(8)
        sealed = self._taken(storage, source, Blob(f"{file.id}/{internal}", file.blob.size, file.blob.md5))
        if sealed is None:
            yield source, "it is not the content that its document names"
            return
        self._contents.commit([Write(stored.ref, patch={"internal_vfs_id": internal}, rev=stored.rev)], made=[sealed])
        self.files += 1
        self.bytes += sealed.size

    def _version(self, storage: Path, stored: Stored) -> Iterator[tuple[Path, str]]:
        version = version_of(stored)
        if self._contents.is_there(version.id):
            return
        file, _, revision = version.id.partition("/")
        source = storage / ".cozy_versions" / file[:4] / file[4:] / revision
        sealed = self._taken(storage, source, version.blob)
        if sealed is None:
            yield source, "it is not the content that its document names"
            return
        self._contents.commit((), made=[sealed])
        self.versions += 1
        self.bytes += sealed.size

    def _taken(self, storage: Path, source: Path, wanted: Blob) -> Blob | None:
        """A content, sealed; None where it is not there, or another."""
        if not source.is_file() or not source.resolve().is_relative_to(storage.resolve()) or source.stat().st_size != wanted.size:
            return None
        with open(source, "rb", buffering=0) as stream, self._contents.new(wanted.key, size=wanted.size) as new:
            new.fill(cast(BinaryIO, stream))
            sealed = new.seal()
        if sealed.md5 != wanted.md5:
            self._contents.drop([sealed.key])
            return None
        return sealed
