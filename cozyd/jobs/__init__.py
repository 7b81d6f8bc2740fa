"""`Jobs`: work to be done later, and what it comes from (docs/jobs.md).

A job's document is the outbox: it is written first, in the commit it belongs to, and everything else is a hint that may be
lost or come twice. Who runs a job holds its lease (a lock, never a write) and takes the document from `queued` to `running`
by its revision. A document changes at its four states only: `queued`, `running`, `done`, `errored`.
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from cozyd import jsons
from cozyd.cache import Cache
from cozyd.documents import Documents
from cozyd.documents.store import Change, Map, Ref, Stored, Write
from cozyd.errors import BadRequest, Conflict, CozyError, Forbidden, JobFailed, Locked, NotFound, Unavailable
from cozyd.files.tree import write_time
from cozyd.jobs.broker import Broker
from cozyd.jobs.job import BY_STATE, JOBS, NOT_BEFORE, OPEN, OPEN_KEY, TRIES, Job, NewJob
from cozyd.jobs.reactions import Reactions
from cozyd.jobs.shift import Shift, Start
from cozyd.jobs.together import Together
from cozyd.jobs.trigger import CLIENT, PENDING, TRIGGERS, built_in_triggers
from cozyd.jobs.triggers import Triggers
from cozyd.jobs.upkeep import Upkeep
from cozyd.jobs.worker import RESERVED_ELSEWHERE, Table, Worker
from cozyd.locks import Lock, Locks

log = logging.getLogger("cozyd.jobs")

LONGEST_QUEUE = 200
"""How many open jobs of a worker are listed."""
LEASE = 15.0
"""Seconds after which the jobs of a process that died are free."""
HELD_AGAIN_AFTER = 2.0
"""Seconds after which a queued job is looked at again whose lease is held: by a run that is ending, or by a process that died."""
LARGEST_ERROR = 4_000
"""Characters of an error's text that a job keeps."""
FRESH, LARGEST_FRESH = 4_096, 2_048
"""How many jobs are kept in memory until they begin, and the largest text, in bytes."""
_INTERRUPTED = "The job was interrupted while it ran"
_OF_A_BACKUP = "The job was open in a backup that was restored: whether it was done since is not known"


