"""`Triggers`: one tenant's triggers, and the jobs they make (docs/jobs.md, docs/http/jobs.md)."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cozyd import jsons
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import BadRequest, Invalid, NotFound
from cozyd.files.tree import read_time, write_time
from cozyd.jobs.job import BY_TRIGGER, JOBS, Job, NewJob
from cozyd.jobs.state import state_of
from cozyd.jobs.trigger import CLIENT, PENDING, SINCE, TRIGGERS, Trigger, check_arguments, check_type, debounce_of, id_of
from cozyd.jobs.worker import Worker

HISTORY = 50
"""How many of a trigger's jobs are looked at and listed."""
MOST_PAYLOADS, LARGEST_WINDOW = 1_000, 4 << 20
"""How many calls of a webhook are kept within a window, and how many bytes of them."""


@dataclass(frozen=True, slots=True)
class NewTrigger:
    """What a trigger is made of, as it was sent.

    :param options: of its jobs.
    :param made_by: slug of the app that makes it.
    :param changed_by: slug of the app that is noted as having changed it last.
    """

    type: Any
    arguments: Any = ""
    worker: Any = ""
    message: Any = None
    debounce: Any = ""
    options: Any = None
    made_by: str = ""
    changed_by: str = ""


class Makes(Protocol):
    """What makes the jobs: see `Jobs`."""

    def worker(self, name: str) -> Worker:
        """See `Jobs.worker`."""

    def push_new(self, new: NewJob, *, id: str | None = None, beside: Sequence[Write] = ()) -> Job:
        """See `Jobs.push_new`."""

    def begin(self, job: Job) -> Job:
        """See `Jobs.begin`."""


