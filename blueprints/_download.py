"""Contents over HTTP: ranges, conditions, dispositions (RFC 9110), without holding a thread while the bytes leave."""

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, BinaryIO
from urllib.parse import quote

from flask import Response, request
from werkzeug.http import is_resource_modified, parse_range_header

from cozyd.errors import RangeNotSatisfiable
from cozyd.files import File, Files

PIECE = 1 << 18
_SAFE_INLINE = re.compile(r"(image/(?!svg)|audio/|video/|text/plain$|application/pdf$)")
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'"


def download(files: Files, file: File, *, attachment: bool) -> Response:
    """A file's content, whole or the range that was asked.

    :param attachment: have it saved, not shown.
    :raises RangeNotSatisfiable: no byte of the range exists.
    """
    etag = f'"{file.blob.md5}"'
    headers = _headers(file, etag, attachment=attachment)
    environ = request.environ
    if not is_resource_modified(environ, etag=file.blob.md5, last_modified=file.mtime):
        return Response(status=304, headers={"ETag": etag, "Last-Modified": headers["Last-Modified"]})
    start, stop = _range(file, etag)
    status = 200
    if (start, stop) != (0, file.blob.size):
        status = 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.blob.size}"
    headers["Content-Length"] = str(stop - start)
    if request.method == "HEAD":
        return Response(status=status, headers=headers)
    stream = files.read(file, start=start, stop=stop)
    return Response(_sent(stream), status, headers=headers, direct_passthrough=True)


def _sent(stream: BinaryIO) -> Any:
    wrapper = request.environ.get("wsgi.file_wrapper")
    if wrapper is not None:
        return wrapper(stream, PIECE)
    return iter(lambda: stream.read(PIECE), b"")


def _range(file: File, etag: str) -> tuple[int, int]:
    """The bytes to send: from, up to. More than one range, or an If-Range that does not hold, gives all."""
    size = file.blob.size
    asked = request.headers.get("Range")
    condition = request.headers.get("If-Range")
    if not asked or (condition and condition not in (etag, format_datetime(file.mtime.astimezone(UTC), usegmt=True))):
        return 0, size
    parsed = parse_range_header(asked)
    if parsed is None or parsed.units != "bytes" or len(parsed.ranges) != 1:
        return 0, size
    found = parsed.range_for_length(size)
    if found is None:
        raise RangeNotSatisfiable(size)
    return found


def _headers(file: File, etag: str, *, attachment: bool) -> dict[str, str]:
    active = not _SAFE_INLINE.match(file.mime)
    headers = {
        "Content-Type": file.mime,
        "Content-Disposition": disposition(file.name, attachment=attachment),
        "ETag": etag,
        "Last-Modified": format_datetime(min(file.mtime, datetime.now(UTC)).astimezone(UTC), usegmt=True),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    if active:
        headers["Content-Security-Policy"] = SANDBOX
    return headers


def disposition(name: str, *, attachment: bool) -> str:
    """Content-Disposition (RFC 6266): a plain name, and the exact one where they differ."""
    plain = "".join(char for char in name if " " < char < "\x7f" and char not in '"/\\')
    text = f'{"attachment" if attachment else "inline"}; filename="{plain}"'
    return text if plain == name else f"{text}; filename*=UTF-8''{quote(name, safe='')}"
