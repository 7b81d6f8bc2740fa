"""`Shift`: the jobs of one tenant that a thread does one behind the other (docs/jobs.md)."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cozyd.documents.store import Change, Map, Ref, Stored, Write
from cozyd.errors import Conflict, CozyError, Locked, Unavailable
from cozyd.files.tree import write_time
from cozyd.jobs.job import JOBS, TRIES, Job

if TYPE_CHECKING:
    from cozyd.jobs import Jobs


class Start:
    """A job that is about to begin.

    :ivar write: takes it to `running`.
    """

    __slots__ = ("_job", "write")

    def __init__(self, job: Job, now: datetime) -> None:
        self._job = job
        tries = job.tries + 1
        private: Map | None = {TRIES: tries} if tries > 1 or job.not_before is not None else None
        patch = {"state": "running", "started_at": write_time(now)}
        self.write = Write(Ref(JOBS, job.id), patch=patch, rev=job.rev, private=private)

    def job(self, stored: Stored) -> Job:
        """The job as it was begun."""
        return replace(self._job, doc=stored.doc, rev=stored.rev, state="running", tries=self._job.tries + 1)


class Shift:
    """Takes jobs and ends them. The end of one that went well is written with the beginning of the next, in one commit; its lease is
    held until then.
    """

    def __init__(self, jobs: "Jobs") -> None:
        self._jobs = jobs
        self._lease = ExitStack()
        self._end: Write | None = None
        self._returned = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._lease:
            if error is None:
                self._write_end()
                return
            with suppress(CozyError):  # what is raised already says enough
                self._write_end()

    def take(self, id: str) -> Job | None:
        """Hold a job's lease and take it to `running`; None: it is not to be run now, or not by us."""
        with ExitStack() as lease:
            try:
                lease.enter_context(self._jobs.lease(id))
            except (Locked, Unavailable):
                self._jobs.look_again(id)
                return None
            start = self._jobs.start_of(id)
            if start is None:
                return None
            end, self._end = self._end, None
            writes = [start.write, *([end] if end is not None else [])]
            answers = self._jobs.write_each(writes, returns=True, returned=self._returned)
            self._returned = True
            self._lease.close()
            self._lease = lease.pop_all()
        _raise_unexpected(answers)
        begun = answers[0]
        if isinstance(begun, CozyError):
            self._jobs.look_again(id)
            return None
        return start.job(begun.new)

    def end(self, job: Job, error: CozyError | None) -> None:
        """A run is over: see `Jobs.finish`. Ends that come too late count for nothing: it was cancelled, or thought dead and taken."""
        if error is None:
            self._end = self._jobs.end_of(job)
            return
        with suppress(Conflict):
            self._jobs.finish(job, error)

    def _write_end(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            _raise_unexpected(self._jobs.write_each([end], returned=self._returned))


def _raise_unexpected(answers: Sequence[Change | CozyError]) -> None:
    """:raises CozyError: a write failed, other than by being too late."""
    for answer in answers:
        if isinstance(answer, CozyError) and not isinstance(answer, Conflict):
            raise answer
