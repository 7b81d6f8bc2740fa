"""Decoded pixels -> a smaller image in 8 bits of sRGB on white, stripe by stripe: no second copy of all of them is made."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from PIL import Image, ImageCms

STRIPE = 1_000_000
"""Pixels that are looked at together."""
_MEANS = ("L", "RGB", "RGBA", "CMYK")
"""Modes whose pixels have a mean; indices of palettes have none."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """An image that is decoded.

    :param rows: cuts out the rows from one to before another.
    :param profile: of its colours, as ICC has it.
    :param plain: the image itself, where it is RGB as it should be.
    """

    width: int
    height: int
    rows: Callable[[int, int], Image.Image]
    profile: bytes | None = None
    plain: Image.Image | None = None


def of_image(image: Image.Image, profile: bytes | None) -> Pixels:
    """Those of an image."""
    plain = image if image.mode == "RGB" and not profile and "transparency" not in image.info else None
    return Pixels(image.width, image.height, lambda top, end: image.crop((0, top, image.width, end)), profile, plain)


def of_heif(source: BinaryIO, profile: bytes | None) -> Pixels:
    """Those of a HEIF, as its library has them: Pillow would copy them once more."""
    from pillow_heif import open_heif

    found = open_heif(source, convert_hdr_to_8bit=True)
    data, stride, mode = memoryview(found.data), found.stride, found.mode
    width, height = found.size

    def rows(top: int, end: int) -> Image.Image:
        return Image.frombuffer(mode, (width, end - top), bytes(data[top * stride : end * stride]), "raw", mode, stride, 1)

    return Pixels(width, height, rows, profile)


def reduced(pixels: Pixels, factor: int) -> Image.Image:
    """The image, each side divided by a whole number; RGB."""
    if factor == 1 and pixels.plain is not None:
        return pixels.plain
    made = Image.new("RGB", (-(-pixels.width // factor), -(-pixels.height // factor)))
    count = max(1, STRIPE // pixels.width // factor) * factor
    for top in range(0, pixels.height, count):
        stripe = pixels.rows(top, min(top + count, pixels.height))
        has_means = stripe.mode in _MEANS
        stripe = as_rgb(stripe.reduce(factor) if has_means else stripe, pixels.profile)
        made.paste(stripe if has_means else stripe.reduce(factor), (0, top // factor))
    return made


def as_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """8 bits of sRGB, transparency on white."""
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.mode in ("P", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
    if profile:
        image = _in_srgb(image, profile)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or more; Pillow would cut it off at 255."""
    return image.convert("F").point(lambda value: value * (1 / 257) + 0).convert("L")


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An image with its colour profile applied; one that is broken or of another kind is as if it were not there."""
    transform = _transform(profile, image.mode)
    return image if transform is None else ImageCms.applyTransform(image, transform) or image


@lru_cache(maxsize=2)
def _transform(profile: bytes, mode: str) -> Any:
    """What brings pixels of a mode to sRGB; None: the profile is not for them."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGBA" if mode == "RGBA" else "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
