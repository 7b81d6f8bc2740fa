"""Files of an app over HTTP: packed ones where the browser takes them, ETags, ranges, immutable names (RFC 9110)."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.http import parse_etags, quote_etag
from werkzeug.wsgi import FileWrapper

from blueprints import _ranges
from cozyd.apps.bundles import Bundle, Coding, Entry

Environ = dict[str, Any]
PIECE = 1 << 18
FOREVER, ASK_AGAIN = "max-age=31536000, immutable", "private, no-cache"
_BUILD = re.compile(r"[0-9a-f]{16,64}")
_HASHED = re.compile(r"[^.]*\.(?:[0-9a-f]{10,}|immutable)\.")


class FileAnswer:
    """An answer that is one file, as a WSGI application: werkzeug's `Response` costs as much as all the rest."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, status: str, headers: Mapping[str, str], body: Iterable[bytes] = ()) -> None:
        self._status = status
        self._headers = headers
        self._body = body

    def __call__(self, _: Any, start_response: Any) -> Iterable[bytes]:
        """See PEP 3333."""
        start_response(self._status, list(self._headers.items()))
        return self._body


def send(environ: Environ, bundle: Bundle, name: str, policy: Callable[[], str]) -> FileAnswer:
    """A file of a bundle, which has it.

    :param policy: gives the Content-Security-Policy of what a browser may show as a page.
    :raises RangeNotSatisfiable: no byte of the range exists.
    """
    entry = bundle.entries[name]
    coding = _coding(environ, entry)
    etag = f"{entry.hash}-{coding}" if coding else entry.hash
    headers = {
        "ETag": quote_etag(etag),
        "Cache-Control": FOREVER if is_immutable(name, environ.get("QUERY_STRING", "")) else ASK_AGAIN,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-site",
    }
    if "HTTP_IF_NONE_MATCH" in environ and etag in parse_etags(environ["HTTP_IF_NONE_MATCH"]):
        return FileAnswer("304 Not Modified", headers)
    size = entry.sizes[coding]
    headers |= {"Content-Type": entry.type, "Accept-Ranges": "bytes"}
    if entry.type.startswith(("text/html", "image/svg", "application/xhtml", "text/xml", "application/xml")):
        headers["Content-Security-Policy"] = policy()
    if coding:
        headers["Content-Encoding"] = coding
    wanted = _range(environ, size, quote_etag(etag))
    start, stop = wanted or (0, size)
    status = "200 OK"
    if wanted is not None:
        status = "206 Partial Content"
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    if environ["REQUEST_METHOD"] == "HEAD":
        return FileAnswer(status, headers)
    return FileAnswer(status, headers, _content(environ, bundle, name, coding, start, stop))


def is_immutable(name: str, query: str = "") -> bool:
    """Whether a name holds the hash of its content, so that it never has another; or the page asks with the hash of its whole build."""
    return _HASHED.match(name.rpartition("/")[2]) is not None or _BUILD.fullmatch(query) is not None


def _coding(environ: Environ, entry: Entry) -> Coding:
    """The smallest coding that the browser takes."""
    accepted = environ.get("HTTP_ACCEPT_ENCODING", "") if len(entry.sizes) > 1 else ""
    if "br" in entry.sizes and re.search(r"\bbr\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", accepted):
        return "br"
    if "gzip" in entry.sizes and re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", accepted):
        return "gzip"
    return ""


def _range(environ: Environ, size: int, etag: str) -> tuple[int, int] | None:
    """The bytes to send: from, up to. None: all, for want of a range, or of an If-Range that holds."""
    asked, condition = environ.get("HTTP_RANGE"), environ.get("HTTP_IF_RANGE")
    return _ranges.wanted(asked, size) if asked and (not condition or condition == etag) else None


def _content(environ: Environ, bundle: Bundle, name: str, coding: Coding, start: int, stop: int) -> Any:
    file = open(bundle.path(name, coding), "rb")  # noqa: SIM115  # the server closes what it sends
    if (start, stop) != (0, bundle.entries[name].sizes[coding]):
        with file:
            file.seek(start)
            return [file.read(stop - start)]
    wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
    return wrapper(file, PIECE)
