"""The text of a document as DAV serves it: a pure function of the document and its private data (docs/pim.md)."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from cozyd.documents.store import Doc, Map, Stored
from cozyd.pim import groupcards, groups, ical, photo, related, vcard
from cozyd.pim.content import Component
from cozyd.pim.fields import digest, digest_of, look, text_of
from cozyd.pim.record import EPOCH, GROUPS, KIND_OF, raw_of, record_of


def text(stored: Stored) -> bytes:
    """The text of a document, as it is served now."""
    if stored.ref.doctype == GROUPS:
        return _group_text(stored)
    kind, doc, record = KIND_OF[stored.ref.doctype], stored.doc, record_of(stored)
    if kind == "VCARD":
        doc = with_names(doc, stored.private)
    if not record:
        return _created(kind, doc, stored.ref.id, stored.private.get("photo"))
    raw = raw_of(record)
    changed = _changed(kind, doc, record.get("base", {}))
    if not changed:
        return raw
    return _patched(kind, raw, doc, changed)


def with_names(doc: Doc, private: Map) -> Doc:
    """A contact with what its card says of other documents: names of groups, UIDs of people."""
    words, people = groups.words_of(doc, private), related.people_of(doc, private)
    found = {vcard.CATEGORIES: words, vcard.RELATED: people, vcard.KNOWN: list((private.get("related") or {}).values())}
    return doc | {name: value for name, value in found.items() if value}


def _group_text(stored: Stored) -> bytes:
    """Of a group that is served as a card."""
    record, wanted = record_of(stored), groupcards.now(stored)
    if not record:
        return groupcards.create(stored.ref.id, wanted)
    raw = raw_of(record)
    if all(digest(wanted[path]) == known for path, known in record["base"].items()):
        return raw
    return _stamped(vcard.parse(raw), raw, lambda card, *_: groupcards.patch(card, wanted), vcard.stamp, stored.doc, set())


def _changed(kind: str, doc: Doc, base: Mapping[str, str]) -> set[str]:
    read = vcard.value_of if kind == "VCARD" else look
    return {path for path, known in base.items() if digest_of(path, read(doc, path)) != known}


def _created(kind: str, doc: Doc, id: str, picture: str | None) -> bytes:
    if kind == "VCARD" and picture:
        card = vcard.parse(vcard.create(doc, id))
        photo.write(card, base64.b64decode(picture))
        return card.render()
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
