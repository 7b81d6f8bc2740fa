"""Secrets that are good once and for a while: what mails and pages carry (docs/http/auth.md).

They live in the cache, under their hash: who reads the cache can use none of them, and the loss of one means asking again.
"""

import hashlib
import secrets
from datetime import timedelta
from typing import Literal

from cozyd.cache import Cache

Kind = Literal["session", "reset", "magic", "mailed", "confirmed", "oidc", "passkey", "setup", "certify", "delegated", "deletion"]
LIVES: dict[Kind, timedelta] = {
    "session": timedelta(days=7),
    "reset": timedelta(minutes=15),
    "magic": timedelta(minutes=15),
    "mailed": timedelta(minutes=15),
    "confirmed": timedelta(minutes=5),
    "oidc": timedelta(minutes=15),
    "passkey": timedelta(minutes=5),
    "setup": timedelta(minutes=15),
    "certify": timedelta(minutes=15),
    "delegated": timedelta(minutes=15),
    "deletion": timedelta(hours=24),
}
"""What each kind is for: see the method of `Auth` that makes it."""
LONGEST = 200
_TOLD: frozenset[Kind] = frozenset(("reset",))
"""Kinds of which there is one at a time, and of which it is told whether one is out."""


class OneTime:
    """The secrets of one instance.

    :param domain: keeps tenants apart.
    """

    def __init__(self, cache: Cache, domain: str) -> None:
        self._cache = cache
        self._domain = domain

    def make(self, kind: Kind, value: bytes = b"") -> str:
        """A secret of 256 bits, in letters that URLs take.

        :param value: what `take` gives for it.
        """
        code = secrets.token_urlsafe(32)
        self._cache.set(self._key(kind, code), value, LIVES[kind].total_seconds())
        if kind in _TOLD:
            self._cache.set(self._key(kind, ""), b"", LIVES[kind].total_seconds())
        return code

    def is_out(self, kind: Kind) -> bool:
        """Whether a secret of a kind in `_TOLD` was made lately that nobody has used."""
        return self._cache.get(self._key(kind, "")) is not None

    def look(self, kind: Kind, code: str) -> bytes | None:
        """The value of a secret that stays good; None: it is not."""
        return self._cache.get(self._key(kind, code)) if 0 < len(code) <= LONGEST else None

    def take(self, kind: Kind, code: str) -> bytes | None:
        """Use a secret up: its value for the first who comes, None for anybody else."""
        found = self.look(kind, code)
        if found is None:
            return None
        key = self._key(kind, code)
        is_first = self._cache.hit(f"{key}/uses", LIVES[kind].total_seconds()) == 1
        self._cache.delete(key)
        if kind in _TOLD:
            self._cache.delete(self._key(kind, ""))
        return found if is_first else None

    def _key(self, kind: Kind, code: str) -> str:
        return f"once/{self._domain}/{kind}/{hashlib.sha256(code.encode('utf-8', 'replace')).hexdigest()}"