class Jobs:
    """One tenant's jobs.

    :param tenant: `domain` and `prefix`, as each job has them.
    :param table: the workers.
    :param broker: is told of each job that may be run.
    :param skips: whether a job need not be stored: its worker's own check.
    :param plan: is told that triggers have changed; never raises, never blocks.
    """

    def __init__(
        self,
        docs: Documents,
        tenant: Mapping[str, str],
        table: Table,
        broker: Broker,
        locks: Locks,
        cache: Cache,
        now: Callable[[], datetime],
        *,
        skips: Callable[[Worker, Job], bool],
        plan: Callable[[], None],
    ) -> None:
        self._docs = docs
        self._tenant = tenant
        self._table = table
        self._broker = broker
        self._locks = locks
        self._cache = cache
        self._now = now
        self._skips = skips
        self._plan = plan
        together = Together(docs.commit_each)
        self.write, self.write_each = together.write, together.write_each
        self._fresh: dict[str, Stored] = {}
        built_in = built_in_triggers(table)
        self.triggers = Triggers(docs, tenant, built_in, self, now)
        self.upkeep = Upkeep(docs, self.get, self.abandon, now)
        self.react = Reactions(tenant, built_in, self.triggers.all, now, atomic=docs.atomic)
        """Makes the jobs of a commit in the commit itself: see `React`."""

    # -- pushing ----------------------------------------------------------------------------------------------------

    def push(self, worker: str, message: Any, **options: Any) -> Job:
        """Ask for work: when this returns it is safe on disk, and will be done.

        :param options: those of `NewJob`: `options`, `manual`, `trigger_id`, `event`, `payload`, `forward_logs`, `debounced`.
        :raises NotFound: no such worker.
        :raises BadRequest: too many of its kind were pushed lately.
        """
        return self.push_new(NewJob(worker, message, **options))

    def push_new(self, new: NewJob, *, id: str | None = None, beside: Sequence[Write] = ()) -> Job:
        """Ask for work under a known id, or in one commit with other writes.

        :raises Conflict: a job with this id was made before, or another write is stale.
        :raises NotFound, BadRequest: as `push`.
        """
        worker = self.worker(new.worker)
        body = new.fields(self._tenant, self._now())
        unstored = Job.of(Stored(Ref(JOBS, ""), "", jsons.dump(body)))
        if self._skips(worker, unstored):
            return unstored
        self._check_limit(new.worker, worker)
        write = Write(Ref(JOBS, id or self._docs.new_id()), body=body)
        change = self._docs.commit([write, *beside])[0] if beside else self.write(write)
        return Job.of(change.new)

    def worker(self, name: str) -> Worker:
        """A line of the table.

        :raises NotFound: there is none of this name.
        """
        if name not in self._table:
            raise NotFound("jobs: could not find worker", error="Not Found")
        return self._table[name]

    def may_push(self, name: str) -> None:
        """Whether somebody other than the server may push to a worker.

        :raises NotFound: no such worker.
        :raises Forbidden: it is reserved to the server.
        """
        if name in RESERVED_ELSEWHERE or self.worker(name).reserved:
            raise Forbidden

    def _check_limit(self, name: str, worker: Worker) -> None:
        limit = worker.limit
        if limit is not None and self._cache.hit(f"jobs/{self._tenant['prefix']}/{name}", limit.window) > limit.count:
            raise BadRequest("Rate limit reached")

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Job:
        """A job.

        :raises NotFound: there is none.
        """
        return Job.of(self._docs.get(Ref(JOBS, id)))

    def queue(self, worker: str) -> Sequence[Job]:
        """The open jobs of a worker, longest queued first; at most 200."""
        return self._load([row.ref.id for row in self._docs.rows(BY_STATE, (OPEN_KEY, worker), limit=LONGEST_QUEUE)])

    def open(self) -> Sequence[Job]:
        """Every job that is queued or running, longest queued first of each worker."""
        return self._load([row.ref.id for row in self._docs.rows(BY_STATE, (OPEN_KEY,))])

    def last(self, states: Sequence[str], worker: str | None, most: int) -> Sequence[Job]:
        """The jobs that were pushed last, of some states; of one worker when it is named."""
        keys = {OPEN_KEY if state in OPEN else state for state in states}
        prefixes = [(state,) if worker is None else (state, worker) for state in keys]
        rows = [row for prefix in prefixes for row in self._docs.rows(BY_STATE, prefix)]
        rows.sort(key=lambda row: str(row.key[2]), reverse=True)
        jobs = (job for start in range(0, len(rows), most) for job in self._load([row.ref.id for row in rows[start : start + most]]))
        return list(islice((job for job in jobs if job.state in states), most))

    def _load(self, ids: Sequence[str]) -> Sequence[Job]:
        return [Job.of(stored) for stored in self._docs.get_many(JOBS, ids) if stored is not None]

    # -- running ----------------------------------------------------------------------------------------------------

    def shift(self) -> Shift:
        """To do some jobs one behind the other."""
        return Shift(self)

    def lease(self, id: str) -> AbstractContextManager[Lock]:
        """Hold the lease of a job.

        :raises Locked: somebody has it.
        :raises Unavailable: whoever keeps the leases is away.
        """
        return self._locks.hold(f"job/{self._tenant['prefix']}/{id}", wait=0, ttl=LEASE, strict=True)

    def start_of(self, id: str) -> Start | None:
        """What takes a job to `running`, which is to be written by whoever holds its lease; None: it is not to be run now."""
        try:
            fresh = self._fresh.pop(id, None)
            job = Job.of(fresh) if fresh is not None else self.get(id)
            worker = self._table.get(job.worker)
            if worker is None or job.state not in OPEN or (job.not_before is not None and job.not_before > self._now()):
                return None
            if job.tries == 0 and job.event is not None:  # made by a commit, which counted nothing
                self._check_limit(job.worker, worker)
            if job.state == "running" and not self._broker.may_reclaim():
                return None
            if job.state == "running" and (worker.once or job.tries > worker.tries_of(job)):
                self._end(job, JobFailed(_INTERRUPTED, again=False))
                return None
        except BadRequest as error:
            self._end(job, error)
            return None
        except (Conflict, NotFound):
            return None
        return Start(job, self._now())

    def begin(self, job: Job) -> Job:
        """Take a job to `running`.

        :raises Conflict: it has changed since it was read.
        """
        start = Start(job, self._now())
        return start.job(self.write(start.write).new)

    def look_again(self, id: str) -> None:
        """A hint came while the lease could not be had: a job that is queued all the same must not be forgotten."""
        try:
            job = self.get(id)
        except NotFound:
            return
        if job.state == "queued":
            self._wake(job, at=self._now() + timedelta(seconds=HELD_AGAIN_AFTER))

    def finish(self, job: Job, error: CozyError | None = None) -> None:
        """Write how a run ended: `done`; after an error `queued` for another try, or `errored` after the last.

        :raises Conflict: somebody else ended or took the job meanwhile; what this run did does not count.
        """
        worker = self._table.get(job.worker) or Worker()
        if error is not None and _makes_sense_again(error) and job.tries < worker.tries_of(job):
            self._requeue(job, self._now() + _pause(worker, job, error), job.tries)
            return
        self._end(job, error)

    def give_back(self, job: Job) -> None:
        """A run that was begun cannot be ended, as this process stops: the job is queued again, if it may run twice.

        :raises Conflict: as `finish`.
        """
        worker = self._table.get(job.worker)
        if worker is not None and worker.once:
            self._end(job, JobFailed(_INTERRUPTED, again=False))
        else:
            self._requeue(job, None, job.tries - 1)

    def _requeue(self, job: Job, at: datetime | None, tries: int) -> None:
        private: dict[str, Any] = {TRIES: tries} if tries else {}
        if at is not None:
            private[NOT_BEFORE] = write_time(at)
        patch = {"state": "queued"}
        self.write(Write(Ref(JOBS, job.id), patch=patch, rev=job.rev, private=private))

    def _end(self, job: Job, error: CozyError | None) -> None:
        self.write(self.end_of(job, error))
        if isinstance(error, JobFailed) and error.ends_trigger and job.trigger_id:
            with suppress(NotFound):
                self.triggers.delete(job.trigger_id)

    def end_of(self, job: Job, error: CozyError | None = None) -> Write:
        """What takes a job to its last state; what only the worker needed is dropped."""
        patch: dict[str, Any] = {"state": "done" if error is None else "errored", "finished_at": write_time(self._now())}
        patch |= {"event": None, "payload": ...}
        if error is not None:
            patch["error"] = error.detail[:LARGEST_ERROR]
        private: Map | None = {} if job.tries > 1 or job.not_before is not None else None
        return Write(Ref(JOBS, job.id), patch=patch, rev=job.rev, private=private)

    def cancel(self, id: str) -> Job:
        """End a job that is not ended: it is `errored`, and what its run may still do does not count.

        :raises NotFound: there is none.
        """

        def step() -> None:
            job = self.get(id)
            if job.state in OPEN:
                self._end(job, JobFailed("The job was cancelled", again=False))

        self._docs.retry(step)
        return self.get(id)

    def abandon(self, job: Job) -> bool:
        """Call an open job done that nobody runs; False: somebody does, or it changed meanwhile."""
        try:
            with self.lease(job.id):
                self._end(job, None)
        except (Locked, Unavailable, Conflict):
            return False
        return True

    def end(self, id: str, error: str | None) -> Job:
        """A client says how a job of the worker `client` ended.

        :param error: None: it went well.
        :raises NotFound: there is none.
        :raises Forbidden: it is not a client's.
        """

        def step() -> None:
            job = self.get(id)
            if job.worker != CLIENT:
                raise Forbidden
            self._end(job, None if error is None else JobFailed(error, again=False))

        self._docs.retry(step)
        return self.get(id)

    # -- hints ------------------------------------------------------------------------------------------------------

    def told(self, changes: Sequence[Change]) -> None:
        """Give a hint of each job that is queued now; called with what was committed here, under the writer's lock."""
        for change in changes:
            doctype = change.new.ref.doctype
            if doctype in (TRIGGERS, PENDING):
                self._plan()
            elif doctype == JOBS and change.verb != "DELETED" and b'"queued"' in change.new.text:
                job = Job.of(change.new)
                if job.state == "queued":
                    self._wake(job, at=job.not_before, queued=change.new)

    def _remember(self, queued: Stored) -> None:
        """Keep a job as it was queued, so that it need not be read to be begun. Should it change meanwhile, its beginning meets another
        revision and it is looked at again.
        """
        if not self._docs.shared and len(self._fresh) < FRESH and len(queued.text) <= LARGEST_FRESH:
            self._fresh[queued.ref.id] = Stored(queued.ref, queued.rev, queued.text, private=queued.private_text)

    def recall(self) -> int:
        """Give a hint of each open job; how many there are. For those whose hint was lost, or whose process died."""
        found = self.open()
        for job in found:
            self._wake(job, at=job.not_before)
        return len(found)

    def restored(self) -> None:
        """The documents are those of a backup now: of its open jobs those that must not happen twice are given up, as nobody knows what
        happened since; the others are done.
        """
        for job in self.open():
            worker = self._table.get(job.worker)
            if worker is not None and worker.once:
                with suppress(Conflict):
                    self._end(job, JobFailed(_OF_A_BACKUP, again=False))
        self._fresh.clear()
        self.recall()
        self._plan()

    def _wake(self, job: Job, *, at: datetime | None, queued: Stored | None = None) -> None:
        worker = self._table.get(job.worker)
        if worker is None or worker.run is None:
            return
        if queued is not None:
            self._remember(queued)
        wait = (at - self._now()).total_seconds() if at is not None else 0.0
        self._broker.wake(worker.queue, self._tenant["domain"], job.id, wait=max(0.0, wait), first=job.manual or worker.first)


def _makes_sense_again(error: CozyError) -> bool:
    """Whether another try may succeed: what was in the way may be gone by then."""
    if isinstance(error, JobFailed):
        return error.again
    return error.status in (409, 423, 429) or error.status >= 500


def _pause(worker: Worker, job: Job, error: CozyError) -> timedelta:
    """How long to wait before the next try: what the error asks for, or a time that doubles, one tenth more or less."""
    if error.retry_after is not None:
        return timedelta(seconds=error.retry_after)
    return timedelta(seconds=worker.delay * 2 ** (job.tries - 1) * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
