"""Small office documents, as the programs write them."""

import io
import zipfile
from collections.abc import Mapping


def zipped(entries: Mapping[str, str | bytes]) -> bytes:
    """A zip with these entries."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return made.getvalue()


def docx(words: str) -> bytes:
    """A Word document of one paragraph, in two runs."""
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    runs = "".join(f"<w:r><w:t xml:space='preserve'>{part} </w:t></w:r>" for part in words.split(" "))
    return zipped(
        {
            "[Content_Types].xml": "<x/>",
            "word/document.xml": f"<w:document xmlns:w='{space}'><w:body><w:p>{runs}</w:p></w:body></w:document>",
        }
    )


def odt(words: str) -> bytes:
    """An OpenDocument text with a heading and a paragraph."""
    space = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
    body = f"<x xmlns:text='{space}'><text:h>Heading</text:h><text:p>{words}<text:s/>end</text:p></x>"
    return zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": body})


def xlsx(words: str) -> bytes:
    """An Excel sheet with one text."""
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return zipped({"xl/sharedStrings.xml": f"<sst xmlns='{space}'><si><t>{words}</t></si></sst>"})
