"""A session that goes on on an app's host: cookies are of one host alone, so a code carries it over (decisions/0121).

The main host, where she is logged in, makes a code for one app's host; it is good once, for a minute, there only. The cookie that the app's
host sets names the same session and is good on no other host: whatever an app could learn of it opens nothing else.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from cozyd.cache import Cache

CODE_FOR = 60.0
PREFIX = "app-"


class Handover:
    """Codes and cookies of apps' hosts, for one instance.

    :param record: gives the instance record.
    """

    def __init__(self, record: Callable[[], Mapping[str, Any]], cache: Cache) -> None:
        self._record = record
        self._cache = cache

    def code(self, session_id: str, host: str) -> str:
        """A code that carries a session to a host, once, within a minute."""
        code = PREFIX + secrets.token_urlsafe(24)
        self._cache.set(self._key(code, host), session_id.encode(), CODE_FOR)
        return code

    def take(self, code: str, host: str) -> str | None:
        """Use a code up; the session it carries. None: it is none, or for another host."""
        key = self._key(code, host)
        found = self._cache.get(key)
        if found is None or self._cache.hit(f"{key}/uses", CODE_FOR) > 1:
            return None
        self._cache.delete(key)
        return found.decode()

    def cookie(self, session_id: str, host: str) -> str:
        """The value of a host's cookie."""
        return _cookie(self._record()["session_secret"], session_id, host)

    def session_id(self, cookie: str, host: str) -> str | None:
        """The session of a host's cookie; None: it is forged, or of another host."""
        return _session_id(self._record()["session_secret"], cookie, host)

    def _key(self, code: str, host: str) -> str:
        named = hashlib.sha256(f"{code}\0{host}".encode("utf-8", "replace")).hexdigest()
        return f"app-code/{self._record()['domain']}/{named}"


def _cookie(secret: str, session_id: str, host: str) -> str:
    raw = bytes.fromhex(session_id)
    tag = hmac.digest(base64.b64decode(secret), b"cozyappsessid" + raw + host.encode(), "sha256")
    return base64.urlsafe_b64encode(raw + tag).decode().rstrip("=")


@lru_cache(maxsize=1024)
def _session_id(secret: str, cookie: str, host: str) -> str | None:
    """See `Handover.session_id`; remembered, as each file of a page comes with the same cookie."""
    try:
        raw = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
    except ValueError:
        return None
    session_id = raw[:16].hex()
    return session_id if len(raw) == 48 and hmac.compare_digest(cookie, _cookie(secret, session_id, host)) else None
