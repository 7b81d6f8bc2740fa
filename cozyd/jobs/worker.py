"""`Worker`: one kind of work, as the table `workers.TABLE` lists it (docs/jobs.md)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cozyd.errors import Invalid
from cozyd.jobs.job import Job

DEFAULT_QUEUE = "default"
RESERVED_ELSEWHERE = frozenset(("migrations", "notes-save", "rag-index", "rag-query", "thumbnailck", "trash-files"))
RESERVED_ELSEWHERE |= {f"share-{what}" for what in ("autoaccept", "group", "replicate", "track", "update", "upload")}
"""Workers that the reference keeps for itself and that are not needed here: whoever pushes to one is refused, as there."""
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Limit:
    """How many jobs of one instance are taken in a window of seconds."""

    count: int
    window: float = HOUR


@dataclass(frozen=True, slots=True)
class Worker:
    """A line of the table.

    :param run: does the job of an instance (the first argument); whatever it raises is the job's error.
        None: a client does it, through `/jobs`.
    :param queue: jobs of one queue share its threads.
    :param concurrency: threads that the queue has in a process, if no worker of the same queue asks for more.
    :param tries: how often a job may be run before it is given up; a job's own options may only lower it.
    :param timeout: seconds for one run; a job's own options may only lower it. Five seconds later it is given up.
    :param reserved: pushed by the server alone.
    :param once: never run again when it was interrupted, as what it does must not happen twice: it is `errored` then.
    :param first: somebody waits for what it does, so its jobs come before others of the queue, as those pushed by hand do.
    :param delay: seconds before the second run, doubled before each later one.
    :param limit: pushes beyond it are refused.
    :param on: changes that it is pushed for by itself, as the arguments of `@event`; the job has the change as its event.
    :param debounce: seconds within which such changes make one job, which has no event then.
    :param skips: whether a job need not even be stored (the first argument is the instance).
    """

    run: Callable[[Any, Job], None] | None = None
    queue: str = DEFAULT_QUEUE
    concurrency: int = 4
    tries: int = 3
    timeout: float = 60
    reserved: bool = False
    once: bool = False
    first: bool = False
    delay: float = 0.06
    limit: Limit | None = None
    on: str = ""
    debounce: float = 0
    skips: Callable[[Any, Job], bool] | None = None

    def tries_of(self, job: Job) -> int:
        """How often a job may be run."""
        wanted = job.options.get("max_exec_count")
        return min(self.tries, wanted) if isinstance(wanted, int) and wanted > 0 else self.tries

    def timeout_of(self, job: Job) -> float:
        """Seconds for one run of a job; its own option counts in nanoseconds, as the reference's."""
        wanted = job.options.get("timeout")
        return min(self.timeout, wanted / 1e9) if isinstance(wanted, int | float) and wanted > 0 else self.timeout


Table = Mapping[str, Worker]
"""Name -> worker."""


def queues_of(table: Table, wanted: str = "") -> Mapping[str, int]:
    """Each queue with its number of threads; what clients do has none.

    :param wanted: other numbers, `programs=8 contents=0`: a queue with none is left to other processes.
    :raises Invalid: there is no such queue.
    """
    found: dict[str, int] = {}
    for worker in table.values():
        if worker.run is not None:
            found[worker.queue] = max(found.get(worker.queue, 0), worker.concurrency)
    for name, _, number in (word.partition("=") for word in wanted.split()):
        if name not in found:
            raise Invalid(f"jobs.threads: there is no queue {name}; there are {', '.join(sorted(found))}")
        found[name] = int(number)
    return {name: threads for name, threads in found.items() if threads}
