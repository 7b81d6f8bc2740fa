"""WebP at the size that is wanted: libwebp scales while it decodes, where Pillow would hold all pixels four times.

The library is the one that Pillow itself has loaded, through the functions of its `decode.h`; the chunks of a file are those of
RFC 9649.
"""

import ctypes
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from cozyd.errors import Invalid

VERSION = 0x0209
"""Of the structures below; libwebp refuses one whose first byte is not its own."""
OUT_OF_MEMORY = 1
_RGBA = 1
_LIBRARY = re.compile(r"(/\S*/libwebp(-[0-9a-f]+)?\.so\S*)$", re.MULTILINE)


class _Features(ctypes.Structure):
    _fields_: ClassVar[Sequence[Any]] = [
        *((name, ctypes.c_int) for name in ("width", "height", "has_alpha", "has_animation", "format")),
        ("spare", ctypes.c_uint32 * 5),
    ]


class _Rgba(ctypes.Structure):
    _fields_: ClassVar[Sequence[Any]] = [("pixels", ctypes.c_void_p), ("stride", ctypes.c_int), ("size", ctypes.c_size_t)]


class _Planes(ctypes.Structure):
    _fields_: ClassVar[Sequence[Any]] = [
        ("planes", ctypes.c_void_p * 4),
        ("strides", ctypes.c_int * 4),
        ("sizes", ctypes.c_size_t * 4),
    ]


class _Buffer(ctypes.Union):
    _fields_: ClassVar[Sequence[Any]] = [("rgba", _Rgba), ("planes", _Planes)]


class _Output(ctypes.Structure):
    _fields_: ClassVar[Sequence[Any]] = [
        *((name, ctypes.c_int) for name in ("colours", "width", "height", "is_external")),
        ("buffer", _Buffer),
        ("spare", ctypes.c_uint32 * 4),
        ("private", ctypes.c_void_p),
    ]


class _Options(ctypes.Structure):
    _fields_: ClassVar[Sequence[Any]] = [
        *((name, ctypes.c_int) for name in ("no_filter", "no_fancy", "crops", "left", "top", "crop_width", "crop_height")),
        *((name, ctypes.c_int) for name in ("scales", "width", "height", "threads", "dither", "flips", "dither_alpha")),
        ("spare", ctypes.c_uint32 * 5),
    ]


class _Config(ctypes.Structure):
    _fields_: ClassVar[Sequence[Any]] = [("input", _Features), ("output", _Output), ("options", _Options)]


def is_webp(head: bytes) -> bool:
    """Whether a file that begins so is one; its first 12 bytes tell."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def chunk(content: bytes, name: bytes) -> bytes:
    """A chunk's data; empty: there is none."""
    return next((data for found, data in _chunks(content) if found == name), b"")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(content):
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        yield content[at : at + 4], content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def size_of(content: bytes) -> tuple[int, int] | None:
    """Width and height of an image; None: it cannot be decoded here, as it moves, or there is no such library."""
    made = _config(content)
    return (made.input.width, made.input.height) if made is not None and not made.input.has_animation else None


def scaled(content: bytes, size: tuple[int, int]) -> Image.Image:
    """An image, RGBA, in a size that is not larger than its own.

    :raises Invalid: it is broken.
    :raises MemoryError: it needs more than there is.
    """
    made, library = _config(content), _library()
    if made is None or library is None:
        raise Invalid("The image cannot be decoded")
    width, height = size
    pixels = bytearray(width * height * 4)
    place = (ctypes.c_ubyte * len(pixels)).from_buffer(pixels)
    made.options.scales, made.options.width, made.options.height = 1, width, height
    made.output.colours, made.output.is_external = _RGBA, 1
    made.output.buffer.rgba = _Rgba(ctypes.addressof(place), width * 4, len(pixels))
    status = library.WebPDecode(content, ctypes.c_size_t(len(content)), ctypes.byref(made))
    if status == OUT_OF_MEMORY:
        raise MemoryError
    if status:
        raise Invalid("The image is truncated or broken")
    return Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1)


def _config(content: bytes) -> _Config | None:
    """What libwebp is asked for, with what it says of the content; None: it does not take it."""
    library, made = _library(), _Config()
    if library is None or not library.WebPInitDecoderConfigInternal(ctypes.byref(made), VERSION):
        return None
    status = library.WebPGetFeaturesInternal(content, ctypes.c_size_t(len(content)), ctypes.byref(made.input), VERSION)
    return made if status == 0 else None


@cache
def _library() -> ctypes.CDLL | None:
    """libwebp as this process has it; None: Pillow was built in another way."""
    from PIL import features

    if not features.check("webp"):
        return None
    found = _LIBRARY.search(Path("/proc/self/maps").read_text())
    if found is None:
        return None
    library = ctypes.CDLL(found[1])
    needed = ("WebPDecode", "WebPInitDecoderConfigInternal", "WebPGetFeaturesInternal")
    return library if all(hasattr(library, name) for name in needed) else None
