"""`Links`: short-lived secrets: who has one may read one thing for ten minutes without a token (docs/http/files.md)."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from cozyd.cache import Cache
from cozyd.errors import BadRequest, Invalid

LIFE = 600
Kind = Literal["file", "version", "archive", "metadata"]


class Links:
    """The secrets of one tenant.

    :param area: her prefix.
    :param key: what the secrets of thumbnails are derived from.
    """

    def __init__(self, cache: Cache, area: str, key: Callable[[], bytes], now: Callable[[], datetime]) -> None:
        self._cache = cache
        self._area = area
        self._key = key
        self._now = now

    def make(self, kind: Kind, value: bytes) -> str:
        """A secret for a value: 16 hex digits."""
        secret = secrets.token_hex(8)
        self._cache.set(self._name(kind, secret), value, LIFE)
        return secret

    def find(self, kind: Kind, secret: str) -> bytes:
        """The value of a secret.

        :raises BadRequest: it was never made, or is too old.
        :raises Invalid: as much, of metadata.
        """
        value = self._cache.get(self._name(kind, secret))
        if value is None and kind == "metadata":
            raise Invalid("Invalid or expired MetadataID", source="MetadataID")
        if value is None:
            raise BadRequest("Wrong download token")
        return value

    def thumbnail(self, id: str) -> str:
        """The secret of a file's thumbnails; good for ten minutes at least, and derived, so that a long list costs nothing."""
        return self._thumbnail(id, int(self._now().timestamp()) // LIFE)

    def check_thumbnail(self, id: str, secret: str) -> None:
        """:raises BadRequest: the secret is of another file, or too old."""
        now = int(self._now().timestamp()) // LIFE
        given = secret.encode()
        if not any(hmac.compare_digest(self._thumbnail(id, slot).encode(), given) for slot in (now, now - 1)):
            raise BadRequest("Wrong download token")

    def _thumbnail(self, id: str, slot: int) -> str:
        return hashlib.blake2b(f"thumbnail {slot} {id}".encode(), key=self._key()[:64], digest_size=8).hexdigest()

    def _name(self, kind: Kind, secret: str) -> str:
        return f"{self._area}:{kind}:{secret}"
