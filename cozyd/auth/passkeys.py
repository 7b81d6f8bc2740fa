"""Passkeys: log in with a key of the device or a password manager, without the passphrase (WebAuthn Level 2; docs/http/auth.md).

The device asks for a finger, a face or its PIN, so that a passkey is two factors in one: no code is asked for after it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cozyd import jsons
from cozyd.auth.devices import plain_name
from cozyd.auth.lists import every
from cozyd.auth.once import OneTime
from cozyd.auth.values import text_of, time_of
from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored, Write
from cozyd.errors import BadRequest, Conflict, Invalid, NotFound, Unauthorized

PASSKEYS = "io.cozy.auth.passkeys"
MOST = 50


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey, for its owner to see."""

    id: str
    name: str
    created_at: datetime
    last_used: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a browser is: a passkey is bound to the host, and the browser says the origin.

    :param host: without the port.
    :param origin: scheme, host and port.
    """

    host: str
    origin: str


class Passkeys:
    """The passkeys of one instance.

    :param prefix: the tenant's name; the same user handle on each of its passkeys.
    """

    def __init__(self, docs: Documents, once: OneTime, prefix: str, now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._once = once
        self._handle = hashlib.sha256(b"passkeys" + prefix.encode()).digest()
        self._now = now

    def all(self) -> Sequence[Passkey]:
        """Her passkeys, oldest first."""
        return sorted((_passkey(stored) for stored in every(self._docs, PASSKEYS)), key=lambda one: one.created_at)

    # -- making -----------------------------------------------------------------------------------------------------

    def creation(self, place: Place, name: str) -> tuple[str, str]:
        """What a browser needs to make a passkey: the key of this attempt, and the options as JSON.

        :param name: whose it is, for people.
        """
        from webauthn import generate_registration_options, options_to_json
        from webauthn.helpers import base64url_to_bytes
        from webauthn.helpers.structs import (
            AuthenticatorSelectionCriteria,
            PublicKeyCredentialDescriptor,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        known = [stored.doc for stored in every(self._docs, PASSKEYS) if stored.doc.get("rp_id") == place.host]
        options = generate_registration_options(
            rp_id=place.host,
            rp_name="cozyd",
            user_name=name,
            user_id=self._handle,
            exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(doc["credential_id"])) for doc in known],
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
        )
        return self._once.make("passkey", b"create" + options.challenge), options_to_json(options)

    def add(self, place: Place, attempt: str, answer: str, name: str) -> Passkey:
        """Keep a passkey that a browser made.

        :param attempt: the key that `creation` gave.
        :param answer: the browser's, as JSON.
        :param name: for people.
        :raises BadRequest: it is none, or of another place or attempt.
        :raises Invalid: there are too many.
        """
        from webauthn import verify_registration_response
        from webauthn.helpers import bytes_to_base64url
        from webauthn.helpers.exceptions import WebAuthnException

        if len(self.all()) >= MOST:
            raise Invalid("There are too many passkeys", source="passkey")
        try:
            made = verify_registration_response(
                credential=jsons.load_object(answer.encode()),
                expected_challenge=self._challenge(attempt, b"create"),
                expected_rp_id=place.host,
                expected_origin=place.origin,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, TypeError, KeyError) as cause:
            raise BadRequest("The passkey cannot be used") from cause
        body: dict[str, Any] = {
            "credential_id": bytes_to_base64url(made.credential_id),
            "public_key": bytes_to_base64url(made.credential_public_key),
            "sign_count": made.sign_count,
            "rp_id": place.host,
            "name": plain_name(name) or "Passkey",
            "created_at": text_of(self._now()),
        }
        return _passkey(self._docs.put(PASSKEYS, body | {"_id": _id(made.credential_id)}))

    def rename(self, id: str, name: str) -> None:
        """Call a passkey something else.

        :raises NotFound: there is none of this id.
        :raises Invalid: the name is empty.
        """
        plain = plain_name(name)
        if not plain:
            raise Invalid("A passkey needs a name", source="name")
        stored = self._docs.get(Ref(PASSKEYS, id))
        self._docs.commit([Write(stored.ref, patch={"name": plain}, rev=stored.rev)])

    def remove(self, id: str) -> Passkey:
        """Let a passkey open nothing any more.

        :raises NotFound: there is none of this id.
        """
        stored = self._docs.get(Ref(PASSKEYS, id))
        self._docs.delete(stored.ref, stored.rev)
        return _passkey(stored)

    # -- logging in -------------------------------------------------------------------------------------------------

    def request(self, place: Place) -> tuple[str, str]:
        """What a browser needs to show a passkey: the key of this attempt, and the options as JSON; no passkey is named."""
        from webauthn import generate_authentication_options, options_to_json
        from webauthn.helpers.structs import UserVerificationRequirement

        options = generate_authentication_options(rp_id=place.host, user_verification=UserVerificationRequirement.REQUIRED)
        return self._once.make("passkey", b"get" + options.challenge), options_to_json(options)

    def check(self, place: Place, attempt: str, answer: str) -> Passkey:
        """The passkey that a browser showed.

        :raises Unauthorized: it is none of hers, of another place or attempt, or a copy of one.
        """
        from webauthn import verify_authentication_response
        from webauthn.helpers import base64url_to_bytes
        from webauthn.helpers.exceptions import WebAuthnException

        refused = Unauthorized("The passkey is unknown here")
        try:
            challenge = self._challenge(attempt, b"get")
            shown = jsons.load_object(answer.encode())
            stored = self._docs.get(Ref(PASSKEYS, _id(base64url_to_bytes(str(shown.get("id", ""))))))
            if stored.doc.get("rp_id") != place.host:
                raise refused
            done = verify_authentication_response(
                credential=shown,
                expected_challenge=challenge,
                expected_rp_id=place.host,
                expected_origin=place.origin,
                credential_public_key=base64url_to_bytes(stored.doc["public_key"]),
                credential_current_sign_count=int(stored.doc["sign_count"]),
                require_user_verification=True,
            )
            used = {"sign_count": done.new_sign_count, "last_used": text_of(self._now())}
            return _passkey(self._docs.commit([Write(stored.ref, patch=used, rev=stored.rev)])[0].made)
        except (WebAuthnException, NotFound, BadRequest, Conflict, ValueError, TypeError, KeyError) as cause:
            raise refused from cause

    def _challenge(self, attempt: str, what: bytes) -> bytes:
        """The challenge of an attempt, once.

        :raises BadRequest: there is none.
        """
        kept = self._once.take("passkey", attempt)
        if kept is None or not kept.startswith(what):
            raise BadRequest("The attempt took too long")
        return kept.removeprefix(what)


def _id(credential_id: bytes) -> str:
    return hashlib.sha256(credential_id).hexdigest()[:32]


def _passkey(stored: Stored) -> Passkey:
    doc = stored.doc
    used = doc.get("last_used")
    return Passkey(stored.ref.id, str(doc["name"]), time_of(doc["created_at"]), time_of(used) if used else None)
