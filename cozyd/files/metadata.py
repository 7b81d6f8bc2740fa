"""What a content says about itself: size and EXIF of images, tags of audio, targets of shortcuts (pure).

Only the first 256 KiB are looked at, no pixel is decoded, and nothing that is wrong with a content fails its upload.
"""

import contextlib
import io
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from urllib.parse import urlsplit

from cozyd.files.kinds import SHORTCUT
from cozyd.files.tree import read_time, write_time

HEAD = 256 << 10
VERSION = 2
Found = dict[str, Any]
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/heic", "image/heif")
_AUDIO = ("audio/mp3", "audio/mpeg", "audio/ogg", "audio/x-m4a", "audio/mp4", "audio/flac")
_EXIF_MARK = b"Exif\0\0"
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9), 0xFF))
_MAKE, _MODEL, _ORIENTATION, _DATETIME, _EXIF, _GPS = 0x010F, 0x0110, 0x0112, 0x0132, 0x8769, 0x8825
_TAKEN, _OFFSET, _FLASH, _WIDTH, _HEIGHT = 0x9003, 0x9011, 0x9209, 0xA002, 0xA003
_EARLIEST = 1990
_WANTED = {
    "album": ("album", "\xa9alb", "TALB"),
    "artist": ("artist", "\xa9ART", "TPE1"),
    "composer": ("composer", "\xa9wrt", "TCOM"),
    "genre": ("genre", "\xa9gen", "TCON"),
    "title": ("title", "\xa9nam", "TIT2"),
    "track": ("tracknumber", "trkn", "TRCK"),
    "year": ("date", "\xa9day", "TDRC"),
}


def extract(mime: str, head: bytes, created_at: str) -> Found:
    """What a content says about itself, as the member `metadata` of its document; empty for types that say nothing.

    :param head: its first bytes.
    :param created_at: the `datetime` of an image that does not say when it was taken.
    """
    if mime in _IMAGES:
        return {"datetime": created_at, "extractor_version": VERSION} | _tried(_image, mime, head)
    if mime in _AUDIO:
        return {"extractor_version": VERSION} | _tried(_audio, mime, head)
    if mime == SHORTCUT:
        return {"extractor_version": VERSION} | _tried(_shortcut, mime, head)
    return {}


def taken(metadata: Mapping[str, Any]) -> str | None:
    """When an image was taken, as `created_at` of its file; None when it does not say, or says nonsense."""
    text = metadata.get("datetime")
    if not isinstance(text, str) or not re.match(r"\d{4}-", text) or int(text[:4]) <= _EARLIEST:
        return None
    return text


def merged(body: Mapping[str, Any], found: Mapping[str, Any], address: str) -> Found:
    """What the document of a file has from what its sender told and what its content says, which counts more.

    The target of a shortcut is the sender's, when she tells one. An image is as old as it says, and not changed before it was taken.
    :param address: of the instance: a shortcut to one of its apps says so.
    """
    given = body.get("metadata") or {}
    known = {**given, **found}
    if "target" in found:
        target = given.get("target") or found["target"]
        known["target"] = {**target, **_own_app(found["target"]["url"], address)} if isinstance(target, dict) else target
    more: Found = {"metadata": known} if known else {}
    made = taken(found)
    if made is None:
        return more
    changed = body["updated_at"] if read_time(body["updated_at"]) >= read_time(made) else made
    return more | {"created_at": made, "updated_at": changed}


def _own_app(url: str, address: str) -> Found:
    """The members of a target that is an app of this instance, on a host below its own or on a flat one."""
    try:
        here, there = urlsplit(address).netloc, urlsplit(url).netloc
    except ValueError:
        return {}
    first, _, rest = there.partition(".")
    name, _, flat = first.partition("-")
    app = first if rest == here else flat if f"{name}.{rest}" == here else ""
    return {"cozyMetadata": {"instance": here}, "app": app} if app else {}


def _tried(read: Callable[[str, bytes], Found], mime: str, head: bytes) -> Found:
    """Foreign bytes through foreign parsers: whatever they raise means that nothing is known."""
    try:
        return read(mime, head)
    except Exception:  # noqa: BLE001
        return {}


# -- images -------------------------------------------------------------------------------------------------------------


def _image(mime: str, head: bytes) -> Found:
    read = _HEADERS.get(mime, _heif)
    found, exif = read(head)
    with contextlib.suppress(Exception):  # a broken EXIF block leaves the size
        found |= from_exif(exif, found) if exif else {}
    return found


def _jpeg(head: bytes) -> tuple[Found, bytes]:
    """Size and EXIF block from the segments before the first scan (ITU T.81, annex B)."""
    found, exif, at = Found(), b"", 2
    while at + 4 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4])
        if marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        body = head[at + 4 : at + 2 + length]
        if marker == 0xDA:
            break
        if marker == 0xE1 and body.startswith(_EXIF_MARK):
            exif = exif or body
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            found = {"width": int.from_bytes(body[3:5]), "height": int.from_bytes(body[1:3])}
        at += 2 + length
    return found, exif


def _png(head: bytes) -> tuple[Found, bytes]:
    """Size from IHDR, EXIF from eXIf where it comes early (PNG, third edition, section 11)."""
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        return {}, b""
    exif, at = b"", 8
    while at + 8 <= len(head):
        length = int.from_bytes(head[at : at + 4])
        if head[at + 4 : at + 8] == b"eXIf":
            exif = head[at + 8 : at + 8 + length]
            break
        at += 12 + length
    return {"width": int.from_bytes(head[16:20]), "height": int.from_bytes(head[20:24])}, exif


def _gif(head: bytes) -> tuple[Found, bytes]:
    if head[:3] != b"GIF" or len(head) < 10:
        return {}, b""
    return {"width": int.from_bytes(head[6:8], "little"), "height": int.from_bytes(head[8:10], "little")}, b""


