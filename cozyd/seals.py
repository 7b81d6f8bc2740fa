"""`Seal`: JSON values that only this instance can read again, for what lies where others may look."""

from base64 import b64decode, b64encode
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cozyd import jsons
from cozyd.errors import BadRequest

_HEADER = b"siv1"


class Seal:
    """Seals and opens values; deterministic (AES-SIV, RFC 5297): the same value gives the same text.

    :param secret: the instance's own, from its record.
    :param purpose: what it is for; what one purpose sealed no other opens.
    """

    def __init__(self, secret: str, purpose: str) -> None:
        self._cipher = AESSIV(HKDF(SHA256(), 64, None, purpose.encode()).derive(secret.encode()))

    def seal(self, value: Any) -> str:
        """A JSON value as base64 that says nothing of it but its length."""
        return b64encode(_HEADER + self._cipher.encrypt(jsons.dump(value), None)).decode()

    def open(self, text: Any) -> Any:
        """The value that was sealed.

        :raises BadRequest: it was not sealed, or not by this key.
        """
        try:
            raw = b64decode(text, validate=True)
            if not raw.startswith(_HEADER):
                raise BadRequest("This is not sealed")
            return jsons.load(self._cipher.decrypt(raw.removeprefix(_HEADER), None))
        except (ValueError, TypeError, InvalidTag) as cause:
            raise BadRequest("This is not sealed by the instance") from cause
