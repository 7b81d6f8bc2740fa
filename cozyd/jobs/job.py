"""`Job`: one piece of work, a view of its document in `io.cozy.jobs`; how the document looks (docs/jobs.md)."""

import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self, cast, get_args

from cozyd import jsons
from cozyd.documents.store import Doc, Key, Map, Projection, Stored
from cozyd.errors import JobFailed
from cozyd.files.tree import read_time, write_time

JOBS = "io.cozy.jobs"
BY_STATE, BY_TRIGGER = "jobs-by-state", "jobs-by-trigger"
State = Literal["queued", "running", "done", "errored"]
STATES = get_args(State)
OPEN: tuple[State, ...] = ("queued", "running")
OPEN_KEY = "queued"
"""Where every open job stands by its state: one that begins stays where it is, as who asks for open jobs asks for all of them."""
NEVER = "0001-01-01T00:00:00Z"
"""What a job has in place of a time that was not reached."""
OUT_OF_TIME = "context deadline exceeded"
"""The error of a job that took too long: clients look for these words of the reference."""
TRIES, NOT_BEFORE = "tries", "not_before"
"""Private data: how often it was begun, where that is more than its state says, and when it may be begun again."""


@dataclass(slots=True)
class Job:
    """A job.

    :param message: what its worker is asked to do, any JSON.
    :param event: the change that a trigger matched: `{domain, prefix, verb, doc, old?}`.
    :param payload: the body that a webhook was called with.
    :param options: `max_exec_count`, and `timeout` in nanoseconds.
    :param tries: how often it was begun.
    :param deadline: monotonic seconds by which this run has to be over.
    """

    doc: Doc
    id: str
    rev: str
    worker: str
    message: Any
    state: State = "queued"
    trigger_id: str | None = None
    event: Map | None = None
    payload: bytes | None = None
    options: Map = field(default_factory=dict)
    manual: bool = False
    tries: int = 0
    not_before: datetime | None = None
    deadline: float = float("inf")

    @classmethod
    def of(cls, stored: Stored) -> Self:
        """The view of a document; one that another server wrote may lack members."""
        doc = stored.doc
        until = stored.private.get(NOT_BEFORE)
        return cls(
            doc,
            stored.ref.id,
            stored.rev,
            str(doc.get("worker", "")),
            doc.get("message"),
            cast(State, doc.get("state", "queued")),
            trigger_id=doc.get("trigger_id"),
            event=jsons.load_object(b64decode(doc["event"])) if doc.get("event") else None,
            payload=b64decode(doc["payload"]) if doc.get("payload") else None,
            options=doc.get("options") or {},
            manual=doc.get("manual_execution") is True,
            tries=int(stored.private.get(TRIES, doc.get("state", "queued") != "queued")),
            not_before=read_time(until) if until else None,
        )

    def seconds_left(self) -> float:
        """How long this run may still take; negative when it is late."""
        return self.deadline - time.monotonic()

    def check_time(self) -> None:
        """For workers that go on for long: their thread cannot be ended from outside.

        :raises JobFailed: this run took too long.
        """
        if self.seconds_left() < 0:
            raise JobFailed(OUT_OF_TIME, again=False)


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a job is made of: see `Job`.

    :param event: JSON text.
    """

    worker: str
    message: Any
    trigger_id: str | None = None
    event: bytes | None = None
    payload: bytes | None = None
    options: Map | None = None
    manual: bool = False
    debounced: bool = False
    forward_logs: bool = False

    def fields(self, tenant: Mapping[str, str], now: datetime) -> Doc:
        """The new document, its members in the reference's order.

        :param tenant: `domain` and `prefix`.
        """
        found: Doc = {**tenant, "worker": self.worker}
        if self.trigger_id is not None:
            found["trigger_id"] = self.trigger_id
        found["message"] = self.message
        found["event"] = b64encode(self.event).decode() if self.event is not None else None
        if self.payload:
            found["payload"] = b64encode(self.payload).decode()
        flags = {"manual_execution": self.manual, "debounced": self.debounced, "forward_logs": self.forward_logs}
        found |= {name: True for name, holds in flags.items() if holds}
        if self.options:
            found["options"] = dict(self.options)
        return found | {"state": "queued", "queued_at": write_time(now), "started_at": NEVER, "finished_at": NEVER}


def _by_state(stored: Stored) -> Iterable[tuple[Key, Any]]:
    doc = stored.doc
    state = doc.get("state")
    return (((OPEN_KEY if state in OPEN else state, doc.get("worker"), doc.get("queued_at")), None),) if state else ()


def _by_trigger(stored: Stored) -> Iterable[tuple[Key, Any]]:
    doc = stored.doc
    return (((doc["trigger_id"], doc.get("queued_at")), None),) if doc.get("trigger_id") else ()


PROJECTIONS = (
    Projection(
        BY_STATE,
        of={JOBS: _by_state},
        reads=frozenset(("state", "worker", "queued_at")),
        depth=0,
        view="function (doc) { if (doc.state) { emit([doc.state === 'running' ? 'queued' : doc.state, doc.worker, doc.queued_at]) } }",
    ),
    Projection(
        BY_TRIGGER,
        of={JOBS: _by_trigger},
        reads=frozenset(("trigger_id", "queued_at")),
        depth=0,
        view="function (doc) { if (doc.trigger_id) { emit([doc.trigger_id, doc.queued_at]) } }",
    ),
)
