"""`Trigger`: what makes jobs, a view of its document in `io.cozy.triggers` (docs/jobs.md)."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from cozyd import jsons
from cozyd.documents.store import Doc, Map, Ref, Stored
from cozyd.errors import CozyError, Invalid
from cozyd.files.tree import read_time, write_time
from cozyd.jobs.events import EventRule, rules_of
from cozyd.jobs.job import NewJob
from cozyd.jobs.schedule import DAY, TIMED, Once, Schedule, duration, schedule_of
from cozyd.jobs.worker import Table

log = logging.getLogger("cozyd.jobs")

TRIGGERS = "io.cozy.triggers"
PENDING = "io.cozy.triggers.pending"
"""Windows of debounce that are open, one document for each, under the trigger's id."""
TYPES = TIMED | {"@event", "@webhook", "@client"}
CLIENT = "client"
SINCE = "since"
"""Private data: when the arguments were given, so that no slot of before is made up for."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger.

    :param message: what its jobs are asked to do.
    :param debounce: hits within so much time make one job.
    :param options: of its jobs; `timeout` in nanoseconds.
    :param since: slots of before do not count.
    :param schedule: of a timed one.
    :param rules: of `@event`.
    :param built_in: it comes with its worker, and has no document.
    """

    doc: Doc
    id: str
    rev: str
    type: str
    worker: str
    arguments: str
    message: Any
    debounce: timedelta = timedelta()
    options: Map = field(default_factory=dict)
    since: datetime = datetime.min
    schedule: Schedule | None = None
    rules: Sequence[EventRule] = ()
    built_in: bool = False

    @classmethod
    def of(cls, stored: Stored) -> Self:
        """The view of a document; what another server wrote and we cannot read makes a trigger that never fires."""
        doc = stored.doc
        type, arguments, worker = (str(doc.get(name) or "") for name in ("type", "arguments", "worker"))
        since = read_time(str(stored.private.get(SINCE) or (doc.get("cozyMetadata") or {}).get("createdAt") or ""))
        schedule: Schedule | None = None
        rules: Sequence[EventRule] = ()
        debounce = timedelta()
        try:
            debounce = debounce_of(doc.get("debounce"))
            schedule, rules = _read(type, arguments, since, seed_of(doc))
        except CozyError as error:
            log.warning("the trigger %s of %s never fires: %s", stored.ref.id, doc.get("domain"), error)
        options = doc.get("options")
        return cls(
            doc,
            stored.ref.id,
            stored.rev,
            type,
            worker,
            arguments,
            doc.get("message"),
            debounce,
            options if isinstance(options, dict) else {},
            since,
            schedule,
            rules,
        )

    @property
    def ref(self) -> Ref:
        """Where it is."""
        return Ref(TRIGGERS, self.id)

    @property
    def is_once(self) -> bool:
        """Whether it goes when it has fired."""
        return isinstance(self.schedule, Once)

    def due(self, now: datetime) -> datetime | None:
        """The slot it is due for: the last one, unless that was before the trigger; one moment may be up to a day older."""
        slot = self.schedule.last(now) if self.schedule is not None else None
        earliest = self.since - DAY if self.is_once else self.since
        return slot if slot is not None and slot > earliest else None

    def next(self, now: datetime) -> datetime | None:
        """The first slot that is still to come."""
        return self.schedule.after(now) if self.schedule is not None else None

    def made(self, stored: Stored) -> bool:
        """Whether a document is a job of its own: it does not fire for those, they would never end."""
        return stored.doc.get("trigger_id") == self.id

    def job(self, **more: Any) -> NewJob:
        """A new job of this trigger."""
        return NewJob(self.worker, self.message, trigger_id=None if self.built_in else self.id, options=self.options, **more)

    def slot_id(self, slot: datetime) -> str:
        """The id of the job that belongs to a slot, whichever process makes it."""
        return id_of(self.id, write_time(slot))


def built_in_triggers(table: Table) -> Sequence[Trigger]:
    """The triggers that come with the workers."""
    return [
        Trigger(
            {}, f"worker.{name}", "", "@event", name, one.on, None, timedelta(seconds=one.debounce), rules=rules_of(one.on), built_in=True
        )
        for name, one in table.items()
        if one.on
    ]


def _read(type: str, arguments: str, since: datetime, seed: str) -> tuple[Schedule | None, Sequence[EventRule]]:
    if type in TIMED:
        return schedule_of(type, arguments, since=since, seed=seed), ()
    return None, rules_of(arguments) if type == "@event" else ()


def check_type(type: Any) -> str:
    """:raises Invalid: there is no such type of triggers."""
    if not isinstance(type, str) or type not in TYPES:
        raise Invalid("Unknown trigger type", source="/data/attributes/Type")
    return type


def check_arguments(type: str, arguments: str, now: datetime) -> None:
    """:raises BadRequest: the arguments cannot be read."""
    _read(type, arguments, now, "")


def debounce_of(text: Any) -> timedelta:
    """The time within which hits make one job.

    :raises Invalid: it is no duration.
    """
    if not text:
        return timedelta()
    try:
        return max(timedelta(), duration(text if isinstance(text, str) else "?"))
    except ValueError as cause:
        raise Invalid(str(cause), source="/data/attributes/debounce") from cause


def seed_of(doc: Mapping[str, Any]) -> str:
    """What the random picks of a periodic trigger depend on: they stay when the trigger is made anew."""
    return f"{doc.get('domain')}/{doc.get('worker')}/{jsons.canonical(doc.get('message')).decode()}"


def id_of(*parts: str) -> str:
    """An id that depends on nothing but these."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]
