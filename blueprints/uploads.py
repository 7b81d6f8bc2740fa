"""`/files/uploads`: resumable uploads by tus 1.0 (https://tus.io/protocols/resumable-upload; docs/http/uploads.md).

The server asks `receive` where a large body goes before it comes, so that its bytes go straight where they stay, and what came
before a connection broke is kept; the view of the same request finishes the work.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any, BinaryIO

from flask import Response, request
from werkzeug.wrappers import Request

from blueprints._files import author
from blueprints._request import Service, instance, principal, public
from blueprints._request import asks as asks_for
from cozyd.errors import BadRequest, Conflict, Invalid, NotFound, PreconditionFailed, TooLarge, Unsupported
from cozyd.files import Dir, File
from cozyd.files.kinds import class_of, guess_mime
from cozyd.files.parts import ALGORITHMS, Checksum, Info, Part
from cozyd.files.tree import check_name, write_time
from cozyd.instance import Instance
from cozyd.permissions import FILES, ROOT_DIR, Principal

service = Service("uploads", __name__, url_prefix="/files/uploads")

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,checksum,expiration"
OFFSET_TYPE = "application/offset+octet-stream"
TOLD = ("Location", "Content-Location", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm")
EXPOSED = ", ".join((*TOLD, "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires"))


# -- routes -------------------------------------------------------------------------------------------------------------


@service.route("", methods=["OPTIONS"], access=public)
@service.route("/<id>", methods=["OPTIONS"], access=public)
def options(id: str = "") -> Response:  # noqa: ARG001
    """What of the protocol is spoken here."""
    algorithms = ",".join(ALGORITHMS)
    found = {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS, "Tus-Checksum-Algorithm": algorithms}
    return Response(status=204, headers=found | {"Tus-Max-Size": str(instance().largest_upload)})


@service.post("", access=asks_for("POST"))
def create() -> Response:
    """Begin an upload, with its first bytes perhaps."""
    with _part() as part:
        part.accept()
        answer = Response(status=201, headers=_state(part))
        answer.headers["Location"] = f"{request.host_url.rstrip('/')}/files/uploads/{part.info.id}"
        if part.is_whole:
            answer.headers["Content-Location"] = _made(part)
    return answer


@service.route("/<id>", methods=["HEAD"], access=asks_for("POST"))
def look(id: str) -> Response:
    """How far it is. One that is whole, but was interrupted before it became a file, becomes it now."""
    _check_version(request)
    info = _allowed(instance(), principal(), id)
    uploads = instance().uploads
    answer = Response(status=200)
    if info.file:
        answer.headers["Content-Location"] = f"/files/{info.file}"
    elif uploads.parts.offset(info) == info.length:
        with uploads.parts.open(id) as part:
            answer.headers["Content-Location"] = _made(part)
    answer.headers["Upload-Length"] = str(info.length)
    answer.headers["Upload-Offset"] = str(uploads.parts.offset(info))
    if info.told:
        answer.headers["Upload-Metadata"] = info.told
    answer.headers["Upload-Expires"] = _http_date(uploads.parts.expires(id))
    answer.headers["Cache-Control"] = "no-store"
    return answer


@service.patch("/<id>", access=asks_for("POST"))
@service.post("/<id>", access=asks_for("POST"))
def append(id: str) -> Response:
    """Go on with an upload; whose bytes are all there then, becomes a file. POST is for clients that name PATCH in a header."""
    method = _method(request)
    if method == "DELETE":
        return terminate(id)
    if method != "PATCH":
        raise NotFound("Not Found", error="no_route")
    with _part() as part:
        part.accept()
        answer = Response(status=204, headers=_state(part))
        if part.is_whole:
            answer.headers["Content-Location"] = _made(part)
    return answer


@service.delete("/<id>", access=asks_for("POST"))
def terminate(id: str) -> Response:
    """Give an upload up; a file that it has become stays."""
    _check_version(request)
    _allowed(instance(), principal(), id)
    with instance().uploads.parts.open(id) as part:
        part.forget()
    return Response(status=204)


@service.after_request
def _tell(answer: Response) -> Response:
    answer.headers["Tus-Resumable"] = VERSION
    answer.headers["Access-Control-Expose-Headers"] = EXPOSED
    if answer.status_code == 412 and request.headers.get("Tus-Resumable") != VERSION:
        answer.headers["Tus-Version"] = VERSION
    return answer


# -- bodies -------------------------------------------------------------------------------------------------------------


def receive(of: Instance, asking: Principal, environ: Mapping[str, Any]) -> Part:
    """Where the body of a request goes, as it comes.

    :raises CozyError: it may not come.
    """
    asked = Request(dict(environ))
    _check_version(asked)
    checksum = _checksum(asked)
    if environ["PATH_INFO"].rstrip("/") == service.url_prefix:
        part = _begun(of, asking, asked)
    else:
        part = _opened(of, asking, asked, environ["PATH_INFO"].rpartition("/")[2])
    part.expect(checksum)
    return part


def _part() -> Part:
    """The upload that this request's body goes to, with the body in it."""
    source: BinaryIO | Part = request.environ["wsgi.input"]
    if isinstance(source, Part):
        return source
    part = receive(instance(), principal(), request.environ)
    try:
        part.fill(source)
    except BaseException:
        part.close()
        raise
    return part


def _begun(of: Instance, asking: Principal, asked: Request) -> Part:
    length = _number(asked, "Upload-Length")
    if length > of.largest_upload:
        raise TooLarge("The upload is larger than the server accepts")
    if _has_body(asked):
        _check_type(asked)
        if (asked.content_length or 0) > length:
            raise TooLarge("More bytes would come than were announced", source="Upload-Length")
    told = asked.headers.get("Upload-Metadata", "")
    said = _metadata(told)
    old = of.files.file(said["replaces"]) if said.get("replaces") else None
    home = of.files.dir(old.parent if old else said.get("dir") or ROOT_DIR)
    name = old.name if old else check_name(said.get("filename") or said.get("name") or "")
    fields = _fields(said, name)
    _check(asking, of, home, name, fields, old)
    return of.uploads.begin(home, name, length, replaces=old, fields=fields, told=told)


