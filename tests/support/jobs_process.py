"""`cozyd` with workers of the tests in place of its own; each notes the beginning and the end of every run in one file."""

import os
import random
import sys
import time
from types import MappingProxyType

import workers
from cozyd.cli import main
from cozyd.errors import JobFailed
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from cozyd.jobs.worker import Worker

RUNS = "COZYD_TEST_RUNS"


def note(word: str, job: Job) -> None:
    """A line of the file, whole even when several processes write."""
    descriptor = os.open(os.environ[RUNS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{word} {job.id} {os.getpid()} {time.time():.3f}\n".encode())
    finally:
        os.close(descriptor)


def short(_instance: Instance, job: Job) -> None:
    note("begin", job)
    time.sleep(random.random() * 0.02)
    note("end", job)


def long(_instance: Instance, job: Job) -> None:
    note("begin", job)
    time.sleep(float(job.message))
    note("end", job)


def poison(_instance: Instance, job: Job) -> None:
    note("begin", job)
    os.kill(os.getpid(), 9)


def failing(_instance: Instance, job: Job) -> None:
    note("begin", job)
    raise JobFailed("it never works")


TABLE = {
    "short": Worker(short, tries=1, timeout=60),
    "once": Worker(short, tries=1, timeout=60, once=True, queue="once", concurrency=2),
    "long": Worker(long, tries=1, timeout=120, queue="long"),
    "poison": Worker(poison, tries=2, timeout=60, queue="poison", concurrency=1),
    "failing": Worker(failing, tries=2, delay=0.05),
    "client": Worker(),
}

if __name__ == "__main__":
    workers.TABLE = MappingProxyType(TABLE)
    main(sys.argv[1:])
