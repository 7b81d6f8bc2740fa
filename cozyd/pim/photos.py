"""`Photos`: the pictures of contacts, as apps read and set them (docs/pim.md)."""

import base64
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import NotFound
from cozyd.pim import photo, vcard
from cozyd.pim.record import CONTACTS, raw_of, record_of, with_raw
from cozyd.pim.resource import text
from cozyd.pim.times import utc_text


class Photos:
    """The pictures of one tenant's contacts. They lie where the card lies, in its private data: no write loses one without the other."""

    def __init__(self, docs: Documents, now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._now = now

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
        record, private = record_of(stored), dict(stored.private)
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


def noted(doc: Doc, data: bytes | None) -> dict[str, Any]:
    """The contact's `metadata`, where apps see that there is a photo, and which."""
    metadata: Doc = dict(doc.get("metadata") or {"version": 1})
    card: Doc = {key: value for key, value in dict(metadata.get("card") or {}).items() if key != "photo"}
    if data is not None:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        card["photo"] = {"md5": digest, "mime": photo.kind_of(data) or "application/octet-stream", "size": len(data)}
    metadata = {key: value for key, value in metadata.items() if key != "card"} | ({"card": card} if card else {})
    return {"metadata": metadata}