def _opened(of: Instance, asking: Principal, asked: Request, id: str) -> Part:
    _check_type(asked)
    offset = _number(asked, "Upload-Offset")
    info = _allowed(of, asking, id)
    part = of.uploads.parts.open(info.id)
    try:
        if part.size != offset:
            raise Conflict(f"The upload has {part.size} bytes", source="Upload-Offset")
        if offset + (asked.content_length or 0) > info.length:
            raise TooLarge("More bytes would come than were announced", source="Upload-Length")
    except BaseException:
        part.close()
        raise
    return part


def _allowed(of: Instance, asking: Principal, id: str) -> Info:
    """An upload, as it stands, for whoever may still put a file where it goes."""
    info = of.uploads.parts.info(id)
    home = of.files.dir(info.dir_id)
    old = of.files.file(info.replaces) if info.replaces and not info.file else None
    _check(asking, of, home, info.name, info.fields, old)
    return info


def _check(asking: Principal, of: Instance, home: Dir, name: str, fields: Mapping[str, Any], old: File | None) -> None:
    """:raises Forbidden: the principal may not make, or overwrite, this file."""
    if asking.everything:
        return
    if old is not None:
        new = {**old.stored.doc, "class": class_of(str(fields["mime"])), **fields}
        for doc in (old.stored.doc, new):
            asking.check("PUT", FILES, doc, above=of.files.above(old))
        return
    doc = {"type": "file", "name": name, "dir_id": home.id, "class": class_of(str(fields["mime"])), **fields}
    asking.check("POST", FILES, doc, above=(home.stored, *of.files.above(home)))


# -- headers ------------------------------------------------------------------------------------------------------------


def _method(asked: Request) -> str:
    """The method; a header may name another for clients that can send only POST."""
    return asked.headers.get("X-HTTP-Method-Override", asked.method).upper()


def _check_version(asked: Request) -> None:
    if asked.headers.get("Tus-Resumable") != VERSION:
        raise PreconditionFailed("Tus-Resumable has to be 1.0.0", source="Tus-Resumable")


def _check_type(asked: Request) -> None:
    if asked.mimetype != OFFSET_TYPE:
        raise Unsupported(f"The body has to be {OFFSET_TYPE}")


def _has_body(asked: Request) -> bool:
    return bool(asked.content_length) or "chunked" in asked.headers.get("Transfer-Encoding", "")


def _number(asked: Request, name: str) -> int:
    text = asked.headers.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadRequest(f"{name} has to be a number of bytes", source=name)
    return int(text)


def _checksum(asked: Request) -> Checksum | None:
    """`Upload-Checksum: sha1 <base64>`.

    :raises BadRequest: another algorithm, or no digest.
    """
    text = asked.headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadRequest(f"Checksums are {', '.join(ALGORITHMS)}", source="Upload-Checksum")
    try:
        return Checksum(algorithm, base64.b64decode(encoded, validate=True))
    except ValueError:  # no Base64, or not even ASCII
        raise BadRequest("The checksum is malformed", source="Upload-Checksum") from None


def _metadata(text: str) -> dict[str, str]:
    """`Upload-Metadata: filename d29ybGQ=,dir ...`: names and base64 of values.

    :raises BadRequest: it is malformed.
    """
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        name, _, encoded = pair.strip().partition(" ")
        try:
            value = base64.b64decode(encoded.strip(), validate=True).decode()
        except ValueError:  # no Base64, not even ASCII, or no UTF-8
            raise BadRequest(f"The value of {name!r} is malformed", source="Upload-Metadata") from None
        if not name or name in found:
            raise BadRequest("Each name is given once", source="Upload-Metadata")
        found[name] = value
    return found


def _fields(said: Mapping[str, str], name: str) -> dict[str, Any]:
    """Members of the document that the metadata gives.

    :raises Invalid: a type or time that is none.
    """
    mime = (said.get("filetype") or said.get("type") or "").partition(";")[0].strip().lower()
    if mime and (mime.count("/") != 1 or not all(part.isascii() and part.isprintable() and " " not in part for part in mime.split("/"))):
        raise Invalid("The content type is malformed", source="filetype")
    mime = mime if mime and mime != "application/octet-stream" else guess_mime(name)
    found: dict[str, Any] = {"mime": mime, "executable": said.get("executable") == "true"}
    for key, member in (("createdAt", "created_at"), ("updatedAt", "updated_at")):
        if said.get(key):
            found[member] = _time(said[key], key)
    tags = list(dict.fromkeys(tag for tag in (one.strip() for one in said.get("tags", "").split(",")) if tag))
    return found | ({"tags": tags} if tags else {})


def _time(text: str, key: str) -> str:
    try:
        time = datetime.fromisoformat(text)
        return write_time(time)
    except (ValueError, OverflowError):
        raise Invalid(f"{key} is no time", source=key) from None


# -- answers ------------------------------------------------------------------------------------------------------------


def _made(part: Part) -> str:
    """Finish a whole upload; the address of its file."""
    return f"/files/{instance().uploads.finish(part, author()).id}"


def _state(part: Part) -> dict[str, str]:
    return {"Upload-Offset": str(part.size), "Upload-Expires": _http_date(instance().uploads.parts.expires(part.info.id))}


def _http_date(time: datetime) -> str:
    return format_datetime(time, usegmt=True)
