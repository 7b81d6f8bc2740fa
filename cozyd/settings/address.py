"""`AddressChange`: the owner's address of mail changes when she has shown that the new one is hers (docs/http/settings.md)."""

import hmac
import secrets
from collections.abc import Callable, Mapping
from email.headerregistry import Address
from typing import Any, Protocol

from cozyd.cache import Cache
from cozyd.errors import BadRequest, Invalid
from cozyd.mails.compose import address_of

LIFE = 7 * 24 * 3600.0


class Mail(Protocol):
    """How a mail is sent."""

    def __call__(self, template: str, values: Mapping[str, Any], *, to: Address | None = None) -> None:
        """See `Mails.send`."""


class AddressChange:
    """Changes of one owner's address.

    :param document: gives the settings document.
    :param note: changes members of it.
    :param mail: sends a mail.
    :param address: the address of a path of the instance.
    :param domain: keeps tenants apart in the cache.
    """

    def __init__(
        self,
        document: Callable[[], Mapping[str, Any]],
        note: Callable[..., None],
        mail: Mail,
        cache: Cache,
        address: Callable[[str], str],
        domain: str,
    ) -> None:
        self._document = document
        self._note = note
        self._mail = mail
        self._cache = cache
        self._address = address
        self._domain = domain

    def start(self, email: str) -> None:
        """Ask who reads a new address to confirm it; her passphrase was checked before.

        :raises Invalid: it is no address.
        """
        try:
            is_address = self._to(email).addr_spec == email
        except Invalid:
            is_address = False
        if not is_address:
            raise Invalid("This is no address", source="email")
        self._note(pending_email=email)
        self._ask(email)

    def ask_again(self) -> None:
        """Send another link; the one before is not good any more.

        :raises BadRequest: no address waits.
        """
        self._ask(self._pending())

    def cancel(self) -> None:
        """Keep the old address; that is fine when nothing waits."""
        if self._document().get("pending_email"):
            self._note(pending_email=None)
        self._cache.delete(self._key)

    def confirm(self, token: str) -> None:
        """Who has the link reads the new address: it is hers now. The link is good once.

        :raises BadRequest: no address waits, or it is another link.
        """
        pending = self._pending()
        kept = (self._cache.get(self._key) or b"").decode()
        if not kept or not hmac.compare_digest(kept.encode(), f"{token} {pending}".encode("utf-8", "replace")):
            raise BadRequest("invalid token")
        self._cache.delete(self._key)
        self._note(email=pending, pending_email=None)

    def _ask(self, email: str) -> None:
        token = secrets.token_hex(16)
        self._cache.set(self._key, f"{token} {email}".encode(), LIFE)
        link = self._address(f"/settings/email/confirm?token={token}")
        self._mail("email_confirm", {"link": link, "email": email}, to=self._to(email))

    def _to(self, email: str) -> Address:
        return address_of({"name": str(self._document().get("public_name") or ""), "email": email})

    def _pending(self) -> str:
        pending = self._document().get("pending_email")
        if not isinstance(pending, str) or not pending:
            raise BadRequest("no pending email")
        return pending

    @property
    def _key(self) -> str:
        return f"address/{self._domain}"
