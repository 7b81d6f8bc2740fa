"""JSON values -> bytes in CouchDB's order: null, false, true, numbers, strings, arrays, objects; text by Unicode's root order.

Keys are self-delimiting, so the key of a tuple is the keys of its elements one after the other, and all tuples with a
prefix are one range of bytes. Text below U+0250 is mapped by an own table (1 us a word); pyuca's whole table is loaded at
the first other text, and gives the same weights.
"""

import struct
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cozyd import jsons
from cozyd.documents.collation_table import ELEMENTS

if TYPE_CHECKING:
    from pyuca.collator import BaseCollator

NULL, FALSE, TRUE, NUMBER, TEXT, ARRAY, OBJECT = (bytes([tag]) for tag in range(2, 9))
END = b"\x01"
AFTER = b"\xff"
"""Behind every key: `tuple_key(prefix) + AFTER` ends the range of a prefix."""

_DOUBLE = struct.Struct(">d")
_BITS = struct.Struct(">Q")
_COMMON_SECONDARY, _COMMON_TERTIARY = 0x20, 0x02
_EXACT_INTEGERS = 2.0**53
_OFFSET, _HALF = struct.Struct(">H"), 1 << 15


class _BeyondTable(Exception):
    """A character the own table does not have."""


class _Weights(dict[int, str]):
    def __missing__(self, _: int) -> str:
        raise _BeyondTable


def _tables() -> tuple[_Weights, _Weights, _Weights]:
    """For `str.translate`: code point -> its weights of one level, as characters."""
    levels = (_Weights(), _Weights(), _Weights())
    for code, word in enumerate(ELEMENTS.split()):
        elements = [] if word == "-" else [[int(part, 16) for part in one.split(".")] for one in word.split("+")]
        levels[0][code] = "".join(chr(element[0]) for element in elements if element[0])
        levels[1][code] = "".join(chr(_secondary(element[1])) for element in elements if element[1])
        levels[2][code] = "".join(chr(element[2]) for element in elements if element[2])
    for level in levels:
        del level[0xB7]  # the middle dot contracts with an l before it: pyuca knows how
    return levels


def _secondary(weight: int) -> int:
    return min(weight - _COMMON_SECONDARY + 1, 0xFF)


_PRIMARIES, _SECONDARIES, _TERTIARIES = _tables()
_TRIM_SECONDARY = bytes([_secondary(_COMMON_SECONDARY)])
_TRIM_TERTIARY = bytes([_COMMON_TERTIARY])


def key(value: Any) -> bytes:
    """Bytes that sort as CouchDB sorts JSON values."""
    if isinstance(value, str):
        return text_key(value)
    if value is None:
        return NULL
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, int | float):
        return NUMBER + _number(value)
    if isinstance(value, list | tuple):
        return ARRAY + b"".join(map(key, value)) + END
    return OBJECT + b"".join(text_key(str(name)) + key(item) for name, item in value.items()) + END


def tuple_key(values: Sequence[Any]) -> bytes:
    """The key of a tuple: all that start with a prefix lie from `tuple_key(prefix)` to `tuple_key(prefix) + AFTER`."""
    return b"".join(map(key, values))


def exact(values: Sequence[Any]) -> bytes:
    """A tuple as exact JSON bytes, for keys that have to be unique; prefixes are ranges here too."""
    return b"".join(jsons.canonical(value) + b"\0" for value in values)


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1, as CouchDB compares two JSON values."""
    one, other = key(left), key(right)
    return (one > other) - (one < other)


def _number(value: float) -> bytes:
    """The double, and behind a large one how far an integer lies from it: integers beyond 2^53 share doubles."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        value = float(value)
    double = float(value)
    bits: int = _BITS.unpack(_DOUBLE.pack(double + 0.0))[0]
    packed = _BITS.pack(bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 1 << 63)
    if -_EXACT_INTEGERS < double < _EXACT_INTEGERS:
        return packed
    return packed + _OFFSET.pack((value - int(double) if isinstance(value, int) else 0) + _HALF)


@lru_cache(maxsize=8192)
def text_key(text: str) -> bytes:
    """The key of a string: primary weights, then secondary and tertiary ones without their trailing common weights."""
    try:
        primary = text.translate(_PRIMARIES).encode("utf-16-be")
        secondary = text.translate(_SECONDARIES).encode("latin-1")
        tertiary = text.translate(_TERTIARIES).encode("latin-1")
    except _BeyondTable:
        primary, secondary, tertiary = _by_pyuca(text)
    return b"".join((TEXT, primary, b"\0\0", secondary.rstrip(_TRIM_SECONDARY), b"\0", tertiary.rstrip(_TRIM_TERTIARY), b"\0"))


def prefix_key(text: str) -> bytes:
    """What the key of every text that begins with this one begins with.

    Beyond the own table two characters may be weighed together: the last two are left out there.
    """
    try:
        return TEXT + text.translate(_PRIMARIES).encode("utf-16-be")
    except _BeyondTable:
        return TEXT + _by_pyuca(text[:-2])[0]


def _by_pyuca(text: str) -> tuple[bytes, bytes, bytes]:
    clean = text.encode("utf-8", "replace").decode()
    elements = _collator().collation_elements(unicodedata.normalize("NFD", clean))
    primary = b"".join(element[0].to_bytes(2, "big") for element in elements if element[0])
    secondary = bytes(_secondary(element[1]) for element in elements if element[1])
    return primary, secondary, bytes(element[2] for element in elements if element[2])


@lru_cache(maxsize=1)
def _collator() -> "BaseCollator":
    from pyuca.collator import Collator_10_0_0

    return Collator_10_0_0()
