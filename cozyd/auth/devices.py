"""Device passwords: what opens DAV, and nothing else (docs/http/auth.md)."""

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import cast

from cozyd.auth.lists import every
from cozyd.auth.values import Device, Reach, text_of, time_of
from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored, Write
from cozyd.errors import Conflict, Invalid, NotFound, StorageFull, Unauthorized, Unavailable
from cozyd.permissions import ACTIONS, Action, Principal, Rule

DEVICES = "io.cozy.devices"
USED_EVERY = timedelta(hours=1)
LONGEST_NAME = 80
REACH: Mapping[Reach, tuple[str, ...]] = {
    "contacts": ("io.cozy.contacts", "io.cozy.contacts.*"),
    "calendars": ("io.cozy.calendar.*",),
    "files": ("io.cozy.files",),
}


class Devices:
    """The device passwords of one instance."""

    def __init__(self, docs: Documents, now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._now = now

    def all(self) -> Sequence[Device]:
        """Her device passwords, oldest first."""
        return sorted((_device(stored) for stored in every(self._docs, DEVICES)), key=lambda device: device.created_at)

    def add(self, name: str, reach: Sequence[Reach], read_only: bool) -> tuple[Device, str]:
        """A new device password: 128 random bits; only its SHA-256 is kept.

        :param name: for people; what cannot be printed is left out, what is over 80 characters is cut.
        :returns: the device, and the password, which nobody can show again.
        :raises Invalid: it has no name, or reaches nothing.
        """
        name = plain_name(name)
        if not name or not reach or any(one not in REACH for one in reach):
            raise Invalid("A device needs a name, and reaches contacts, calendars or files", source="reach")
        letters = base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
        password = "-".join(letters[start : start + 5] for start in range(0, len(letters), 5))
        body = {"name": name, "reach": list(reach), "read_only": read_only, "created_at": text_of(self._now())}
        stored = self._docs.put(DEVICES, body | {"_id": _device_id(password)})
        return _device(stored), password

    def remove(self, id: str) -> None:
        """Revoke a device password; counts from the next request on.

        :raises NotFound: there is none of this id.
        """
        stored = self._docs.get(Ref(DEVICES, id))
        self._docs.delete(stored.ref, stored.rev)

    def identify(self, password: str) -> Principal:
        """Who shows a password.

        :raises Unauthorized: it is unknown.
        """
        try:
            stored = self._docs.get(Ref(DEVICES, _device_id(password)))
        except NotFound:
            raise Unauthorized("The password is unknown") from None
        doc = stored.doc
        used = doc.get("last_used")
        if not used or self._now() - time_of(used) >= USED_EVERY:
            self._note_use(stored)
        return Principal("device", stored.ref.id, _reaching(tuple(doc["reach"]), doc["read_only"] is True))

    def _note_use(self, stored: Stored) -> None:
        hour = self._now().replace(minute=0, second=0, microsecond=0)
        try:
            self._docs.commit([Write(stored.ref, patch={"last_used": text_of(hour)}, rev=stored.rev)])
        except (Conflict, NotFound, StorageFull, Unavailable):
            return  # another request noted it, or it was revoked just now; a full disk is no reason to refuse a reader


def plain_name(text: str) -> str:
    """A name for people, in one line: what cannot be printed is left out, what is too long is cut."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:LONGEST_NAME].strip()


@lru_cache(maxsize=64)
def _reaching(reach: tuple[Reach, ...], read_only: bool) -> tuple[Rule, ...]:
    """The rules of a device password."""
    actions: frozenset[Action] = frozenset(("GET",)) if read_only else ACTIONS
    return tuple(Rule(name, name, actions) for one in reach for name in REACH[one])


def _device_id(password: str) -> str:
    """Dashes, spaces and case are for the eye only."""
    plain = "".join(password.split()).replace("-", "").lower()
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()[:32]


def _device(stored: Stored) -> Device:
    doc = stored.doc
    used = doc.get("last_used")
    return Device(
        id=stored.ref.id,
        name=str(doc["name"]),
        reach=cast(tuple[Reach, ...], tuple(doc["reach"])),
        read_only=doc["read_only"] is True,
        created_at=time_of(doc["created_at"]),
        last_used=time_of(used) if used else None,
    )
