"""The passphrase: what clients derive from it, and how that is kept (docs/http/auth.md, section 2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import TYPE_CHECKING

from cozyd.auth.values import Kdf

if TYPE_CHECKING:
    from argon2 import PasswordHasher

ITERATIONS = 650_000
SCRYPT = (32_768, 8, 1)
"""N, r and p of a cozy-stack's hashes."""
_SCRYPT_NAME = "scrypt"
LARGEST_SCRYPT = 1 << 26
"""The most memory a kept hash may ask for, in bytes."""


def derive(passphrase: str, kdf: Kdf) -> str:
    """What an official client sends for a passphrase: two rounds of PBKDF2-HMAC-SHA256, as Bitwarden clients do.

    :returns: 44 characters of base64.
    """
    password = passphrase.encode()
    master = hashlib.pbkdf2_hmac("sha256", password, kdf.salt.encode(), kdf.iterations)
    return base64.b64encode(hashlib.pbkdf2_hmac("sha256", master, password, 1)).decode()


def keep(derived: str, *, like: str = "") -> str:
    """The hash to store, parameters included: argon2id's.

    :param like: the hash that the instance has so far: where it is a cozy-stack's, the new one is such too, so that one can go back.
    """
    if not _scrypt_of(like):
        return _hasher().hash(derived)
    salt = os.urandom(16)
    key = hashlib.scrypt(derived.encode(), salt=salt, n=SCRYPT[0], r=SCRYPT[1], p=SCRYPT[2], maxmem=2 * LARGEST_SCRYPT, dklen=32)
    text = "$".join((_SCRYPT_NAME, *map(str, SCRYPT), salt.hex(), key.hex()))
    return base64.b64encode(text.encode()).decode()


def matches(derived: str, kept: str) -> bool:
    """Whether a derived passphrase is the one that was kept; costs one hash either way.

    What a cozy-stack kept is scrypt's, in base64: `scrypt$<N>$<r>$<p>$<hex salt>$<hex key>`.
    """
    scrypt = _scrypt_of(kept)
    if scrypt:
        return _matches_scrypt(derived, scrypt)
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return bool(_hasher().verify(kept, derived))
    except (VerificationError, InvalidHashError):
        return False


def is_of_cozy_stack(kept: str) -> bool:
    """Whether a cozy-stack kept it."""
    return bool(_scrypt_of(kept))


def _scrypt_of(kept: str) -> str:
    """The text of a cozy-stack's hash; empty: it is none."""
    try:
        text = kept if kept.startswith(_SCRYPT_NAME) else base64.b64decode(kept, validate=True).decode()
    except ValueError:
        return ""
    return text if text.startswith(f"{_SCRYPT_NAME}$") else ""


def _matches_scrypt(derived: str, kept: str) -> bool:
    try:
        _, cost, block, parallel, salt, key = kept.split("$")
        n, r, p = int(cost), int(block), int(parallel)
        if 128 * n * r > LARGEST_SCRYPT:
            return False
        made = hashlib.scrypt(derived.encode(), salt=bytes.fromhex(salt), n=n, r=r, p=p, maxmem=2 * LARGEST_SCRYPT, dklen=len(key) // 2)
        return hmac.compare_digest(made, bytes.fromhex(key))
    except ValueError:
        return False


def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=3, memory_cost=19 * 1024, parallelism=1)


NOBODY = "$argon2id$v=19$m=19456,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""A hash that nothing matches: an instance without a passphrase costs an attempt as much as any other."""
