"""Contents over HTTP: ranges, conditions, dispositions (RFC 9110), without holding a thread while the bytes leave."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, BinaryIO
from urllib.parse import quote

from flask import Response, request
from werkzeug.wsgi import FileWrapper

from blueprints import _ranges
from cozyd.errors import PreconditionFailed
from cozyd.files import File, Files, Version

PIECE = 1 << 18
_SAFE_INLINE = re.compile(r"(image/(?!svg)|audio/|video/|text/plain$|application/pdf$)")
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'"
NO_FORMS = "form-action 'none'"
FRAMED = "frame-ancestors *"


@dataclass(frozen=True, slots=True)
class Download:
    """Bytes to be sent.

    :param etag: names these very bytes.
    :param open: gives a stream of the bytes from an offset up to another (exclusive).
    """

    name: str
    mime: str
    size: int
    etag: str
    mtime: datetime
    open: Callable[[int, int], BinaryIO]


def of_file(files: Files, file: File) -> Download:
    """A file's content."""
    return Download(
        file.name, file.mime, file.blob.size, file.blob.md5, file.mtime, lambda start, stop: files.read(file, start=start, stop=stop)
    )


def of_version(files: Files, file: File, version: Version, name: str) -> Download:
    """An earlier content of a file."""
    blob = version.blob
    return Download(name, file.mime, blob.size, blob.md5, version.mtime, lambda start, stop: files.open(blob, start=start, stop=stop))


def send(download: Download, *, attachment: bool, policy: Sequence[str] = ()) -> Response:
    """The bytes, whole or the range that was asked.

    :param attachment: have them saved, not shown.
    :param policy: directives of the Content-Security-Policy; active content gets a sandbox too.
    :raises PreconditionFailed: `If-Match` or `If-Unmodified-Since` does not hold.
    :raises RangeNotSatisfiable: no byte of the range exists.
    """
    etag = f'"{download.etag}"'
    _check_conditions(download)
    headers = _headers(download, etag, attachment=attachment, policy=policy)
    if _is_known(download):
        kept = ("ETag", "Last-Modified", "Content-Disposition")
        return Response(status=304, headers={name: headers[name] for name in kept})
    wanted = _range(download, etag)
    start, stop = wanted or (0, download.size)
    status = 200
    if wanted is not None:
        status = 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{download.size}"
    headers["Content-Length"] = str(stop - start)
    if request.method == "HEAD":
        return Response(status=status, headers=headers)
    stream = download.open(start, stop)
    return Response(_sent(stream), status, headers=headers, direct_passthrough=True)


def _sent(stream: BinaryIO) -> Any:
    wrapper = request.environ.get("wsgi.file_wrapper", FileWrapper)
    return wrapper(stream, PIECE)


def _check_conditions(download: Download) -> None:
    """RFC 9110, section 13.2.2, its first two steps.

    :raises PreconditionFailed: the content is not, or no more, what is wanted.
    """
    since = request.if_unmodified_since
    if "If-Match" in request.headers:
        if not request.if_match.contains(download.etag):
            raise PreconditionFailed(source="If-Match")
    elif since is not None and download.mtime.replace(microsecond=0) > since:
        raise PreconditionFailed(source="If-Unmodified-Since")


def _is_known(download: Download) -> bool:
    """Whether the asker has this very content (the next two steps)."""
    if "If-None-Match" in request.headers:
        return request.if_none_match.contains_weak(download.etag)
    since = request.if_modified_since
    return since is not None and download.mtime.replace(microsecond=0) <= since


def _range(download: Download, etag: str) -> tuple[int, int] | None:
    """The bytes to send: from, up to. None: all, for want of a range, or of an `If-Range` that holds."""
    asked, condition = request.headers.get("Range"), request.headers.get("If-Range")
    if not asked or (condition and condition not in (etag, _last_modified(download))):
        return None
    return _ranges.wanted(asked, download.size)


def _last_modified(download: Download) -> str:
    """Never in the future (RFC 9110, section 8.8.2.1)."""
    return format_datetime(min(download.mtime, datetime.now(UTC)).astimezone(UTC), usegmt=True)


def _headers(download: Download, etag: str, *, attachment: bool, policy: Sequence[str]) -> dict[str, str]:
    headers = {
        "Content-Type": download.mime,
        "Content-Disposition": disposition(download.name, attachment=attachment),
        "ETag": etag,
        "Last-Modified": _last_modified(download),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    rules = [*policy] if attachment or _SAFE_INLINE.match(download.mime) else [SANDBOX, *policy]
    if rules:
        headers["Content-Security-Policy"] = "; ".join(rules)
    return headers


def framed(mime: str) -> Sequence[str]:
    """What a secret link adds: contents that apps show in frames of their own pages may be framed."""
    shown = mime in ("text/plain", "application/pdf") or mime.startswith(("image/", "audio/", "video/"))
    return (FRAMED,) if shown else ()


def disposition(name: str, *, attachment: bool) -> str:
    """Content-Disposition (RFC 6266): a plain name, and the exact one where they differ."""
    plain = "".join(char for char in name if " " < char < "\x7f" and char not in '"/\\') or "download"
    text = f'{"attachment" if attachment else "inline"}; filename="{plain}"'
    return text if plain == name else f"{text}; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
