"""`Photos`: the pictures of contacts, as apps read and set them (docs/pim.md)."""

import base64
import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from cozyd.documents import Documents
from cozyd.documents.store import Doc, Key, Projection, Ref, Stored, Write
from cozyd.errors import NotFound
from cozyd.files.rows import PHOTOS_USAGE
from cozyd.files.upload import Room
from cozyd.pim import photo, vcard
from cozyd.pim.record import CONTACTS, raw_of, record_of, with_raw
from cozyd.pim.resource import text
from cozyd.pim.times import utc_text

PHOTO_SIZE = "photo_size"
"""Member of a contact's private data: the bytes of its picture, for the quota."""


class Photos:
    """The pictures of one tenant's contacts. They lie where the card lies, in its private data: no write loses one without the other.

    :param usage: bytes that the owner's data take, and the quota.
    """

    def __init__(self, docs: Documents, now: Callable[[], datetime], usage: Callable[[], tuple[int, int | None]]) -> None:
        self._docs = docs
        self._now = now
        self._usage = usage

    def check_room(self, data: bytes | None, known: Stored | None) -> None:
        """:raises QuotaExceeded: a contact's new picture does not fit."""
        size, before = len(data or b""), size_of(known) if known is not None else 0
        if size > before:
            Room(*self._usage(), freed=before).check(size)

    def get(self, contact: Stored) -> bytes:
        """The picture.

        :raises NotFound: the contact has none, or only the address of one.
        """
        found = photo.read(vcard.parse(text(contact)))
        if found is None:
            raise NotFound("The contact has no photo")
        return found

    def put(self, id: str, data: bytes) -> None:
        """Give a contact a picture, in the place of the one it has.

        :raises NotFound: there is no such contact.
        :raises QuotaExceeded: it does not fit.
        :raises TooLarge, Unsupported: it is none that a contact may have.
        """
        photo.check(data)
        self._docs.retry(lambda: self._write(id, data))

    def remove(self, id: str) -> None:
        """Take a contact's picture, or its address, away.

        :raises NotFound: there is no such contact, or it has none.
        """
        self._docs.retry(lambda: self._write(id, None))

    def _write(self, id: str, data: bytes | None) -> None:
        stored = self._docs.get(Ref(CONTACTS, id))
        self.check_room(data, stored)
        record, private = record_of(stored), dict(stored.private) | {PHOTO_SIZE: len(data or b"")}
        now = utc_text(self._now())
        card = vcard.parse(raw_of(record) if record else text(stored))
        if data is None and card.get("PHOTO") is None:
            raise NotFound("The contact has no photo")
        if record:
            photo.write(card, data)
            vcard.stamp(card, now)
            private["dav"] = with_raw(record, card.render()) | {"mtime": now}
        else:
            private["photo"] = base64.b64encode(data or b"").decode()
        patch = noted(stored.doc, data) | {"cozyMetadata": dict(stored.doc.get("cozyMetadata") or {}) | {"updatedAt": now}}
        self._docs.commit([Write(stored.ref, patch=patch, rev=stored.rev, private=private)])


def size_of(contact: Stored) -> int:
    """The bytes of a contact's picture."""
    return int(contact.private.get(PHOTO_SIZE) or 0)


def _usage(contact: Stored) -> Iterable[tuple[Key, Any]]:
    size = size_of(contact)
    return (((contact.ref.id,), size),) if size else ()


PROJECTIONS = (Projection(PHOTOS_USAGE, of={CONTACTS: _usage}, reduce="sum", depth=0),)


def noted(doc: Doc, data: bytes | None) -> dict[str, Any]:
    """The contact's `metadata`, where apps see that there is a photo, and which."""
    metadata: Doc = dict(doc.get("metadata") or {"version": 1})
    card: Doc = {key: value for key, value in dict(metadata.get("card") or {}).items() if key != "photo"}
    if data is not None:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        card["photo"] = {"md5": digest, "mime": photo.kind_of(data) or "application/octet-stream", "size": len(data)}
    metadata = {key: value for key, value in metadata.items() if key != "card"} | ({"card": card} if card else {})
    return {"metadata": metadata}
