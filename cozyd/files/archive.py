"""Zip archives that are never on a disk: laid out beforehand, read piece by piece (APPNOTE 6.3.10, with zip64).

Contents are stored, not compressed: the size of the whole is known before its first byte, and any range of it can be read.
A content's CRC follows it in a data descriptor, as it is known only when the content was read.
"""

import base64
import hashlib
import io
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, cast

from cozyd.errors import Unavailable
from cozyd.files.blobs import Blob
from cozyd.files.lookup import After, Lookup
from cozyd.files.tree import Dir, File, Node, node_of, numbered_name, read_time

BLOCK = 1 << 18
_PAGE = 500
_FLAGS = 0x0808
"""A data descriptor follows; names are UTF-8."""
_DOUBLE = 0xFFFFFFFF
_FILE_MODE, _EXECUTABLE_MODE, _FOLDER_MODE = 0o100644 << 16, 0o100755 << 16, 0o040755 << 16 | 0x10


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder or file in an archive.

    :param name: with the folders above it; a folder's ends in a slash.
    :param blob: the content, None of a folder.
    :param attributes: mode and DOS attributes.
    """

    name: bytes
    blob: Blob | None
    mtime: datetime
    attributes: int

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.blob.size if self.blob is not None else 0


def entries(lookup: Lookup, name: str, nodes: Sequence[Node], pages: Sequence[tuple[File, int, bytes]] = ()) -> Iterator[Entry]:
    """A selection with all below, in one folder called `name`; of twins in the selection all but the first get a number.

    :param pages: of PDFs: the file, the page's number, the page.
    """
    taken: set[str] = set()
    for node in nodes:
        own, number = node.name, 1
        while own in taken:
            number += 1
            own = numbered_name(node.name, number)
        taken.add(own)
        yield from _below(lookup, f"{name}/", node, own)
    for file, page, data in pages:
        own = numbered_name(file.name, page)
        while own in taken:
            own = numbered_name(own, 2)
        taken.add(own)
        yield entry_of_page(f"{name}/{own}", file, page, data)


def entry_of_page(name: str, file: File, page: int, data: bytes) -> Entry:
    """A page of a PDF as an entry of its own.

    :param data: the page.
    """
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return Entry(name.encode(), Blob(f"{file.blob.key}/{page}", len(data), md5, data), file.mtime, _FILE_MODE)


def _below(lookup: Lookup, prefix: str, node: Node, own: str) -> Iterator[Entry]:
    """A node and what is below; a folder's children are read page by page, so that a large one takes no room."""
    waiting = [(prefix, iter([(node, own)]))]
    while waiting:
        prefix, nodes = waiting[-1]
        found, own = next(nodes, (None, ""))
        if found is None:
            waiting.pop()
        elif isinstance(found, File):
            mode = _EXECUTABLE_MODE if found.executable else _FILE_MODE
            yield Entry(f"{prefix}{own}".encode(), found.blob, found.mtime, mode)
        else:
            inside = f"{prefix}{own}/" if found.parent else prefix
            if found.parent:
                yield Entry(inside.encode(), None, read_time(str(found.stored.doc.get("updated_at", ""))), _FOLDER_MODE)
            waiting.append((inside, _children(lookup, found)))


def _children(lookup: Lookup, dir: Dir) -> Iterator[tuple[Node, str]]:
    after: After | None = None
    while rows := lookup.rows(dir, after=after, limit=_PAGE, docs=True):
        nodes = [node_of(row.stored) for row in rows if row.stored is not None]
        yield from ((node, node.name) for node in nodes)
        after = (rows[-1].key, rows[-1].ref.id)


