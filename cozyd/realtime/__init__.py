"""`Hub` port and the local driver; `Park`, how a view waits for a change."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from cozyd.documents.store import Change

log = logging.getLogger("cozyd.realtime")

Deliver = Callable[[Sequence[Change]], None]
_NOBODY: Mapping[object, Deliver] = {}


class Hub(Protocol):
    """Changes on their way to whoever listens, in every process."""

    def publish(self, tenant: str, changes: Sequence[Change]) -> None:
        """Tell a commit's changes; never raises, never blocks. Order: per document; by seq within one process.

        What comes from another process has no private data, and no state before it.
        """

    def subscribe(self, tenant: str, deliver: Deliver) -> Callable[[], None]:
        """Have the changes of a tenant delivered, each commit's whole, on a foreign thread.

        :param deliver: must only enqueue.
        :returns: how to stop.
        """

    def close(self) -> None:
        """Forget every subscriber."""


class LocalHub:
    """The hub of one process: a call for each subscriber, on the publisher's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: dict[str, Mapping[object, Deliver]] = {}

    def publish(self, tenant: str, changes: Sequence[Change]) -> None:
        """See `Hub.publish`."""
        for deliver in self._subscribers.get(tenant, _NOBODY).values():
            try:
                deliver(changes)
            except Exception:  # a subscriber's fault is not the writer's
                log.exception("a subscriber of %s failed", tenant)

    def subscribe(self, tenant: str, deliver: Deliver) -> Callable[[], None]:
        """See `Hub.subscribe`."""
        this = object()
        with self._lock:
            self._subscribers[tenant] = {**self._subscribers.get(tenant, _NOBODY), this: deliver}

        def stop() -> None:
            with self._lock:
                left = {one: kept for one, kept in self._subscribers.get(tenant, _NOBODY).items() if one is not this}
                if left:
                    self._subscribers[tenant] = left
                else:
                    self._subscribers.pop(tenant, None)

        return stop

    def has_listeners(self, tenant: str) -> bool:
        """Whether anybody would hear a change of this tenant."""
        return tenant in self._subscribers

    def close(self) -> None:
        """See `Hub.close`."""
        with self._lock:
            self._subscribers.clear()


class Park(BaseException):
    """Raised by a view that has nothing to say yet: its thread is freed and the same request runs again later.

    A BaseException, so that no error handler between the view and the server takes it for a failure.

    :param doctypes: whose changes wake it.
    :param ids: of documents, when only theirs do.
    :param until: when it runs again at the latest.
    :param say: bytes sent meanwhile, behind the answer's head (which is 200); a heartbeat.
    :param type: the media type in that head.
    """

    def __init__(
        self,
        tenant: str,
        doctypes: Iterable[str],
        until: datetime,
        *,
        ids: Iterable[str] = (),
        say: bytes = b"",
        type: str = "application/json",
    ) -> None:
        super().__init__()
        self.tenant = tenant
        self.doctypes = frozenset(doctypes)
        self.ids = frozenset(ids)
        self.until = until
        self.say = say
        self.type = type
