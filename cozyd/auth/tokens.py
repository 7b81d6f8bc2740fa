"""Signed tokens: JWT with HS512, as the reference makes them (docs/http/auth.md, section 6). No I/O.

Verified claims are kept in the process, so that a token that comes with each request is checked once; whether it is
still good (time, session) is asked every time.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from cozyd import jsons
from cozyd.errors import BadRequest, BadToken

Audience = Literal["app", "konn", "access", "refresh", "registration", "share", "cli"]
AUDIENCES: frozenset[str] = frozenset(("app", "konn", "access", "refresh", "registration", "share", "cli"))

CLI_LIFE = timedelta(minutes=30)
SERVICE_LIFE = timedelta(minutes=30)
APP_LIFE = timedelta(hours=24)
ACCESS_LIFE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    :param subject: slug, client id, or name of a code; empty for the CLI.
    :param session_id: the session an app's token lives with.
    :param grant: the owner's consent an OAuth token lives with; the reference's own tokens have none.
    :param id: makes two tokens of the same second different (RFC 7519's `jti`).
    """

    audience: Audience
    issuer: str
    subject: str
    issued_at: datetime
    scope: str = ""
    session_id: str = ""
    grant: str = ""
    id: str = ""

    @property
    def life(self) -> timedelta | None:
        """How long it is good for; None: as long as what it names."""
        if self.audience == "app":
            return APP_LIFE if self.session_id else SERVICE_LIFE
        return {"konn": SERVICE_LIFE, "cli": CLI_LIFE, "access": ACCESS_LIFE}.get(self.audience)


def sign(claims: Claims, secret: bytes) -> str:
    """The token's text.

    :param secret: key bytes, 64 or more.
    """
    from joserfc import jwk, jwt

    payload: dict[str, Any] = {
        "aud": [claims.audience],
        "iss": claims.issuer,
        "iat": int(claims.issued_at.timestamp()),
        "sub": claims.subject,
    }
    more = {"scope": claims.scope, "session_id": claims.session_id, "grant": claims.grant, "jti": claims.id}
    payload |= {name: value for name, value in more.items() if value}
    return jwt.encode({"alg": "HS512"}, payload, jwk.OctKey.import_key(secret), algorithms=["HS512"])


def audience_of(token: str) -> str:
    """The audience a token claims, not verified: it decides which key to verify with.

    :raises BadToken: it has not the form of a token.
    """
    from joserfc import jws
    from joserfc.errors import JoseError

    try:
        payload = jws.extract_compact(token.encode()).payload
    except (JoseError, ValueError) as cause:
        raise BadToken from cause
    return _audience(_payload(payload))


def verify(token: str, secret: bytes) -> Claims:
    """Check the signature and read the claims.

    :raises BadToken: forged, or not of the expected form.
    """
    from joserfc import jwk, jws
    from joserfc.errors import JoseError

    try:
        signed = jws.deserialize_compact(token, jwk.OctKey.import_key(secret), algorithms=["HS256", "HS384", "HS512"])
    except (JoseError, ValueError) as cause:
        raise BadToken from cause
    payload = _payload(signed.payload)
    issued = payload.get("iat")
    if isinstance(issued, bool) or not isinstance(issued, int | float) or not 0 <= issued < 2**40:
        raise BadToken
    return Claims(
        audience=cast(Audience, _audience(payload)),
        issuer=_text(payload, "iss"),
        subject=_text(payload, "sub"),
        issued_at=datetime.fromtimestamp(issued, UTC),
        scope=_text(payload, "scope"),
        session_id=_text(payload, "session_id"),
        grant=_text(payload, "grant"),
        id=_text(payload, "jti"),
    )


def _payload(text: bytes) -> dict[str, Any]:
    try:
        return jsons.load_object(text)
    except BadRequest as cause:
        raise BadToken from cause


def _audience(payload: dict[str, Any]) -> str:
    found = payload.get("aud")
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, str):
        raise BadToken
    if found not in AUDIENCES:
        raise BadToken(f"Unrecognized token audience {found}")
    return found


def _text(payload: dict[str, Any], name: str) -> str:
    found = payload.get(name, "")
    if not isinstance(found, str):
        raise BadToken
    return found


class VerifiedTokens:
    """A bounded memory of tokens whose signature was right: sha256 of the token -> claims and the key they were signed with.

    :param size: how many are kept; the least used go first.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._kept: OrderedDict[bytes, tuple[Claims, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, token: str, key_of: Callable[[str], bytes | None]) -> Claims:
        """As `verify`, from memory when it was seen before and its key is still the same.

        :param key_of: the key of an audience, None where there is none.
        :raises BadToken: forged, of an unknown audience, or not of the form of a token.
        """
        name = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        with self._lock:
            known = self._kept.get(name)
            if known is not None and key_of(known[0].audience) == known[1]:
                self._kept.move_to_end(name)
                return known[0]
        secret = key_of(audience_of(token))
        if secret is None:
            raise BadToken
        claims = verify(token, secret)
        with self._lock:
            self._kept[name] = (claims, secret)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return claims
