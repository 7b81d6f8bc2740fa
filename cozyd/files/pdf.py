"""One page of a PDF as a PDF of its own, cut out by a child process with limits (docs/http/files.md).

`cut` runs in the child; `page` asks it to.
"""

import threading
from collections.abc import Sequence
from typing import BinaryIO

from cozyd.children import CHILDREN, descriptor, memory_file
from cozyd.errors import Invalid, Unavailable

MIME = "application/pdf"
SECONDS = 15
AT_ONCE = 2
_places = threading.BoundedSemaphore(AT_ONCE)


def page(source: BinaryIO, number: int) -> bytes:
    """One page.

    :param source: a PDF.
    :param number: from 1 on.
    :raises Invalid: it is no PDF, broken, too large, or has no such page.
    :raises Unavailable: others are cut out now.
    """
    if not _places.acquire(timeout=SECONDS):
        raise Unavailable("Pages of other files are cut out now", retry_after=SECONDS)
    try:
        with descriptor(source) as content, memory_file() as target:
            try:
                CHILDREN.call("cozyd.files.pdf:cut", {"number": number}, [content, target.fileno()], timeout=SECONDS)
            except Invalid as error:
                raise Invalid(error.detail, source="Page") from error
            target.seek(0)
            return target.read()
    finally:
        _places.release()


def cut(files: Sequence[BinaryIO], *, number: int) -> None:
    """Write a page of the first file into the second.

    :raises Invalid: it has no such page.
    """
    from pypdfium2 import PdfDocument

    with PdfDocument(files[0]) as source, PdfDocument.new() as made:
        if not 1 <= number <= len(source):
            raise Invalid(f"The file has pages 1 to {len(source)}")
        made.import_pages(source, [number - 1])
        made.save(files[1])
