"""PUT of files over WebDAV: whole contents only, sealed before a document names them, checked again in the commit's moment."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

from cozyd.errors import BadRequest, MethodNotAllowed, Unsupported
from cozyd.files import Dir, File
from cozyd.files.blobs import PIECE, Blob
from cozyd.files.kinds import guess_mime
from cozyd.files.tree import check_name, same_name, write_time
from dav.access import answer
from dav.call import Call, tag_of

_GENERIC = frozenset(("", "application/octet-stream", "application/x-www-form-urlencoded"))
_KEPT = ("tags", "executable", "metadata")
_DIGESTS: Mapping[str, Callable[[], Any]] = {
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}


def put(call: Call) -> Iterable[bytes]:
    """Make a file, or give one its next content."""
    _check_whole(call)
    fields = _times(call)
    home, name = call.home(call.path)
    if call.environ["PATH_INFO"].endswith("/") or isinstance(call.find(call.path), Dir):
        raise MethodNotAllowed("A folder has no content", allow="OPTIONS, PROPFIND, PROPPATCH, DELETE, COPY, MOVE, LOCK, UNLOCK")
    check_name(name)
    with call.visit.instance.hold(f"webdav{same_name(call.path)}", wait=120):
        made, is_new = _receive(call, home, name, fields)
    headers = [("ETag", tag_of(made)), ("OC-ETag", tag_of(made)), ("OC-FileId", made.id)]
    if fields:
        headers.append(("X-OC-Mtime", "accepted"))
    return answer(call.start_response, 201 if is_new else 204, headers)


def _check_whole(call: Call) -> None:
    """A part of a content is refused, never taken for the whole (RFC 9110, section 14.5).

    :raises BadRequest: a range. Unsupported: a coded content.
    """
    if call.header("Content-Range") or call.header("X-Update-Range"):
        raise BadRequest("A part of a file cannot be written; send it whole")
    if call.header("Content-Encoding").lower() not in ("", "identity"):
        raise Unsupported("A coded content cannot be written; send it as it is")


def _receive(call: Call, home: Dir, name: str, fields: dict[str, Any]) -> tuple[File, bool]:
    old = call.files.find(home, name)
    old = old if isinstance(old, File) else None
    call.allow("PUT" if old is not None else "POST")
    _check(call, old)
    length = call.environ.get("CONTENT_LENGTH") or ""
    body: BinaryIO = call.environ["wsgi.input"]
    _check_sum(call, body)
    with call.files.new(size=int(length) if length.isdigit() else None, replaces=old, type=guess_mime(name)) as upload:
        upload.fill(body)
        blob = upload.seal()
    try:
        _check_length(blob, length)
        with call.alone():
            _check(call, old)
            made = call.files.put(home, old.name if old else name, blob, replaces=old, fields=_fields(call, old, name) | fields)
    except BaseException:
        call.files.discard(blob)
        raise
    return made, old is None


def _check(call: Call, old: File | None) -> None:
    call.check_conditions()
    call.check_locks(call.path, member=old is None)


def _check_length(blob: Blob, length: str) -> None:
    if length.isdigit() and int(length) != blob.size:
        raise BadRequest("The content is shorter than announced")


def _check_sum(call: Call, body: BinaryIO) -> None:
    """OC-Checksum, as ownCloud's clients and rclone send it: `SHA1:...`; kinds that are not known are not checked.

    :raises BadRequest: it is not that of the content.
    """
    kind, _, expected = call.header("OC-Checksum").partition(":")
    new = _DIGESTS.get(kind.strip().lower())
    if new is None:
        return
    digest = new()
    while piece := body.read(PIECE):
        digest.update(piece)
    body.seek(0)
    if digest.hexdigest() != expected.strip().lower():
        raise BadRequest("The content has not the checksum it was sent with")


def _fields(call: Call, old: File | None, name: str) -> dict[str, Any]:
    kept = {key: old.stored.doc[key] for key in _KEPT if key in old.stored.doc} if old else {}
    return kept | {"mime": _mime(call, name)}


def _mime(call: Call, name: str) -> str:
    given: str = call.environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    return guess_mime(name) if given in _GENERIC or "/" not in given else given


def _times(call: Call) -> dict[str, Any]:
    """X-OC-Mtime: the client's time of the last change, in seconds since 1970.

    :raises BadRequest: it is none.
    """
    text = call.header("X-OC-Mtime")
    try:
        return {"updated_at": write_time(datetime.fromtimestamp(float(text), UTC))} if text else {}
    except (ValueError, OverflowError, OSError):
        raise BadRequest("X-OC-Mtime is no time") from None