class Archive(io.RawIOBase):
    """A zip archive as a seekable stream.

    :param entries: what is in it.
    :param open: gives the stream of a content.
    """

    def __init__(self, entries: Iterable[Entry], open: Callable[[Blob], BinaryIO]) -> None:
        super().__init__()
        self._entries = list(entries)
        self._stored = open
        self._offsets = array("Q")
        at = 0
        for entry in self._entries:
            self._offsets.append(at)
            at += len(_header(entry)) + entry.size + len(_descriptor(entry, 0))
        self._directory_at = at
        self._directory_size = sum(_record_size(entry, offset) for entry, offset in zip(self._entries, self._offsets, strict=True))
        self.size = at + self._directory_size + len(self._end())
        self._crcs = array("q", [-1]) * len(self._entries)
        self._directory: bytearray | None = None
        self._reading: _Reading | None = None
        self._block, self._block_at, self._at = b"", 0, 0
        self._first, self._last = 0, self.size

    @property
    def etag(self) -> str:
        """Names this very sequence of bytes."""
        digest = hashlib.sha256()
        for entry in self._entries:
            blob = f"{entry.blob.key} {entry.blob.md5}" if entry.blob is not None else ""
            digest.update(b"%s\0%s\0%s\0%d\n" % (entry.name, blob.encode(), entry.mtime.isoformat().encode(), entry.attributes))
        return digest.hexdigest()[:32]

    def cut(self, start: int, stop: int) -> None:
        """Make the stream one of the bytes from an offset up to another (exclusive) only."""
        self._first, self._last = start, min(stop, self.size)
        self._at = start

    def readable(self) -> bool:
        """It is a stream to read."""
        return True

    def seekable(self) -> bool:
        """Any part of it can be read."""
        return True

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._at - self._first

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        base = {io.SEEK_SET: self._first, io.SEEK_CUR: self._at, io.SEEK_END: self._last}[whence]
        self._at = max(self._first, base + offset)
        return self.tell()

    def readinto(self, buffer: object) -> int:
        """See `io.RawIOBase.readinto`.

        :raises Unavailable: a content is not what its document says: the archive ends here, never in wrong bytes.
        """
        view = memoryview(cast(bytearray, buffer))
        if self._at >= self._last:
            return 0
        start = self._at - self._block_at
        if not 0 <= start < len(self._block):
            self._block, self._block_at, start = self._piece(self._at), self._at, 0
        piece = self._block[start : start + min(len(view), self._last - self._at)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        """Give up the content that is being read."""
        if self._reading is not None:
            self._reading.close()
        super().close()

    def _open(self, blob: Blob) -> BinaryIO:
        return io.BytesIO(blob.data) if blob.data is not None else self._stored(blob)

    # -- parts ------------------------------------------------------------------------------------------------------

    def _piece(self, at: int) -> bytes:
        """Some bytes from an offset on; none at the end."""
        if at >= self._directory_at:
            if self._directory is None:
                self._directory = bytearray()
                for record in self._records():
                    self._directory += record
                self._directory += self._end()
            start = at - self._directory_at
            return bytes(self._directory[start : start + BLOCK])
        parts: list[bytes] = []
        size = 0
        number = bisect_right(self._offsets, at) - 1
        while size < BLOCK and at < self._directory_at:
            part = self._part(number, at - self._offsets[number], BLOCK - size)
            parts.append(part)
            size, at = size + len(part), at + len(part)
            number += number + 1 < len(self._offsets) and at >= self._offsets[number + 1]
        return b"".join(parts)

    def _part(self, number: int, start: int, most: int) -> bytes:
        """Bytes of an entry from an offset in it on."""
        entry = self._entries[number]
        header = _header(entry)
        if start < len(header):
            return header[start:]
        start -= len(header)
        if start < entry.size:
            return self._content(number, entry, start, most)
        return _descriptor(entry, self._crc(number))[start - entry.size :]

    def _content(self, number: int, entry: Entry, start: int, most: int) -> bytes:
        if self._reading is None or (self._reading.number, self._reading.at) != (number, start):
            if self._reading is not None:
                self._reading.close()
            assert entry.blob is not None
            self._reading = _Reading(number, entry.blob, self._open(entry.blob), start)
        piece = self._reading.read(most)
        if self._reading.crc is not None:
            self._crcs[number] = self._reading.crc
        return piece

    def _crc(self, number: int) -> int:
        """The CRC of a content; one that was not read from its beginning is read for it."""
        entry = self._entries[number]
        if self._crcs[number] < 0 and entry.blob is not None and entry.size:
            with _Reading(number, entry.blob, self._open(entry.blob), 0) as reading:
                while reading.crc is None:
                    reading.read(BLOCK)
                self._crcs[number] = reading.crc
        return max(0, self._crcs[number])

    def _records(self) -> Iterator[bytes]:
        """The central directory."""
        for number, entry in enumerate(self._entries):
            offset = self._offsets[number]
            size = min(entry.size, _DOUBLE)
            extra = _record_extra(entry, offset)
            version = 45 if extra or entry.size >= _DOUBLE else 20
            fixed = (0x0314, version, _FLAGS, 0, *_dos_time(entry.mtime), self._crc(number), size, size)
            more = (len(entry.name), len(extra), 0, 0, 0, entry.attributes, min(offset, _DOUBLE))
            yield b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", *fixed, *more) + entry.name + extra

    def _end(self) -> bytes:
        count, size, at = len(self._entries), self._directory_size, self._directory_at
        end = struct.pack("<HHHHIIH", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), min(size, _DOUBLE), min(at, _DOUBLE), 0)
        if count < 0xFFFF and size < _DOUBLE and at < _DOUBLE:
            return b"PK\x05\x06" + end
        long = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 0x0314, 45, 0, 0, count, count, size, at)
        locator = b"PK\x06\x07" + struct.pack("<IQI", 0, at + size, 1)
        return long + locator + b"PK\x05\x06" + end


