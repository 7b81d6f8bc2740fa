"""Plain text of bytes that do not say their encoding, and of pages; for a child process (docs/workers.md, section 4)."""

from html.parser import HTMLParser

LONGEST = 100_000
"""Characters; what comes behind is not searched."""
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\0\0", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def decoded(raw: bytes) -> str:
    """Text of an encoding that nobody names: by its mark, else UTF-8, else what Windows writes."""
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return raw.decode(name, "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        is_cut = error.start > len(raw) - 4 and error.reason == "unexpected end of data" and not raw[: error.start].isascii()
        return raw[: error.start].decode() if is_cut else raw.decode("cp1252", "replace")


class _Words(HTMLParser):
    """The words between tags, but for scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._silent += tag in ("script", "style", "template")
        self.found.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in ("script", "style", "template")))

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.found.append(data)


def from_html(page: str) -> str:
    """The words of a page."""
    parser = _Words()
    parser.feed(page[: LONGEST * 10])
    parser.close()
    return "".join(parser.found)
