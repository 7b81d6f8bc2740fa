"""`Runner`: runs one job after the other on the threads of a broker, and gives up those that do not end (docs/jobs.md)."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cozyd.errors import CozyError, JobFailed, NotFound
from cozyd.jobs.broker import Following
from cozyd.jobs.job import OUT_OF_TIME, Job
from cozyd.jobs.shift import Shift
from cozyd.jobs.worker import Table, Worker

log = logging.getLogger("cozyd.jobs")

PATIENCE = 5.0
"""Seconds after its deadline in which a run may still end by itself."""
LOOKS_EVERY = 1.0
EVEN_BLOCKED = frozenset(("sendmail",))
"""Workers that work for an instance its host has blocked: she is told about it."""
MOST_LOST = 4
"""How many threads may be lost until the process is not well."""


@dataclass(slots=True, eq=False)
class _Run:
    """A job that is running on a thread."""

    instance: Any
    job: Job
    thread: threading.Thread
    lost: bool = False


class Runner:
    """Everything of this process that runs.

    :param instance: gives the instance of a domain; raises NotFound.
    :param replace: is told of a thread that does not come back from a job.
    """

    def __init__(self, table: Table, instance: Callable[[str], Any], replace: Callable[[threading.Thread], None]) -> None:
        self._table = table
        self._instance = instance
        self._replace = replace
        self._lock = threading.Lock()
        self._runs: set[_Run] = set()
        self._watch: threading.Thread | None = None
        self._closed = threading.Event()
        self.lost = 0
        """How many threads hang in a job that was given up."""

    def run(self, domain: str, job_id: str, following: Following = lambda _: None) -> bool:
        """Run a job, if it is to be run now, and those of the same domain that wait behind it; False: its thread was given up
        meanwhile, and has to end.
        """
        try:
            instance = self._instance(domain)
        except NotFound:
            return True
        with instance.jobs.shift() as shift:
            next_id: str | None = job_id
            while next_id is not None:
                job = shift.take(next_id)
                if job is not None and not self._run(instance, job, shift):
                    return False
                next_id = following(domain)
        return True

    def _run(self, instance: Any, job: Job, shift: Shift) -> bool:
        worker = self._table[job.worker]
        job.deadline = time.monotonic() + worker.timeout_of(job)
        this = _Run(instance, job, threading.current_thread())
        self._begin(this)
        error = _outcome(worker, instance, job)
        with self._lock:
            self._runs.discard(this)
            if this.lost:
                self.lost -= 1
                return False
        shift.end(job, error)
        return True

    def _begin(self, run: _Run) -> None:
        with self._lock:
            self._runs.add(run)
            if self._watch is None:
                self._watch = threading.Thread(target=self._look, name="jobs watch", daemon=True)
                self._watch.start()

    # -- jobs that do not end ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        while not self._closed.wait(LOOKS_EVERY):
            for run in tuple(self._runs):
                if run.job.seconds_left() < -PATIENCE:
                    self._give_up(run)

    def _give_up(self, run: _Run) -> None:
        """End a job whose thread hangs; another thread takes its place."""
        with self._lock:
            if run not in self._runs or run.lost:
                return
            run.lost = True
            self._runs.discard(run)
            self.lost += 1
        log.error("the job %s of %s does not end, its thread is given up", run.job.id, run.job.worker)
        self._replace(run.thread)
        try:
            run.instance.jobs.finish(run.job, JobFailed(OUT_OF_TIME, again=False))
        except CozyError:
            log.warning("the job %s could not be ended", run.job.id, exc_info=True)

    def close(self) -> None:
        """Give back the jobs that still run: they are queued again."""
        self._closed.set()
        with self._lock:
            runs = tuple(self._runs)
            self._runs.clear()
            for run in runs:
                run.lost = True
        for run in runs:
            try:
                run.instance.jobs.give_back(run.job)
            except CozyError:  # it ended just now, or the store is away: then it is found running by whoever comes next
                log.info("the job %s could not be given back", run.job.id)


def _outcome(worker: Worker, instance: Any, job: Job) -> CozyError | None:
    """What a worker's run came to: None when all went well."""
    assert worker.run is not None
    if instance.doc.get("blocked") is True and job.worker not in EVEN_BLOCKED:
        return JobFailed("The instance is blocked", again=False)
    try:
        worker.run(instance, job)
    except CozyError as error:
        return error
    except Exception as error:  # a worker's fault is one failed job
        log.exception("the worker %s failed unexpectedly in the job %s", job.worker, job.id)
        return JobFailed(f"Unexpected error ({type(error).__name__})")
    return None