class _Reading:
    """A content being read in order; checked against its document when it was read whole.

    :param at: the offset of the next byte.
    """

    def __init__(self, number: int, blob: Blob, stream: BinaryIO, at: int) -> None:
        self.number, self.at = number, at
        self.crc: int | None = None
        self._blob = blob
        self._stream = stream
        self._whole = at == 0
        self._sum = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        stream.seek(at)

    def read(self, most: int) -> bytes:
        """The next bytes.

        :raises Unavailable: the content is shorter, or another.
        """
        piece = self._stream.read(min(most, self._blob.size - self.at))
        if not piece:
            raise Unavailable("A content is shorter than its document says")
        self.at += len(piece)
        if self._whole:
            self._sum = zlib.crc32(piece, self._sum)
            self._md5.update(piece)
            if self.at == self._blob.size:
                self._finish()
        return piece

    def _finish(self) -> None:
        if base64.b64encode(self._md5.digest()).decode() != self._blob.md5:
            raise Unavailable("A content is damaged")
        self.crc = self._sum

    def close(self) -> None:
        """Close the content."""
        self._stream.close()

    def __enter__(self) -> "_Reading":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _header(entry: Entry) -> bytes:
    """The local header; sizes and CRC come in the descriptor."""
    large = entry.size >= _DOUBLE
    extra = struct.pack("<HHQQ", 1, 16, 0, 0) if large else b""
    size = _DOUBLE if large else 0
    fields = (45 if large else 20, _FLAGS, 0, *_dos_time(entry.mtime), 0, size, size, len(entry.name), len(extra))
    return b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", *fields) + entry.name + extra


def _descriptor(entry: Entry, crc: int) -> bytes:
    form = "<IQQ" if entry.size >= _DOUBLE else "<III"
    return b"PK\x07\x08" + struct.pack(form, crc, entry.size, entry.size)


def _record_extra(entry: Entry, offset: int) -> bytes:
    """The zip64 field of a central record: what has no room in it."""
    sizes = (entry.size, entry.size) if entry.size >= _DOUBLE else ()
    offsets = (offset,) if offset >= _DOUBLE else ()
    values = (*sizes, *offsets)
    return struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values) if values else b""


def _record_size(entry: Entry, offset: int) -> int:
    return 46 + len(entry.name) + len(_record_extra(entry, offset))


def _dos_time(time: datetime) -> tuple[int, int]:
    """Time and date since 1980, in steps of two seconds."""
    year = min(max(time.year, 1980), 2107)
    if year != time.year:
        return 0, (year - 1980) << 9 | 1 << 5 | 1
    return time.hour << 11 | time.minute << 5 | time.second // 2, (year - 1980) << 9 | time.month << 5 | time.day
