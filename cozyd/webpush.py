"""Web Push: a message to a device or browser that asked for it, by its push service (RFC 8030, RFC 8291, RFC 8292).

The service sees where a message goes, never what it says. Keys of a server are made once: every subscription is bound to them.
"""

import base64
import binascii
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from cozyd.config import ConfigError
from cozyd.errors import BadGateway, BadRequest, CozyError, Forbidden, GatewayTimeout, Gone, Invalid, TooLarge, Unavailable
from cozyd.outbound import Answer, Outbound

if TYPE_CHECKING:
    from py_vapid import Vapid

    KeyPair = Vapid

Urgency = Literal["very-low", "low", "normal", "high"]
LONGEST = 3993
"""Bytes of a message: what push services take (4,096), less what encryption adds (RFC 8291, section 4)."""
TIMEOUT = 10
_TOKEN_LIFE = timedelta(hours=12)
_POINT, _AUTH = 65, 16


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where a message goes, and what it is encrypted for.

    :param endpoint: address at the push service.
    :param p256dh: public key of the receiver, a point of 65 bytes.
    :param auth: secret of the receiver, 16 bytes.
    """

    endpoint: str
    p256dh: bytes
    auth: bytes

    @classmethod
    def read(cls, endpoint: Any, p256dh: Any, auth: Any) -> "Subscription":
        """From texts as clients send them: the keys in base64url.

        :raises Invalid: it cannot be one.
        """
        address = urlsplit(endpoint) if isinstance(endpoint, str) and len(endpoint) <= 2048 else None
        if address is None or address.scheme not in ("https", "http") or not address.hostname:
            raise Invalid("The address of the push service is none", source="endpoint")
        point, secret = _decoded(p256dh), _decoded(auth)
        if not _is_point(point):
            raise Invalid("The public key of the subscription is none of P-256", source="p256dh")
        if len(secret) != _AUTH:
            raise Invalid("The secret of the subscription has 16 bytes", source="auth")
        return cls(str(endpoint), point, secret)


class VapidKeys:
    """The key pair that a server is known by to push services, in a file; made when there is none.

    :param file: PEM of a P-256 private key.
    :param given: the operator names the file: it has to be there.
    :raises ConfigError: the operator's file is no such key.
    """

    def __init__(self, file: Path, *, given: bool = False) -> None:
        self._file = file
        self._known: tuple[tuple[int, int], Vapid, str] | None = None
        if given:
            self._load()

    @property
    def pair(self) -> "Vapid":
        """Both keys, as the file has them now: another process may have renewed them.

        :raises Unavailable: the file can be neither read nor made.
        """
        return self._now()[1]

    @property
    def public(self) -> str:
        """The public key, an uncompressed point in base64url.

        :raises Unavailable: see `pair`.
        """
        return self._now()[2]

    def _now(self) -> "tuple[tuple[int, int], Vapid, str]":
        known = self._known
        if known is not None and known[0] == self._stamp():
            return known
        try:
            found = self._load() if self._file.exists() else self._make()
        except (OSError, ConfigError) as cause:
            raise Unavailable("There are no keys for push messages") from cause
        self._known = known = (self._stamp(), found, public_key(found))
        return known

    def renew(self) -> "Vapid":
        """Have new keys from now on.

        :returns: the former ones.
        :raises Unavailable: the file cannot be written.
        """
        former = self.pair
        try:
            self._make(replace=True)
        except OSError as cause:
            raise Unavailable(f"The keys cannot be written: {cause}") from cause
        return former

    def _stamp(self) -> tuple[int, int]:
        """What tells whether the file is another one."""
        try:
            found = self._file.stat()
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def are_there(self) -> bool:
        """Whether messages can be signed."""
        try:
            return bool(self.public)
        except Unavailable:
            return False

    def _load(self) -> "Vapid":
        from py_vapid import Vapid

        try:
            return Vapid.from_pem(self._file.read_bytes())
        except (OSError, ValueError, TypeError, binascii.Error) as cause:
            raise ConfigError(f"push.key_file: {self._file} is no private key of P-256 in PEM: {cause}") from cause

    def _make(self, *, replace: bool = False) -> "Vapid":
        """A new pair; where two processes make one at once, the first counts, unless it is to `replace` the one that is there."""
        from py_vapid import Vapid

        made = Vapid()
        made.generate_keys()
        part = self._file.with_name(f"{self._file.name}.{secrets.token_hex(8)}")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(made.private_pem())
                out.flush()
                os.fsync(out.fileno())
            if replace:
                part.replace(self._file)
                return made
            try:
                os.link(part, self._file)
            except FileExistsError:
                return self._load()
        finally:
            part.unlink(missing_ok=True)
        return made


class WebPush:
    """Sends messages for one server.

    :param contact: `mailto:` or `https:` address that push services may write to.
    """

    def __init__(self, outbound: Outbound, keys: VapidKeys, contact: str, now: Callable[[], datetime]) -> None:
        self._outbound = outbound
        self.keys = keys
        self._contact = contact
        self._now = now
        self._signed: dict[tuple[str, str], tuple[datetime, str]] = {}

    def send(
        self,
        subscription: Subscription,
        payload: bytes,
        *,
        ttl: int,
        urgency: Urgency = "normal",
        topic: str = "",
        media: str = "application/octet-stream",
        keys: "Vapid | None" = None,
    ) -> None:
        """Send a message once; who calls tries again.

        :param payload: at most `LONGEST` bytes.
        :param ttl: seconds the service keeps it for a device that sleeps.
        :param keys: former keys, that the subscription may still be bound to; None: those of now.
        :param topic: of two messages with the same one, a device that sleeps gets the last; up to 32 characters of base64url.
        :raises Gone: the subscription has ended: forget it.
        :raises TooLarge: shorten it.
        :raises Unavailable: not now; `retry_after` where the service says it.
        :raises BadGateway: the service does not want us: our keys, or the address.
        """
        if len(payload) > LONGEST:
            raise TooLarge(f"A push message has at most {LONGEST} bytes")
        headers = {
            "TTL": str(ttl),
            "Urgency": urgency,
            "Content-Encoding": "aes128gcm",
            "Content-Type": media,
            "Authorization": self._authorization(subscription.endpoint, keys or self.keys.pair),
        }
        if topic:
            headers["Topic"] = topic
        body = _encrypt(payload, subscription)
        try:
            answer = self._outbound.request("POST", subscription.endpoint, headers=headers, body=body, timeout=TIMEOUT, redirects=0)
        except (Forbidden, BadRequest) as cause:
            raise BadGateway("The address of the push service may not be asked") from cause
        except (BadGateway, GatewayTimeout) as cause:
            raise Unavailable("The push service does not answer") from cause
        if answer.status not in (200, 201, 202, 204):
            raise _refusal(answer)

    def _authorization(self, endpoint: str, keys: "Vapid") -> str:
        """A signed token for one push service (RFC 8292, section 2); kept for half its life."""
        address = urlsplit(endpoint)
        origin = f"{address.scheme}://{address.netloc}"
        now = self._now()
        at = (origin, public_key(keys))
        known = self._signed.get(at)
        if known is not None and known[0] > now:
            return known[1]
        claims = {"aud": origin, "exp": int((now + 2 * _TOKEN_LIFE - timedelta(minutes=5)).timestamp()), "sub": self._contact}
        if len(self._signed) > 1000:
            self._signed.clear()
        signed: str = keys.sign(claims)["Authorization"]
        self._signed[at] = (now + _TOKEN_LIFE, signed)
        return signed


def public_key(keys: "Vapid") -> str:
    """The public key of a pair, an uncompressed point in base64url."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return _encoded(keys.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def _refusal(answer: Answer) -> CozyError:
    status = answer.status
    if status in (404, 410):
        return Gone("The subscription has ended")
    if status == 413:
        return TooLarge("The push service takes no message of this length")
    if status == 429 or status >= 500:
        after = answer.headers.get("retry-after", "")
        return Unavailable(f"The push service answers {status}", retry_after=int(after) if after.isdigit() else None)
    return BadGateway(f"The push service refuses the message: {status}")


def _encrypt(payload: bytes, subscription: Subscription) -> bytes:
    """RFC 8291: for this receiver alone, under a key and a salt of this message."""
    import http_ece
    from cryptography.hazmat.primitives.asymmetric import ec

    own = ec.generate_private_key(ec.SECP256R1())
    found: bytes = http_ece.encrypt(payload, private_key=own, dh=subscription.p256dh, auth_secret=subscription.auth)
    return found


def _is_point(data: bytes) -> bool:
    """Whether it is an uncompressed point on the curve."""
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError:
        return False
    return len(data) == _POINT


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) > 200:
        return b""
    try:
        return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_").rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        return b""


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
