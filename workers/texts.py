"""The words of a content: plain text, HTML, PDF, office documents, mail; runs in a child process (docs/workers.md, section 4)."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

from cozyd.errors import Invalid
from workers import messages
from workers.plain import LONGEST, decoded, from_html

MOST_BYTES = 64 << 20
"""Of one entry of an office document, unpacked."""
MOST_PAGES = 500
_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"
_ENTRIES = re.compile(
    r"word/(document|footnotes|header\d*|footer\d*)\.xml|xl/(sharedStrings|worksheets/sheet\d+)\.xml|ppt/slides/slide\d+\.xml|content\.xml"
)
_PARAGRAPHS = frozenset(("p", "h", "si", "is"))
"""Local names of elements that hold words, in WordprocessingML, SpreadsheetML, DrawingML and OpenDocument."""
_SPACES = frozenset(("s", "tab", "br", "line-break"))


def text(files: Sequence[BinaryIO], *, mime: str) -> str:
    """The words of a content; empty for types that have none.

    :raises Invalid: it is not what its type says.
    """
    read = _reader_of(mime)
    if read is None:
        return ""
    words = "".join(_until(LONGEST, read(files[0])))
    return re.sub(r"[^\S\n]+", " ", words).strip()[:LONGEST]


def is_read(mime: str) -> bool:
    """Whether contents of a type have words that can be read."""
    return _reader_of(mime) is not None


def _reader_of(mime: str) -> "Callable[[BinaryIO], Iterator[str]] | None":
    if mime in _READERS:
        return _READERS[mime]
    return _plain if mime.startswith("text/") else None


def _until(count: int, pieces: Iterator[str]) -> Iterator[str]:
    for piece in pieces:
        yield piece
        count -= len(piece)
        if count < 0:
            return


def _plain(source: BinaryIO) -> Iterator[str]:
    yield decoded(source.read(LONGEST * 4))


def _html(source: BinaryIO) -> Iterator[str]:
    yield from_html(decoded(source.read(LONGEST * 10)))


def _pdf(source: BinaryIO) -> Iterator[str]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(source)
    except pypdfium2.PdfiumError as cause:
        raise Invalid(f"The PDF cannot be read: {cause}") from cause
    try:
        for number in range(min(len(document), MOST_PAGES)):
            page = document[number]
            words = page.get_textpage()
            yield words.get_text_bounded() + "\n"
            words.close()
            page.close()
    finally:
        document.close()


def _office(source: BinaryIO) -> Iterator[str]:
    """The words of the entries that have some, each read only so far as it may be."""
    try:
        archive = zipfile.ZipFile(source)
    except zipfile.BadZipFile as cause:
        raise Invalid("The document is no zip") from cause
    with archive:
        for entry in archive.infolist():
            if _ENTRIES.fullmatch(entry.filename):
                if entry.file_size > MOST_BYTES or entry.flag_bits & 1:
                    raise Invalid("A part of the document is too large, or has a password")
                with archive.open(entry) as stream:
                    yield from _xml(io.BytesIO(stream.read(MOST_BYTES)))


def _xml(source: BinaryIO) -> Iterator[str]:
    from defusedxml.ElementTree import ParseError, iterparse

    inside = 0
    try:
        for event, element in iterparse(source, events=("start", "end"), forbid_dtd=True):
            name = element.tag.rpartition("}")[2]
            inside += (name in _PARAGRAPHS) * (1 if event == "start" else -1)
            if event == "end" and name in _SPACES:
                element.text = " "
            elif event == "end" and not inside:
                yield "".join(element.itertext()) + "\n"
                element.clear()
    except ParseError as cause:
        raise Invalid("The document is not well formed") from cause


_READERS: Mapping[str, Callable[[BinaryIO], Iterator[str]]] = {
    "text/html": _html,
    "application/xhtml+xml": _html,
    "application/json": _plain,
    "application/pdf": _pdf,
    "message/rfc822": messages.words,
    **dict.fromkeys(
        (f"{_OFFICE}.{one}" for one in ("wordprocessingml.document", "spreadsheetml.sheet", "presentationml.presentation")), _office
    ),
    **dict.fromkeys((f"{_OPEN}.{one}" for one in ("text", "spreadsheet", "presentation")), _office),
}
