"""`Trail`: what happened to an account, for its owner to read: log-ins, changed secrets, applications that were let in.

It names kinds of events, never a secret. It is bounded: the oldest go first, and failures of one address are noted once an hour, so
that a storm of them pushes nothing out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cozyd.auth.agents import browser_of, system_of
from cozyd.auth.lists import thin_out
from cozyd.auth.sessions import LONGEST_AGENT
from cozyd.auth.values import Credentials, text_of, time_of
from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored, Write
from cozyd.errors import NotFound

EVENTS = "io.cozy.auth.events"
MOST_EVENTS = 1000
KINDS = (
    "logged_in",
    "login_failed",
    "logged_out",
    "session_ended",
    "sessions_ended",
    "passphrase_chosen",
    "passphrase_changed",
    "passphrase_reset",
    "passphrase_renewed",
    "factor_on",
    "factor_off",
    "factor_failed",
    "recovery_used",
    "recovery_renewed",
    "browser_trusted",
    "passkey_added",
    "passkey_removed",
    "magic_link_sent",
    "client_added",
    "client_removed",
    "client_certified",
    "device_added",
    "device_removed",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the trail.

    :param what: one of `KINDS`.
    :param detail: by what means, or the name of what it was about.
    """

    what: str
    at: datetime
    address: str
    browser: str
    system: str
    detail: str = ""


class Trail:
    """The trail of one instance."""

    def __init__(self, docs: Documents, now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._now = now

    def note(self, what: str, seen: Credentials | None = None, detail: str = "") -> None:
        """Write a line.

        :param seen: of the request it happened in; None: of the operator's command line.
        """
        assert what in KINDS, what
        agent = seen.agent[:LONGEST_AGENT] if seen else ""
        body: dict[str, Any] = {
            "what": what,
            "at": text_of(self._now()),
            "ip": seen.address if seen else "",
            "browser": browser_of(agent),
            "os": system_of(agent),
        }
        if detail:
            body["detail"] = detail[:200]
        self._docs.commit([Write(Ref(EVENTS, self._docs.new_id()), body=body)])
        thin_out(self._docs, EVENTS, MOST_EVENTS)

    def latest(self, limit: int) -> Sequence[Event]:
        """The latest lines, the last one first."""
        try:
            return [_event(stored) for stored in self._docs.all(EVENTS, descending=True, limit=limit).rows]
        except NotFound:
            return ()


def _event(stored: Stored) -> Event:
    doc = stored.doc
    named = {
        name: str(doc.get(key, "")) for name, key in (("address", "ip"), ("browser", "browser"), ("system", "os"), ("detail", "detail"))
    }
    return Event(what=str(doc.get("what", "")), at=time_of(doc["at"]), **named)
