"""The picture of somebody who has uploaded none: her initials on a colour of hers, or nobody's outline (pure)."""

import io
import unicodedata
import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

COLOURS = ("#0b6bcb", "#1f7a1f", "#9a5b13", "#c41c1c", "#7a2fb8", "#0e6f7c", "#a12f6e", "#4d5fae")
"""White letters have a contrast of 4.5 at least on each."""
GREY = "#5f6573"
SIDE, SHARP = 256, 512
"""Pixels of a PNG, and of one of high quality."""
_SEE_THROUGH = 0.5


@dataclass(frozen=True, slots=True)
class Look:
    """How the picture is drawn.

    :param grey: for somebody who is not confirmed.
    :param translucent: half transparent.
    :param high: larger, or with its font inside.
    """

    grey: bool = False
    translucent: bool = False
    high: bool = False


def initials_of(name: str) -> str:
    """The first letters of the first two words, as capitals; empty: there are none."""
    words = [word for word in (_letters(part) for part in name.split()) if word]
    return "".join(word[0] for word in words[:2]).upper()[:4]


def colour_of(name: str) -> str:
    """Always the same for one name."""
    return COLOURS[zlib.crc32(name.strip().casefold().encode("utf-8", "replace")) % len(COLOURS)] if name.strip() else GREY


def svg(name: str, look: Look, font: bytes = b"") -> bytes:
    """The picture as SVG, 32 by 32.

    :param name: empty: nobody's.
    :param font: WOFF2, put inside when the quality is high.
    """
    back = GREY if look.grey else colour_of(name)
    faint = f' opacity="{_SEE_THROUGH}"' if look.translucent else ""
    letters = initials_of(name)
    style = ""
    if look.high and font and letters:
        data = b64encode(font).decode()
        style = f'<style>@font-face{{font-family:Inter;src:url(data:font/woff2;base64,{data}) format("woff2")}}</style>'
    drawn = (
        f'<text x="16" y="16" dy=".36em" text-anchor="middle" font-family="Inter,sans-serif" font-size="{14 if len(letters) < 3 else 10}" '
        f'font-weight="600" fill="#fff">{escape(letters)}</text>'
        if letters
        else '<g fill="#fff"><circle cx="16" cy="12" r="5"/><path d="M6 27a10 8 0 0 1 20 0z"/></g>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32"{faint}>{style}'
        f'<circle cx="16" cy="16" r="16" fill="{back}"/>{drawn}</svg>'
    ).encode()


def png(name: str, look: Look, font: bytes) -> bytes:
    """The picture as PNG.

    :param name: empty: nobody's.
    :param font: of the letters, in a form that FreeType reads.
    """
    from PIL import Image, ImageDraw, ImageFont

    side = SHARP if look.high else SIDE
    large = side * 2  # drawn larger, then made smaller: edges are smooth
    picture = Image.new("RGBA", (large, large), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((0, 0, large - 1, large - 1), fill=GREY if look.grey else colour_of(name))
    letters = initials_of(name)
    if letters:
        size = large * (14 if len(letters) < 3 else 10) / 32
        pen.text((large / 2, large / 2), letters, font=ImageFont.truetype(io.BytesIO(font), size), fill="#fff", anchor="mm")
    else:
        for shape in _outline(large):
            pen.ellipse(shape, fill="#fff")
    picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    if look.translucent:
        picture.putalpha(picture.getchannel("A").point([round(level * _SEE_THROUGH) for level in range(256)]))
    made = io.BytesIO()
    picture.save(made, "PNG", optimize=True)
    return made.getvalue()


def _outline(side: int) -> Sequence[tuple[float, float, float, float]]:
    """Head and shoulders, as ellipses in a square."""
    unit = side / 32
    return ((11 * unit, 7 * unit, 21 * unit, 17 * unit), (6.5 * unit, 19.5 * unit, 25.5 * unit, 29 * unit))


def _letters(word: str) -> str:
    """A word without what is neither letter nor digit, nor marks that alone mean nothing."""
    return "".join(sign for sign in unicodedata.normalize("NFC", word) if unicodedata.category(sign)[0] in "LN")
