"""`Contents`: one tenant's contents, wherever they lie: small ones beside her documents, the others in the blob store.

A small content is written in the commit of the document that names it: one sync of one file, where a file of its own needs
several (docs/storage.md, docs/decisions/0041-small-contents.md).
"""

import base64
import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import BinaryIO, Self, cast

from cozyd.documents import Documents
from cozyd.documents.store import Batch, Change, ContentEdits, Ref, RowCount, TotalLimit
from cozyd.errors import CozyError, NotFound, RangeNotSatisfiable
from cozyd.files.blobs import PIECE, Blob, BlobStore, NewBlob, Notes
from cozyd.files.spool import Spool

log = logging.getLogger("cozyd.files")

SMALL = 32 << 10
"""Bytes of the largest content that lies beside the documents."""


class Contents:
    """Where one tenant's contents lie.

    :param area: hers in the blob store.
    """

    def __init__(self, docs: Documents, blobs: BlobStore, area: str) -> None:
        self._docs, self._blobs, self._area = docs, blobs, area
        self._beside = docs.holds_contents and not blobs.keeps_small

    def new(self, key: str, *, size: int | None = None, type: str = "") -> NewBlob:
        """Begin a content. One that stays small has its bytes in `Blob.data`, for `commit`.

        :param size: bytes, when it is known.
        :raises StorageFull, TooLarge: the store will not take so much.
        """

        def begin() -> NewBlob:
            return self._blobs.new(self._area, key, size=size, type=type)

        if not self._beside or (size is not None and size > SMALL):
            return begin()
        return _Growing(key, begin)

    def open(self, key: str, *, start: int = 0, stop: int | None = None) -> BinaryIO:
        """A seekable stream of the bytes from `start` up to `stop` (exclusive).

        :raises NotFound: there is none.
        :raises RangeNotSatisfiable: it ends before `start`.
        """
        data = self._docs.content(key) if self._beside else None
        if data is None:
            return self._blobs.open(self._area, key, start=start, stop=stop)
        if start > len(data) or (start == len(data) and start):
            raise RangeNotSatisfiable(len(data))
        return io.BytesIO(data[start:stop])

    def copy(self, blob: Blob, new: str, edits: ContentEdits, about: Notes) -> None:
        """The same bytes under another key, at once, or in the commit that `edits` goes with.

        :param about: what is noted with them, where the store notes things.
        :raises NotFound: there is none; of a small one the commit may say so.
        """
        if self._beside and blob.size <= SMALL and self._docs.content(blob.key) is not None:
            edits.copied[new] = blob.key
        else:
            self._blobs.copy(self._area, blob, new, about=about)

    def commit(
        self,
        batch: Batch,
        *,
        while_at: Sequence[tuple[Ref, str]] = (),
        while_counts: Sequence[RowCount] = (),
        while_totals: Sequence[TotalLimit] = (),
        edits: ContentEdits | None = None,
        made: Sequence[Blob] = (),
        doomed: Sequence[str] = (),
    ) -> Sequence[Change]:
        """Write a batch (see `DocumentStore.commit`) with the small contents it names; then remove those that no document names any more.

        :param made: sealed contents that the batch names.
        :param doomed: keys. Where the store is away they stay for fsck: what was written is written.
        """
        edits = edits or ContentEdits()
        edits.put |= {blob.key: blob.data for blob in made if blob.data is not None}
        if self._beside:
            edits.removed += doomed
        kept = edits if self._beside else None
        changes = self._docs.commit(batch, while_at=while_at, while_counts=while_counts, while_totals=while_totals, contents=kept)
        self.drop(doomed)
        return changes

    def drop(self, keys: Sequence[str]) -> None:
        """Remove contents from the blob store that no document names; where it is away they stay for fsck."""
        try:
            self._blobs.delete(self._area, keys)
        except CozyError as error:
            log.warning("%d contents that nothing names stay until fsck: %s", len(keys), error)

    def delete(self, key: str) -> None:
        """Remove a content, wherever it lies; an absent one is fine."""
        if self._beside:
            self._docs.commit((), contents=ContentEdits(removed=[key]))
        self._blobs.delete(self._area, [key])

    def list(self) -> Iterator[tuple[str, int, datetime]]:
        """Key, size and time of every content."""
        if self._beside:
            yield from self._docs.contents()
        yield from self._blobs.list(self._area)

    def is_there(self, key: str) -> bool:
        """Whether there is such a content."""
        try:
            self.open(key).close()
        except NotFound:
            return False
        return True


class _Growing:
    """A content that stays in memory as long as it is small."""

    def __init__(self, key: str, begin: Callable[[], NewBlob]) -> None:
        self._key, self._begin = key, begin
        self._data = bytearray()
        self._grown: NewBlob | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._grown is not None:
            self._grown.__exit__(kind, error, trace)

    def write(self, data: bytes) -> int:
        """See `NewBlob.write`."""
        if self._grown is None and len(self._data) + len(data) <= SMALL:
            self._data += data
            return len(data)
        return self._grow().write(data)

    def fill(self, source: BinaryIO) -> None:
        """See `NewBlob.fill`."""
        if isinstance(source, Spool) and len(self._data) + source.size > SMALL:
            self._grow().fill(cast(BinaryIO, source))
            return
        while piece := source.read(PIECE):
            self.write(piece)

    def _grow(self) -> NewBlob:
        """From now on it goes to the store."""
        if self._grown is None:
            self._grown = self._begin()
            self._grown.__enter__()
            if self._data:
                self._grown.write(bytes(self._data))
        return self._grown

    def seal(self) -> Blob:
        """See `NewBlob.seal`; a small one lasts from the commit that writes its bytes."""
        if self._grown is not None:
            return self._grown.seal()
        data = bytes(self._data)
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        return Blob(self._key, len(data), md5, data)
