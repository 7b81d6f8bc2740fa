"""The keys of the password vault, as Bitwarden clients make them, for whom no client made them (docs/http/auth.md, section 2).

The owner's master key, derived from the passphrase, encrypts a random key; that one encrypts the private half of her key pair.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cozyd.auth.values import Kdf

BLOCK, MASTER, KEY = 16, 32, 64


@dataclass(frozen=True, slots=True)
class VaultKeys:
    """What documents keep, all of it text.

    :param key: `0.<iv>|<content>`: 64 bytes under the master key, AES-256-CBC.
    :param public: the key pair's public half, SubjectPublicKeyInfo in base64.
    :param private: `2.<iv>|<content>|<mac>`: its private half, PKCS #8, under the 64 bytes.
    """

    key: str = ""
    public: str = ""
    private: str = ""


def master_key(passphrase: str, kdf: Kdf) -> bytes:
    """The key that only who knows the passphrase has."""
    return hashlib.pbkdf2_hmac("sha256", passphrase.encode(), kdf.salt.encode(), kdf.iterations)


def new_keys(master: bytes) -> VaultKeys:
    """A fresh key and key pair."""
    key = secrets.token_bytes(KEY)
    pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    private = pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return VaultKeys(_wrap(key, master), base64.b64encode(public).decode(), _seal(private, key))


def unwrapped(key: str, master: bytes) -> bytes | None:
    """The 64 bytes that a master key opens; None: it does not."""
    try:
        version, _, rest = key.partition(".")
        iv, content = (base64.b64decode(part, validate=True) for part in rest.split("|"))
        clear = _decrypt(iv, content, master)
    except ValueError:
        return None
    return clear if version == "0" and len(clear) == KEY else None


def rewrapped(key: str, old: bytes, new: bytes) -> str | None:
    """The same key under another master key; None: the old one does not open it."""
    clear = unwrapped(key, old)
    return _wrap(clear, new) if clear is not None else None


def _wrap(key: bytes, master: bytes) -> str:
    iv, content = _encrypt(key, master)
    return f"0.{_text(iv)}|{_text(content)}"


def _seal(private: bytes, key: bytes) -> str:
    iv, content = _encrypt(private, key[:MASTER])
    mac = hmac.digest(key[MASTER:], iv + content, "sha256")
    return f"2.{_text(iv)}|{_text(content)}|{_text(mac)}"


def _encrypt(clear: bytes, key: bytes) -> tuple[bytes, bytes]:
    iv = secrets.token_bytes(BLOCK)
    padder = PKCS7(8 * BLOCK).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return iv, encryptor.update(padder.update(clear) + padder.finalize()) + encryptor.finalize()


def _decrypt(iv: bytes, content: bytes, key: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = PKCS7(8 * BLOCK).unpadder()
    return unpadder.update(decryptor.update(content) + decryptor.finalize()) + unpadder.finalize()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
