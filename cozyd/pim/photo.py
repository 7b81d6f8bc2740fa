"""PHOTO of a card <-> a picture (pure; RFC 2426, section 3.1.4; RFC 6350, section 6.2.4)."""

import base64
import binascii
import re

from cozyd.errors import TooLarge, Unsupported
from cozyd.pim.content import Component, Line, make, unescape

LARGEST = 1 << 20
_MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF87a": "image/gif", b"GIF89a": "image/gif"}
_DATA = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


def kind_of(data: bytes) -> str:
    """The media type that the first bytes tell; empty of anything but JPEG, PNG and GIF."""
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "")


def check(data: bytes) -> str:
    """The media type of a picture that may be a contact's.

    :raises TooLarge, Unsupported: it may not.
    """
    if len(data) > LARGEST:
        raise TooLarge("A contact's photo has at most 1 MiB")
    kind = kind_of(data)
    if not kind:
        raise Unsupported("A contact's photo is a JPEG, PNG or GIF")
    return kind


def read(card: Component) -> bytes | None:
    """The first picture that is in the card itself; an address is not followed."""
    return next((found for line in card.all("PHOTO") if (found := _inline(line)) is not None), None)


def _inline(line: Line) -> bytes | None:
    value = line.value.strip()
    found = _DATA.match(unescape(value[:200]))
    if found is not None:
        value = unescape(value)[found.end() :]
    elif line.first("ENCODING").lower() not in ("b", "base64"):
        return None
    try:
        return base64.b64decode(re.sub(r"\s", "", value), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def write(card: Component, data: bytes | None) -> None:
    """Have this picture in the place of all that are there, or none."""
    old = card.get("PHOTO")
    card.remove(*card.all("PHOTO")[1:])
    card.set("PHOTO", _line(card, data, old) if data is not None else None)


def _line(card: Component, data: bytes, old: Line | None) -> Line:
    kind, text = kind_of(data), base64.b64encode(data).decode()
    group = old.group if old is not None else ""
    if card.value("VERSION").strip() == "4.0":
        return make("PHOTO", f"data:{kind};base64,{text}", group=group)
    return make("PHOTO", text, (("ENCODING", ("b",)), ("TYPE", (kind.removeprefix("image/").upper(),))), group=group)
