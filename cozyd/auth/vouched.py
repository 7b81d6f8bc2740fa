"""Log in by a token of the service that manages instances: it shares a secret with this server (docs/http/auth.md).

The token is a JWT whose claim `name` is the domain; it is good once, and for ten minutes at most.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cozyd.cache import Cache
from cozyd.errors import Forbidden

LIFE = 600.0
"""Seconds from its making."""
_SKEW = 60.0
_LONGEST = 4096
_REFUSED = "This link is too old, or of another cloud"


class Vouched:
    """The tokens for one instance.

    :param secret: in base64, as the service has it.
    """

    def __init__(self, secret: str, domain: str, cache: Cache, now: Callable[[], datetime]) -> None:
        self._secret = secret
        self._domain = domain
        self._cache = cache
        self._now = now

    def take(self, token: str) -> None:
        """Use a token up.

        :raises Forbidden: it is forged, too old, used, or of another instance.
        """
        claims = self._claims(token)
        now, made, until = self._now().timestamp(), _time(claims.get("iat")), claims.get("exp")
        is_her = hmac.compare_digest(str(claims.get("name", "")).encode("utf-8", "replace"), self._domain.encode())
        is_new = made is not None and -_SKEW <= now - made <= LIFE
        is_good = until is None or now < (_time(until) or 0)
        if not (is_her and is_new and is_good):
            raise Forbidden(_REFUSED)
        key = f"vouched/{self._domain}/{hashlib.sha256(token.encode()).hexdigest()}"
        if self._cache.hit(key, LIFE + 2 * _SKEW) > 1:
            raise Forbidden(_REFUSED)

    def _claims(self, token: str) -> dict[str, Any]:
        from joserfc import jwk, jwt
        from joserfc.errors import JoseError

        try:
            if len(token) > _LONGEST:
                raise Forbidden(_REFUSED)
            key = jwk.OctKey.import_key(base64.b64decode(self._secret, validate=True))
            return dict(jwt.decode(token, key, algorithms=["HS256", "HS384", "HS512"]).claims)
        except (JoseError, ValueError, TypeError, binascii.Error) as cause:
            raise Forbidden(_REFUSED) from cause


def _time(value: Any) -> float | None:
    """A moment of the claims; None: it is none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**40 else None
