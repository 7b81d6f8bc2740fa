"""What an upload says in its query and headers, and the taking of its body (docs/http/files.md)."""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO

from flask import request

from blueprints._files import author, files, may
from blueprints._request import flag
from cozyd import jsons
from cozyd.errors import BadRequest, Invalid, PreconditionFailed
from cozyd.files import Dir, File
from cozyd.files.contents import SMALL
from cozyd.files.kinds import DEFAULT_MIME, guess_mime
from cozyd.files.tree import read_moment, unique_tags, write_moment, write_time

CERTIFIED = {"carbonCopy": "io.cozy.certified.carbon_copy", "electronicSafe": "io.cozy.certified.electronic_safe"}
_WORD = r"[a-z0-9!#$%&'*+.^_`|~-]{1,127}"
_MIME = re.compile(f"{_WORD}(/{_WORD})?")


def received(home: Dir, name: str, fields: Mapping[str, Any], *, replaces: File | None = None, exact: bool = False) -> File:
    """Take the body as a file's content: the bytes are sealed before the document names them.

    :raises PreconditionFailed: digest or length are not what was said; nothing is left.
    """
    length, declared, wanted = request.content_length, _declared(), _wanted_md5()
    with files().new(size=length if length is not None else declared, replaces=replaces, type=fields["mime"]) as upload:
        source: BinaryIO = request.environ["wsgi.input"]
        upload.fill(source)
        blob = upload.seal()
    if wanted is not None and wanted != blob.md5:
        files().discard(blob)
        raise PreconditionFailed("Invalid hash", source="Content-MD5")
    if declared is not None and declared != blob.size:
        files().discard(blob)
        raise PreconditionFailed("Content length does not match", source="Content-Length")
    return files().put(home, name, blob, replaces=replaces, fields=fields, author=author(), exact=exact)


def is_small() -> bool:
    """Whether the body is known to be so small that it has come as a whole already."""
    length = request.content_length
    return length is not None and length <= SMALL


def _declared() -> int | None:
    """`Size`, of a body that comes in chunks; of others the length is known, and it says nothing."""
    text = request.args.get("Size", "")
    return int(text) if request.environ.get("cozyd.chunked") and text.isascii() and text.isdigit() and len(text) < 19 else None


def _wanted_md5() -> str | None:
    text = request.headers.get("Content-MD5")
    if not text:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:  # no Base64, or not even ASCII
        digest = b""
    if len(digest) != 16:
        raise Invalid("Given Content-MD5 is invalid", source="Content-MD5")
    return base64.b64encode(digest).decode()


def file_fields(name: str) -> dict[str, Any]:
    """The members of a file's document that the request gives.

    :raises Invalid: type, metadata or MetadataID cannot be used.
    """
    mime = request.mimetype
    if request.headers.get("Content-Type") and not _MIME.fullmatch(mime):
        raise Invalid("Invalid Content-Type", source="mime")
    if not mime or mime == DEFAULT_MIME or name.lower().endswith(".url"):
        mime = guess_mime(name)
    if mime == "text/xml" and name.lower().endswith(".svg"):
        mime = "image/svg+xml"
    flags = {"executable": flag("Executable"), "encrypted": flag("Encrypted")}
    return {"mime": mime, **flags, **times(), **tags(), **_metadata()}


def dir_fields() -> dict[str, Any]:
    """The members of a folder's document that the request gives.

    :raises Invalid: as `file_fields`.
    """
    return {**times(), **tags(), **_metadata()}


def tags() -> dict[str, Any]:
    """`Tags`, by comma; each once."""
    found = unique_tags(request.args.get("Tags", "").split(","))
    return {"tags": found} if found else {}


def times() -> dict[str, Any]:
    """Times the client gives; unreadable ones count as absent."""
    found: dict[str, Any] = {}
    date = _sent_at(request.headers.get("Date", ""))
    if date is not None:
        found |= {"created_at": write_time(date), "updated_at": write_time(date)}
    for name, key in (("CreatedAt", "created_at"), ("UpdatedAt", "updated_at")):
        time = read_moment(request.args.get(name, "").replace(" ", "+"))  # a plus sign that came as a space is one again
        if time is not None:
            found[key] = write_moment(time)
    return found


def _sent_at(text: str) -> datetime | None:
    """A `Date` header, which is in GMT whatever zone it names (RFC 9110, section 5.6.7); None: it is none."""
    try:
        time = parsedate_to_datetime(re.sub(r" [A-Z]{3,5}$", " GMT", text))
        return time.astimezone(UTC) if time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _metadata() -> dict[str, Any]:
    secret, text = request.args.get("MetadataID"), request.args.get("Metadata")
    found: Any = {}
    if secret:
        found = jsons.load(files().links.find("metadata", secret))
    elif text:
        try:
            found = jsons.load_object(text)
        except BadRequest:
            raise Invalid("Metadata is no JSON object", source="Metadata") from None
    found = without_certified(found)
    return {"metadata": found} if found else {}


def without_certified(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata without the certificates that the principal may not give."""
    return {key: value for key, value in metadata.items() if key not in CERTIFIED or may("POST", CERTIFIED[key])}
