"""Sessions: how the owner's browser is known, and the history of her log-ins (docs/http/auth.md)."""

import base64
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cozyd.auth.agents import browser_of, system_of
from cozyd.auth.guesses import source_of
from cozyd.auth.lists import every, thin_out
from cozyd.auth.values import Credentials, text_of, time_of
from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored, Write
from cozyd.errors import Conflict, NotFound, Unauthorized

SESSIONS = "io.cozy.sessions"
LOGINS = "io.cozy.sessions.logins"

SESSION_IDLE = timedelta(days=30)
SHORT_SESSION = timedelta(seconds=300)
SEEN_EVERY = timedelta(hours=24)
MOST_LOGINS = 1000
LONGEST_AGENT = 500
TIME_BYTES, MAC_BYTES = 8, 32
"""A cookie is the time it was made, the id of its session, and their MAC."""


class Sessions:
    """The sessions of one instance.

    :param record: gives the instance record, whose `session_secret` signs the cookies.
    """

    def __init__(self, docs: Documents, record: Callable[[], Mapping[str, Any]], now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._record = record
        self._now = now

    def open(self, seen: Credentials, *, long_run: bool, short_run: bool = False, for_client: bool = False) -> str:
        """A new session's cookie value; the log-in is kept in her history.

        :param short_run: for one errand: it ends after five minutes.
        :param for_client: to let an application in.
        """
        now = text_of(self._now())
        session_id = secrets.token_hex(16)
        session = {"created_at": now, "last_seen": now, "long_run": long_run, "short_run": short_run}
        agent = seen.agent[:LONGEST_AGENT]
        login = {
            "session_id": session_id,
            "ip": seen.address,
            "user_agent": agent,
            "os": system_of(agent),
            "browser": browser_of(agent),
            "client_registration": for_client,
            "created_at": now,
        }
        self._docs.commit([Write(Ref(SESSIONS, session_id), body=session), Write(Ref(LOGINS, self._docs.new_id()), body=login)])
        thin_out(self._docs, LOGINS, MOST_LOGINS)
        self.purge()
        return self.cookie(session_id)

    def is_usual(self, seen: Credentials) -> bool:
        """Whether she logged in with such a browser from such an address before, or never before at all."""
        like = (system_of(seen.agent), browser_of(seen.agent), source_of(seen.address))
        logins = [stored.doc for stored in every(self._docs, LOGINS) if not stored.ref.id.startswith("_design/")]
        return not logins or any((doc.get("os"), doc.get("browser"), source_of(str(doc.get("ip", "")))) == like for doc in logins)

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, cookie: str) -> Stored:
        """The session of a cookie.

        :raises Unauthorized: forged, ended, or too old.
        """
        session_id = self._named(cookie)
        stored = self.alive(session_id)
        if stored is None:
            raise Unauthorized("The session has ended")
        return stored

    def id_of(self, cookie: str) -> str:
        """The id of a live session; raises as `get`."""
        return self.get(cookie).ref.id

    def alive(self, session_id: str) -> Stored | None:
        """A session that is neither ended nor too old; its last use is noted once a day."""
        try:
            stored = self._docs.get(Ref(SESSIONS, session_id))
        except NotFound:
            return None
        now, seen = self._now(), time_of(stored.doc["last_seen"])
        if self._is_over(stored):
            return None
        if now - seen >= SEEN_EVERY:
            try:
                self._docs.commit([Write(stored.ref, patch={"last_seen": text_of(now)}, rev=stored.rev)])
            except Conflict:
                return self.alive(session_id)
        return stored

    def all(self) -> Sequence[Stored]:
        """Those that go on, oldest first."""
        found = [stored for stored in every(self._docs, SESSIONS) if not self._is_over(stored)]
        return sorted(found, key=lambda stored: str(stored.doc.get("created_at", "")))

    def logins(self, limit: int) -> Sequence[Stored]:
        """Her latest log-ins, the last one first."""
        try:
            return self._docs.all(LOGINS, descending=True, limit=limit).rows
        except NotFound:
            return ()

    def is_of(self, session_id: str, cookie: str | None) -> bool:
        """Whether a session goes on, and a door that reads cookies was shown this session's."""
        try:
            return self.alive(session_id) is not None and (cookie is None or self._named(cookie) == session_id)
        except Unauthorized:
            return False

    # -- ending -----------------------------------------------------------------------------------------------------

    def end(self, cookie: str) -> bool:
        """End the session of a cookie; whether it went on."""
        try:
            self._drop(self.get(cookie))
        except Unauthorized:
            return False
        return True

    def remove(self, session_id: str) -> None:
        """End a session.

        :raises NotFound: there is none of this id that goes on.
        """
        stored = self._docs.get(Ref(SESSIONS, session_id))
        if self._is_over(stored):
            raise NotFound
        self._drop(stored)

    def end_others(self, cookie: str = "") -> int:
        """End every session but that of the cookie; how many went on.

        :raises Unauthorized: as `get`, of a cookie that was given.
        """
        mine = self.id_of(cookie) if cookie else ""
        others = [stored for stored in every(self._docs, SESSIONS) if stored.ref.id != mine]
        count = sum(not self._is_over(stored) for stored in others)
        for stored in others:
            self._drop(stored)
        return count

    def purge(self) -> None:
        """Drop the documents of sessions that are over."""
        for stored in every(self._docs, SESSIONS):
            if self._is_over(stored):
                self._drop(stored)

    # -- inside -----------------------------------------------------------------------------------------------------

    def cookie(self, session_id: str) -> str:
        """A session's cookie, in a cozy-stack's own form: those of a cozy that moves in go on, and ours when it goes back."""
        raw = int(self._now().timestamp()).to_bytes(TIME_BYTES, "big") + session_id.encode()
        return base64.urlsafe_b64encode(raw + self._mac(raw)).decode().rstrip("=")

    def _mac(self, raw: bytes) -> bytes:
        return hmac.digest(b"2:" + base64.b64decode(self._record()["session_secret"]), b"cozysessid" + raw, "sha256")

    def _named(self, cookie: str) -> str:
        """The session that a cookie is of.

        :raises Unauthorized: it is forged.
        """
        try:
            signed = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
            raw, mac = signed[:-MAC_BYTES], signed[-MAC_BYTES:]
            session_id = raw[TIME_BYTES:].decode()
        except ValueError:
            raise Unauthorized("The session is unknown") from None
        if not session_id or not hmac.compare_digest(mac, self._mac(raw)):
            raise Unauthorized("The session is unknown")
        return session_id

    def _is_over(self, stored: Stored) -> bool:
        life = SHORT_SESSION if stored.doc.get("short_run") else SESSION_IDLE
        return self._now() - time_of(stored.doc["last_seen"]) > life

    def _drop(self, stored: Stored) -> None:
        try:
            self._docs.delete(stored.ref, stored.rev)
        except (Conflict, NotFound):  # its last use was noted just now
            with_it = self._docs.get_many(SESSIONS, [stored.ref.id])[0]
            if with_it is not None and with_it.rev != stored.rev:
                self._drop(with_it)
