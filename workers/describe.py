"""What images, PDFs, audio and video say about themselves when all is read; runs in a child process (docs/workers.md, section 3)."""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from cozyd.errors import Invalid
from cozyd.files import metadata
from cozyd.files.tree import write_time
from workers import boxes

Found = dict[str, Any]
LONGEST_TEXT = 1024
_EXIF_MARK = b"Exif\0\0"
_LATEST = 8095 * 365 * 86_400
"""Seconds from 1904 until no year has four digits any more."""


def describe(files: Sequence[BinaryIO], *, mime: str) -> Found:
    """What a content says, as members of `metadata`.

    :raises Invalid: it cannot be read.
    """
    kind = "pdf" if mime == "application/pdf" else mime.partition("/")[0]
    read = _READERS.get(kind)
    return read(files[0]) if read is not None else {}


def _image(source: BinaryIO) -> Found:
    from PIL import Image, UnidentifiedImageError
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)
    Image.MAX_IMAGE_PIXELS = None  # no pixel is decoded
    try:
        image = Image.open(source)
    except UnidentifiedImageError as cause:
        raise Invalid("The content is no image that is known here") from cause
    found: Found = {"width": image.width, "height": image.height}
    block = image.info.get("exif") or _exif_of(image)
    if block:
        found |= metadata.from_exif(block if block.startswith(_EXIF_MARK) else _EXIF_MARK + block, found)
    return found


def _exif_of(image: Any) -> bytes:
    """The EXIF block of a format that has none of its own kind, as TIFF."""
    try:
        return bytes(image.getexif().tobytes())
    except Exception:  # noqa: BLE001 - foreign tags
        return b""


def _pdf(source: BinaryIO) -> Found:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(source)
    except pypdfium2.PdfiumError as cause:
        raise Invalid(f"The PDF cannot be read: {cause}") from cause
    try:
        given = document.get_metadata_dict(skip_empty=True)
        found: Found = {"pages": len(document)}
    finally:
        document.close()
    for name in ("Title", "Author", "Subject", "Keywords"):
        if given.get(name):
            found[name.lower()] = given[name][:LONGEST_TEXT]
    return found


def _audio(source: BinaryIO) -> Found:
    import mutagen

    opened = mutagen.File(source, easy=True)
    if opened is None:
        raise Invalid("The content is no audio that is known here")
    found = metadata.from_tags(dict(opened.tags or {}))
    length = getattr(opened.info, "length", 0)
    return found | ({"duration": round(length, 3)} if length and length > 0 else {})


def _video(source: BinaryIO) -> Found:
    """Of the family of MP4 (ISO/IEC 14496-12), and of Matroska and WebM (RFC 9559)."""
    head = source.read(12)
    source.seek(0, io.SEEK_END)
    size = source.tell()
    film = boxes.film(source, size) if head[4:8] in boxes.BEGINNINGS else boxes.matroska(source) if head[:4] == boxes.EBML else None
    if film is None:
        raise Invalid("The content is no video that is known here")
    found: Found = {}
    if film.width and film.height:
        found |= {"width": film.width, "height": film.height}
    if film.duration:
        found["duration"] = round(film.duration, 3)
    if film.rotation:
        found["rotation"] = film.rotation
    if 0 < film.made < _LATEST:
        found["datetime"] = write_time(datetime(1904, 1, 1, tzinfo=UTC) + timedelta(seconds=film.made))
    return found


_READERS: Mapping[str, Callable[[BinaryIO], Found]] = {"image": _image, "pdf": _pdf, "audio": _audio, "video": _video}
