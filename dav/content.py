"""GET and HEAD of files: ranges and conditions (RFC 9110), without holding a thread while the bytes leave."""

import re
from collections.abc import Iterable
from email.utils import format_datetime
from typing import Any

from werkzeug.http import is_resource_modified
from werkzeug.wsgi import FileWrapper

from cozyd.errors import RangeNotSatisfiable
from cozyd.files import File
from dav import conditions
from dav.access import Environ, answer
from dav.call import Call, tag_of

PIECE = 1 << 18
_RANGE = re.compile(r"bytes=(?=\d|-\d)(\d{0,18})-(\d{0,18})")
FOLDER = b"This is a folder. Open it with a WebDAV client; the page /sync/ of this address says how.\n"


def get(call: Call) -> Iterable[bytes]:
    """The content of a file, whole or in part; a hint for a person who opens a folder."""
    files, environ, start_response = call.files, call.environ, call.start_response
    node = files.at(call.path)
    if call.if_lists:
        call.check_conditions()
    if not isinstance(node, File):
        body = FOLDER if environ["REQUEST_METHOD"] == "GET" else b""
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(FOLDER)))])
        return [body]
    tag = tag_of(node)
    conditions.check_http({name: value for name, value in environ.items() if name != "HTTP_IF_NONE_MATCH"}, tag, node.mtime)
    headers = [("ETag", tag), ("Last-Modified", _date(node)), ("Accept-Ranges", "bytes")]
    asked = {name: value for name, value in environ.items() if name not in ("HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE")}
    if not is_resource_modified(asked, etag=node.rev, last_modified=node.mtime):
        return answer(start_response, 304, headers)
    headers += [
        ("Content-Type", node.mime),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "sandbox; default-src 'none'"),
    ]
    try:
        part = _range(node, tag, environ)
    except RangeNotSatisfiable as error:
        return answer(start_response, 416, [("Content-Range", f"bytes */{error.size}")])
    start, stop = part or (0, node.blob.size)
    status = "206 Partial Content" if part else "200 OK"
    if part:
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{node.blob.size}"))
    headers.append(("Content-Length", str(stop - start)))
    if environ["REQUEST_METHOD"] == "HEAD":
        start_response(status, headers)
        return [b""]
    stream = files.read(node, start=start, stop=stop)
    start_response(status, headers)
    wrapper: Any = environ.get("wsgi.file_wrapper", FileWrapper)
    pieces: Iterable[bytes] = wrapper(stream, PIECE)
    return pieces


def _range(file: File, tag: str, environ: Environ) -> tuple[int, int] | None:
    """From, up to; None: all. Several ranges, or an If-Range that does not hold, give all (RFC 9110, section 14.2).

    :raises RangeNotSatisfiable: no byte of it exists.
    """
    size = file.blob.size
    found = _RANGE.fullmatch(environ.get("HTTP_RANGE", "").strip())
    condition = environ.get("HTTP_IF_RANGE")
    if found is None or environ["REQUEST_METHOD"] != "GET" or (condition and condition not in (tag, _date(file))):
        return None
    first, last = found.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, stop


def _date(file: File) -> str:
    return format_datetime(file.mtime, usegmt=True)
