"""NaCl boxes of a cozy-stack, by the key files of its operator: `nacl`, 24 bytes of nonce, and the box, in base64.

`config gen-keys` of a cozy-stack makes two files: the one that seals has the receiver's public key and the sender's private one, the one
that opens has the sender's public key and the receiver's private one.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cozyd import jsons
from cozyd.config import ConfigError
from cozyd.errors import BadRequest

HEADER = b"nacl"
NONCE, KEY, LENGTH = 24, 32, 4
_BLOCK = re.compile(r"\s*-----BEGIN NACL KEY-----\s+([A-Za-z0-9+/=\s]+)-----END NACL KEY-----\s*")


@dataclass(frozen=True, slots=True)
class BoxKey:
    """One side of a box: another's public key, and a private one; 32 bytes each."""

    public: bytes
    private: bytes


def read_key(option: str, file: str) -> BoxKey:
    """The key of a file.

    :param option: names it in errors.
    :raises ConfigError: it cannot be read, or is none.
    """
    try:
        found = _BLOCK.fullmatch(Path(file).expanduser().read_text())
        raw = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except (OSError, ValueError) as cause:
        raise ConfigError(f"{option}: {file} cannot be read: {cause}") from cause
    if len(raw) != 2 * KEY:
        raise ConfigError(f"{option}: {file} is no key of a cozy-stack (NACL KEY)")
    return BoxKey(raw[:KEY], raw[KEY:])


class NaclBoxes:
    """Seals and opens values as a cozy-stack does, but that the same value gives the same text.

    :param encryptor: seals. :param decryptor: opens.
    """

    def __init__(self, encryptor: BoxKey, decryptor: BoxKey) -> None:
        self._encryptor, self._decryptor = encryptor, decryptor

    def seal(self, value: Any, *, credentials: bool) -> str:
        """A JSON value as base64; credentials are a pair, the log-in and its password."""
        from nacl.public import Box, PrivateKey, PublicKey

        clear = _credentials(*value) if credentials else jsons.dump(value)
        nonce = hmac.digest(self._encryptor.private, clear, hashlib.sha256)[:NONCE]
        box = Box(PrivateKey(self._encryptor.private), PublicKey(self._encryptor.public))
        return base64.b64encode(HEADER + box.encrypt(clear, nonce)).decode()

    def open(self, text: Any, *, credentials: bool) -> Any:
        """The value that was sealed; credentials are a pair.

        :raises BadRequest: it is no box, or not for this key.
        """
        from nacl.exceptions import CryptoError
        from nacl.public import Box, PrivateKey, PublicKey

        try:
            raw = base64.b64decode(text, validate=True)
            if not raw.startswith(HEADER):
                raise BadRequest("This is no NaCl box")
            box = Box(PrivateKey(self._decryptor.private), PublicKey(self._decryptor.public))
            clear = box.decrypt(raw.removeprefix(HEADER))
            return _pair(clear) if credentials else jsons.load(clear)
        except (ValueError, TypeError, CryptoError) as cause:
            raise BadRequest("This is no NaCl box for the configured key") from cause


def _credentials(login: Any, password: Any) -> bytes:
    name = str(login or "").encode()
    return len(name).to_bytes(LENGTH, "big") + name + str(password).encode()


def _pair(clear: bytes) -> list[str]:
    length = int.from_bytes(clear[:LENGTH], "big")
    return [clear[LENGTH : LENGTH + length].decode(), clear[LENGTH + length :].decode()]
