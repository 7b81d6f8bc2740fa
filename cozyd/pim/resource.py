"""The text of a document as DAV serves it: a pure function of the document and its private record (docs/pim.md).

The private record, under the key `dav`: `raw` (what the client sent; `raw64` when folds cut its characters), `href`, `uid`,
`base` (a hash of each mapped field as that text gave it), `mtime`. A field is app-changed when it differs from its base.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from cozyd.documents.store import Doc, Map, Stored
from cozyd.pim import ical, vcard
from cozyd.pim.content import Component
from cozyd.pim.fields import digest, look, text_of

CONTACTS = "io.cozy.contacts"
KIND_OF: Mapping[str, str] = {CONTACTS: "VCARD", ical.EVENTS: "VEVENT", ical.TODOS: "VTODO", ical.JOURNALS: "VJOURNAL"}
EPOCH = "1970-01-01T00:00:00Z"


def record_of(stored: Stored) -> Map:
    """The private record, empty of a document that never came by DAV."""
    found = stored.private.get("dav")
    return found if isinstance(found, Mapping) else {}


def base_of(kind: str, fields: Map) -> dict[str, str]:
    """Hashes of the fields a text gave."""
    return {path: digest(value) for path, value in fields.items() if path != "orphan" or kind != "VCARD"}


def new_record(kind: str, href: str, uid: str, raw: bytes, fields: Map, mtime: str) -> dict[str, Any]:
    """The private record of a text that a client has sent."""
    found: dict[str, Any] = {"href": href, "uid": uid, "comp": kind, "base": base_of(kind, fields), "mtime": mtime}
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


def text(stored: Stored) -> bytes:
    """The text of a document, as it is served now."""
    kind, doc, record = KIND_OF[stored.ref.doctype], stored.doc, record_of(stored)
    if not record:
        return _created(kind, doc, stored.ref.id)
    raw = raw_of(record)
    changed = _changed(kind, doc, record.get("base", {}))
    if not changed:
        return raw
    return _patched(kind, raw, doc, changed)


def _changed(kind: str, doc: Doc, base: Mapping[str, str]) -> set[str]:
    read = vcard.value_of if kind == "VCARD" else look
    return {path for path, known in base.items() if digest(read(doc, path)) != known}


def _created(kind: str, doc: Doc, id: str) -> bytes:
    if kind == "VCARD":
        return vcard.create(doc, id)
    return ical.create(doc, kind, id, _updated(doc) or EPOCH)


def _patched(kind: str, raw: bytes, doc: Doc, changed: set[str]) -> bytes:
    if kind == "VCARD":
        return _stamped(vcard.parse(raw), raw, vcard.patch, vcard.stamp, doc, changed)
    return _stamped(ical.parse(raw), raw, ical.patch, ical.stamp, doc, changed)


def _stamped(component: Component, raw: bytes, patch: Any, stamp: Any, doc: Doc, changed: set[str]) -> bytes:
    """The patched text; its stamps move only when something in it did."""
    patch(component, doc, changed)
    found = component.render()
    if found != raw and _updated(doc):
        stamp(component, _updated(doc))
        found = component.render()
    return found


def _updated(doc: Doc) -> str:
    metadata = doc.get("cozyMetadata")
    return text_of(metadata.get("updatedAt")) if isinstance(metadata, Mapping) else ""


def modified(stored: Stored) -> str:
    """When a document was changed last, as far as it says."""
    return max(_updated(stored.doc), text_of(record_of(stored).get("mtime"))) or EPOCH


def etag(text: bytes) -> str:
    """The hash of a text, without quotes."""
    return hashlib.md5(text, usedforsecurity=False).hexdigest()