class Triggers:
    """One tenant's triggers.

    :param tenant: `domain` and `prefix`.
    :param built_in: those that come with the workers.
    :param jobs: makes their jobs.
    """

    def __init__(
        self, docs: Documents, tenant: Mapping[str, str], built_in: Sequence[Trigger], jobs: Makes, now: Callable[[], datetime]
    ) -> None:
        self._docs = docs
        self._tenant = tenant
        self._built_in = {trigger.id: trigger for trigger in built_in}
        self._jobs = jobs
        self._now = now

    # -- documents --------------------------------------------------------------------------------------------------

    def draft(self, new: NewTrigger) -> Doc:
        """The document of a new trigger, not stored yet.

        :raises Invalid: type, debounce or options are none.
        :raises BadRequest: the arguments cannot be read.
        """
        type = check_type(new.type)
        if not isinstance(new.arguments, str) or not isinstance(new.worker, str):
            raise BadRequest("arguments and worker are texts")
        debounce_of(new.debounce)
        now = write_time(self._now())
        check_arguments(type, new.arguments, self._now())
        made_by: Doc = {"createdByApp": new.made_by} if new.made_by else {}
        changed_by: Doc = {"updatedByApps": [{"slug": new.changed_by, "date": now}]} if new.changed_by else {}
        return {
            **self._tenant,
            "type": type,
            "worker": CLIENT if type == "@client" else new.worker,
            "arguments": new.arguments,
            "debounce": new.debounce or "",
            "options": _options(new.options),
            "message": new.message,
            "cozyMetadata": {"doctypeVersion": "1", "metadataVersion": 1, "createdAt": now, **made_by, "updatedAt": now, **changed_by},
        }

    def create(self, new: NewTrigger) -> Trigger:
        """Make a trigger.

        :raises NotFound: no such worker.
        :raises Invalid, BadRequest: as `draft`.
        """
        body = self.draft(new)
        self._jobs.worker(body["worker"])
        ref = Ref(TRIGGERS, self._docs.new_id())
        private = {SINCE: write_time(self._now())}
        return Trigger.of(self._docs.commit([Write(ref, body=body, private=private)])[0].new)

    def get(self, id: str) -> Trigger:
        """A trigger.

        :raises NotFound: there is none.
        """
        try:
            return Trigger.of(self._docs.get(Ref(TRIGGERS, id)))
        except NotFound:
            raise NotFound("Trigger with specified ID does not exist", error="Not Found") from None

    def all(self) -> Sequence[Trigger]:
        """Every trigger, by id."""
        try:
            found = self._docs.all(TRIGGERS).rows
        except NotFound:
            return []
        return [Trigger.of(stored) for stored in found if not stored.ref.id.startswith("_design/")]

    def patch(self, id: str, *, arguments: str | None = None, message: Any = ...) -> Trigger:
        """Change when a `@cron` trigger fires, or what any asks for.

        :raises NotFound: there is none.
        :raises Invalid: arguments of another type.
        :raises BadRequest: the arguments cannot be read.
        """

        def step() -> Trigger:
            known = self.get(id)
            now = write_time(self._now())
            patch: Doc = {"cozyMetadata": {**(known.doc.get("cozyMetadata") or {}), "updatedAt": now}}
            private = None
            if message is not ...:
                patch["message"] = message
            if arguments is not None:
                if known.type != "@cron":
                    raise Invalid("Invalid type for trigger (@cron expected)", source="/data/attributes/Type")
                check_arguments(known.type, arguments, self._now())
                patch["arguments"] = arguments
                private = {SINCE: now}
            return Trigger.of(self._docs.commit([Write(known.ref, patch=patch, rev=known.rev, private=private)])[0].new)

        return self._docs.retry(step)

    def delete(self, id: str) -> None:
        """Delete a trigger, with the window it may have open.

        :raises NotFound: there is none.
        """

        def step() -> None:
            known = self.get(id)
            window = self._docs.get_many(PENDING, [id])[0]
            closing = [Write(window.ref, rev=window.rev, deleted=True)] if window is not None else []
            self._docs.commit([Write(known.ref, rev=known.rev, deleted=True), *closing])

        self._docs.retry(step)

    def delete_where(self, **members: str) -> int:
        """Delete the triggers whose message has all these members: of an account, or of an app; how many there were."""
        found = [
            one
            for one in self.all()
            if isinstance(one.message, dict) and all(one.message.get(name) == value for name, value in members.items())
        ]
        for trigger in found:
            self.delete(trigger.id)
        return len(found)

    # -- what became of it ------------------------------------------------------------------------------------------

    def history(self, id: str, limit: int = HISTORY) -> Sequence[Job]:
        """The jobs of a trigger, the newest first."""
        rows = self._docs.rows(BY_TRIGGER, (id,), limit=min(limit, HISTORY), descending=True)
        found = self._docs.get_many(JOBS, [row.ref.id for row in rows])
        return [Job.of(stored) for stored in found if stored is not None]

    def state(self, id: str) -> Doc:
        """How the last jobs of a trigger went: see `state_of`."""
        return state_of(id, self.history(id))

    # -- firing -----------------------------------------------------------------------------------------------------

    def launch(self, id: str) -> Job:
        """Make a job by hand, now; one for a client is `running` at once.

        :raises NotFound: there is no such trigger, or no such worker.
        :raises BadRequest: too many of its kind were made lately.
        """
        job = self._jobs.push_new(self.get(id).job(manual=True))
        return self._jobs.begin(job) if job.worker == CLIENT and job.id else job

    def tick(self, id: str) -> datetime | None:
        """Fire a timed trigger if it is due and nobody did; the next moment to come back at.

        :raises NotFound: there is no such trigger any more.
        """
        trigger = self.get(id)
        now = self._now()
        slot = trigger.due(now)
        if slot is not None:
            self._fire_slot(trigger, slot)
        return trigger.next(now)

    def _fire_slot(self, trigger: Trigger, slot: datetime) -> None:
        """Make the job of a slot, once: its id is the slot's, and it is known even when it was purged."""
        id = trigger.slot_id(slot)
        gone = [Write(trigger.ref, rev=trigger.rev, deleted=True)] if trigger.is_once else []
        if self._docs.get_many(JOBS, [id], deleted=True)[0] is not None:
            if gone:
                self._docs.commit(gone)
            return
        self._jobs.push_new(trigger.job(), id=id, beside=gone)

    def call(self, id: str, payload: bytes, *, manual: bool = False) -> None:
        """A webhook is called.

        :raises NotFound: there is no such trigger.
        :raises Invalid: it is no webhook.
        :raises BadRequest: too many jobs of its kind were made lately, or too many calls wait.
        """
        trigger = self.get(id)
        if trigger.type != "@webhook":
            raise Invalid("Not a webhook", source="/data/attributes/Type")
        if not trigger.debounce:
            self._jobs.push_new(trigger.job(payload=payload, manual=manual))
            return
        self._docs.retry(lambda: self._collect(trigger, payload, manual))

    def _collect(self, trigger: Trigger, payload: bytes, manual: bool) -> None:
        """Put a call into the window of its trigger; the first one opens it."""
        ref = Ref(PENDING, trigger.id)
        known = self._docs.get_many(PENDING, [trigger.id])[0]
        text = b64encode(payload).decode()
        if known is None:
            until = write_time(self._now() + trigger.debounce)
            self._docs.commit([Write(ref, body={"until": until, "payloads": [text], "manual": manual})])
            return
        payloads = [*known.doc.get("payloads", ()), text]
        if len(payloads) > MOST_PAYLOADS or sum(map(len, payloads)) > LARGEST_WINDOW:
            raise BadRequest("Too many calls wait")
        self._docs.commit([Write(ref, patch={"payloads": payloads}, rev=known.rev)])

    def windows(self) -> Mapping[str, datetime]:
        """The open windows: id of the trigger -> their end."""
        try:
            found = self._docs.all(PENDING).rows
        except NotFound:
            return {}
        return {stored.ref.id: read_time(str(stored.doc.get("until"))) for stored in found}

    def close_window(self, id: str) -> None:
        """Make the job of a window whose time is over."""
        window = self._docs.get_many(PENDING, [id])[0]
        if window is None or read_time(str(window.doc.get("until"))) > self._now():
            return
        closing = Write(window.ref, rev=window.rev, deleted=True)
        try:
            trigger = self._built_in.get(id) or self.get(id)
        except NotFound:
            self._docs.commit([closing])
            return
        new = trigger.job(payload=_joined(window), manual=window.doc.get("manual") is True, debounced=True)
        self._jobs.push_new(new, id=id_of(id, window.rev), beside=[closing])


def _options(given: Any) -> Doc | None:
    """The options of a trigger's jobs, each of them named; `timeout` is in nanoseconds.

    :raises Invalid: they are none.
    """
    if given is None:
        return None
    found = {name: given.get(name) or 0 for name in ("max_exec_count", "timeout")} if isinstance(given, dict) else {}
    if not found or not all(isinstance(value, int) and not isinstance(value, bool) for value in found.values()):
        raise Invalid("options are an object of two numbers, max_exec_count and timeout", source="/data/attributes/options")
    return found


def _joined(window: Stored) -> bytes | None:
    """The calls of a window as one payload; those that are no JSON stand in it as text."""
    if "payloads" not in window.doc:
        return None
    return jsons.dump({"payloads": [_json(b64decode(text)) for text in window.doc["payloads"]]})


def _json(payload: bytes) -> Any:
    try:
        return jsons.load(payload)
    except BadRequest:
        return payload.decode(errors="replace")