def _heif(head: bytes) -> tuple[Found, bytes]:
    """The EXIF block where it comes early; it has the size too."""
    at = head.find(_EXIF_MARK)
    return {}, head[at:] if at >= 0 else b""


def _webp(head: bytes) -> tuple[Found, bytes]:
    """Width and height of the three kinds of WebP (RFC 9649, sections 2.5 to 2.7)."""
    kind, body = head[12:16], head[20:]
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(body) < 10:
        return {}, b""
    if kind == b"VP8X":
        size = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        size = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        size = int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return {"width": size[0], "height": size[1]}, b""


_HEADERS: Mapping[str, Callable[[bytes], tuple[Found, bytes]]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _webp,
}


def from_exif(block: bytes, known: Found) -> Found:
    """Time, position, orientation, flash and camera of an EXIF block (EXIF 2.32); `known` wins for the size."""
    from PIL import Image

    exif = Image.Exif()
    exif.load(block)
    more, found = exif.get_ifd(_EXIF), Found()
    time = _exif_time(more.get(_TAKEN) or exif.get(_DATETIME), more.get(_OFFSET))
    if time:
        found["datetime"] = time
    if isinstance(exif.get(_ORIENTATION), int):
        found["orientation"] = exif[_ORIENTATION]
    camera = {name: exif[tag].strip("\0 ")[:100] for name, tag in (("make", _MAKE), ("model", _MODEL)) if isinstance(exif.get(tag), str)}
    if any(camera.values()):
        found["camera"] = camera
    if isinstance(more.get(_FLASH), int):
        found["flash"] = _flash(more[_FLASH])
    place = _place(exif.get_ifd(_GPS))
    if place:
        found["gps"] = place
    for name, tag in (("width", _WIDTH), ("height", _HEIGHT)):
        if name not in known and isinstance(more.get(tag), int):
            found[name] = more[tag]
    return found


def _exif_time(text: Any, offset: Any) -> str | None:
    """`2020:01:02 03:04:05` with its offset where the camera wrote one, else taken for UTC; None: it is no time."""
    if not isinstance(text, str):
        return None
    zone: tzinfo = UTC
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", offset) if isinstance(offset, str) else None
    try:
        if match and int(match[2]) < 24:
            minutes = int(match[2]) * 60 + int(match[3])
            zone = timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
        return write_time(datetime.strptime(text.strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=zone))
    except (ValueError, OverflowError):  # a clock that was never set: the rest of the block is good
        return None


def _flash(bits: int) -> str:
    """The EXIF tag Flash in words (EXIF 2.32, section 4.6.5)."""
    if bits & 0x20:
        return "No flash function"
    mode = {1: "On", 2: "Off", 3: "Auto"}.get(bits >> 3 & 3, "")
    fired = "Fired" if bits & 1 else ("Did not fire" if mode else "No Flash")
    back = {2: "Return not detected", 3: "Return detected"}.get(bits >> 1 & 3, "")
    eye = "Red-eye reduction" if bits & 0x40 else ""
    return ", ".join(part for part in (mode, fired, eye, back) if part)


def _place(gps: Mapping[int, Any]) -> Found | None:
    latitude, longitude = _degrees(gps.get(2), gps.get(1), "S"), _degrees(gps.get(4), gps.get(3), "W")
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return {"lat": latitude, "long": longitude}


def _degrees(parts: Any, side: Any, negative: str) -> float | None:
    if not isinstance(parts, tuple) or len(parts) != 3:
        return None
    value = float(sum(float(part) / 60**power for power, part in enumerate(parts)))
    if not math.isfinite(value):  # a division by zero in the file
        return None
    return -value if str(side).strip("\0 ") == negative else value


# -- audio and shortcuts ------------------------------------------------------------------------------------------------


def _audio(mime: str, head: bytes) -> Found:
    return from_tags(_audio_tags(mime, head))


def from_tags(tags: Mapping[str, Any]) -> Found:
    """Artist, album, title and the like of a file's tags, by their common names, MP4's, or the frames of ID3."""
    found: Found = {}
    for name, keys in _WANTED.items():
        values = [tags[key] for key in keys if key in tags]
        if values:
            found[name] = _plain(values[0])
    for name in ("track", "year"):
        if name in found:
            digits = re.match(r"\d+", str(found.pop(name)))
            found |= {name: int(digits[0])} if digits else {}
    return found


def _audio_tags(mime: str, head: bytes) -> Mapping[str, Any]:
    stream = io.BytesIO(head)
    if mime in ("audio/mp3", "audio/mpeg"):
        from mutagen.easyid3 import EasyID3

        return dict(EasyID3(stream))  # type: ignore[no-untyped-call]
    if mime == "audio/flac":
        from mutagen.flac import FLAC

        return _tags(FLAC(stream))  # type: ignore[no-untyped-call]
    if mime == "audio/ogg":
        from mutagen.oggvorbis import OggVorbis

        return _tags(OggVorbis(stream))  # type: ignore[no-untyped-call]
    from mutagen.mp4 import MP4

    return _tags(MP4(stream))  # type: ignore[no-untyped-call]


def _tags(file: Any) -> Mapping[str, Any]:
    return {str(key).lower() if str(key).isascii() else str(key): value for key, value in dict(file.tags or {}).items()}


def _plain(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, int) else str(value)[:1024]


def _shortcut(_mime: str, head: bytes) -> Found:
    """Where a `.url` file leads."""
    match = re.search(rb"(?mi)^URL=([^\r\n]{1,4096})", head)
    return {"target": {"url": match[1].decode("utf-8", "replace").strip()}} if match else {}
