"""Length, size, rotation and time of films, without a frame decoded.

MP4 and QuickTime (ISO/IEC 14496-12), Matroska and WebM (RFC 8794, 9559).
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cozyd.errors import Invalid

BEGINNINGS = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"))
EBML = b"\x1a\x45\xdf\xa3"
MOST_BOXES = 10_000
LARGEST_TRACK = 64 << 10
LONGEST_NUMBER = 8
"""Bytes of a number or date of Matroska (RFC 8794, section 7)."""
_SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_SCALE, _DURATION, _ENTRY, _VIDEO, _PIXEL_WIDTH, _PIXEL_HEIGHT, _DATE = 0x2AD7B1, 0x4489, 0xAE, 0xE0, 0xB0, 0xBA, 0x4461
_EPOCHS_APART = 3_061_152_000
"""Seconds from 1904, MP4's beginning of time, to 2001, Matroska's."""


@dataclass(slots=True)
class Film:
    """What a film says.

    :param width: pixels, as they are shown upright; so is `height`.
    :param duration: seconds.
    :param rotation: degrees clockwise that a player turns it by.
    :param made: seconds since 1904.
    """

    width: int = 0
    height: int = 0
    duration: float = 0.0
    rotation: int = 0
    made: int = 0


def film(source: BinaryIO, size: int) -> Film:
    """A film of the family of MP4.

    :raises Invalid: it says nothing of itself.
    """
    for kind, start, stop in _boxes(source, 0, size):
        if kind == b"moov":
            return _movie(source, start, stop)
    raise Invalid("The video has no description")


def _movie(source: BinaryIO, start: int, stop: int) -> Film:
    found = Film()
    for kind, begin, end in _boxes(source, start, stop):
        if kind == b"mvhd":
            _header(found, _read(source, begin, end))
        elif kind == b"trak":
            for inner, first, last in _boxes(source, begin, end):
                if inner == b"tkhd":
                    _track(found, _read(source, first, last))
    return found


def _header(found: Film, body: bytes) -> None:
    """`mvhd`, section 8.2.2."""
    form, unknown = (">QQIQ", (1 << 64) - 1) if body[0] == 1 else (">IIII", (1 << 32) - 1)
    made, _, scale, length = struct.unpack_from(form, body, 4)
    found.made = made
    found.duration = length / scale if scale and length != unknown else 0.0


def _track(found: Film, body: bytes) -> None:
    """`tkhd`, section 8.3.2: the first track with a size is the picture; its matrix turns it."""
    matrix = 52 if body[0] == 1 else 40
    a, b = struct.unpack_from(">ii", body, matrix)
    width, height = (side >> 16 for side in struct.unpack_from(">II", body, matrix + 36))
    if not width or not height or found.width:
        return
    found.rotation = round(math.degrees(math.atan2(b, a))) % 360
    found.width, found.height = (height, width) if found.rotation in (90, 270) else (width, height)


def _boxes(source: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first and last byte of the boxes in a stretch."""
    for _ in range(MOST_BOXES):
        if start + 8 > stop:
            return
        source.seek(start)
        head = source.read(16)
        length, kind, begin = int.from_bytes(head[:4]), head[4:8], start + 8
        if length == 1:
            length, begin = int.from_bytes(head[8:16]), start + 16
        end = stop if length == 0 else start + length
        if end > stop or end < begin:
            return
        yield kind, begin, end
        start = end


def _read(source: BinaryIO, start: int, stop: int) -> bytes:
    if stop - start > LARGEST_TRACK:
        raise Invalid("The description of the video is too long")
    source.seek(start)
    return source.read(stop - start)


# -- Matroska -------------------------------------------------------------------------------------------------------------


def matroska(source: BinaryIO) -> Film:
    """A film of Matroska or WebM.

    :raises Invalid: it says nothing of itself.
    """
    source.seek(0)
    data = source.read(4 << 20)
    found, scale, length = Film(), 1_000_000, 0.0
    for id, body in _elements(data, 0, len(data)):
        if len(body) > LONGEST_NUMBER:
            continue
        if id == _SCALE:
            scale = int.from_bytes(body)
        elif id == _DURATION and len(body) in (4, 8):
            length = struct.unpack(">d" if len(body) == 8 else ">f", body)[0]
        elif id == _DATE:
            found.made = int.from_bytes(body, signed=True) // 1_000_000_000 + _EPOCHS_APART
        elif id == _PIXEL_WIDTH:
            found.width = found.width or int.from_bytes(body)
        elif id == _PIXEL_HEIGHT:
            found.height = found.height or int.from_bytes(body)
    length *= scale / 1e9
    found.duration = length if math.isfinite(length) else 0.0
    return found


def _elements(data: bytes, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """The leaves before the first cluster, those of masters that matter included."""
    for _ in range(MOST_BOXES):
        id, start = _number(data, start, keep_mark=True)
        size, start = _number(data, start, keep_mark=False)
        if id == _CLUSTER or start >= stop or size < 0:
            return
        if id in (_SEGMENT, _INFO, _TRACKS, _ENTRY, _VIDEO):
            continue  # its leaves come next
        if size <= LARGEST_TRACK:
            yield id, data[start : start + size]
        start += size


def _number(data: bytes, at: int, *, keep_mark: bool) -> tuple[int, int]:
    """A number of variable length (RFC 8794, section 4), and where it ends; -1 beyond the data."""
    if at >= len(data) or not data[at]:
        return -1, len(data)
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length])
    return value if keep_mark else value & ((1 << 7 * length) - 1), at + length
