"""The private record of a document that came by DAV (docs/pim.md): what the client sent, and what it meant then.

Under the key `dav`: `raw` (what the client sent; `raw64` when folds cut its characters), `href`, `uid`, `comp`, `base` (a hash of each
mapped field as that text gave it), `mtime`. A field is app-changed when it differs from its base.
"""

import base64
from collections.abc import Mapping
from typing import Any

from cozyd.documents.store import Map, Stored
from cozyd.pim import ical
from cozyd.pim.fields import digest_of

CONTACTS, GROUPS, BOOKS = "io.cozy.contacts", "io.cozy.contacts.groups", "io.cozy.contacts.books"
DEFAULT_BOOK = "contacts"
KIND_OF: Mapping[str, str] = {CONTACTS: "VCARD", GROUPS: "VCARD", ical.EVENTS: "VEVENT", ical.TODOS: "VTODO", ical.JOURNALS: "VJOURNAL"}
EPOCH = "1970-01-01T00:00:00Z"


def record_of(stored: Stored) -> Map:
    """The private record, empty of a document that never came by DAV."""
    found = stored.private.get("dav")
    return found if isinstance(found, Mapping) else {}


def base_of(kind: str, fields: Map) -> dict[str, str]:
    """Hashes of the fields a text gave."""
    return {path: digest_of(path, value) for path, value in fields.items() if path != "orphan" or kind != "VCARD"}


def new_record(kind: str, href: str, uid: str, raw: bytes, fields: Map, mtime: str) -> dict[str, Any]:
    """The private record of a text that a client has sent."""
    found: dict[str, Any] = {"href": href, "uid": uid, "comp": kind, "base": base_of(kind, fields), "mtime": mtime}
    return with_raw(found, raw)


def with_raw(record: Map, raw: bytes) -> dict[str, Any]:
    """The same record with another text."""
    found = {name: value for name, value in record.items() if name not in ("raw", "raw64")}
    try:
        return found | {"raw": raw.decode()}
    except UnicodeDecodeError:
        return found | {"raw64": base64.b64encode(raw).decode()}


def raw_of(record: Map) -> bytes:
    """What the client sent."""
    if "raw64" in record:
        return base64.b64decode(record["raw64"])
    text: str = record["raw"]
    return text.encode()
