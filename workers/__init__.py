"""The workers: what is done later, or somewhere else, as plain functions of an instance and a job (docs/jobs.md).

A new worker is one file, and its line in `TABLE`. `run` is called by name by RQ.
"""

from types import MappingProxyType

from cozyd.jobs.broker import Following
from cozyd.jobs.worker import Limit, Table, Worker
from cozyd.stack import Stack
from workers import (
    accounts,
    clients,
    indexer,
    konnector,
    log,
    mailbox,
    metadata,
    push,
    registry,
    sendmail,
    service,
    sms,
    thumbnail,
    trash,
    unzip,
    upkeep,
    zipper,
)
from workers.scratch import sweep

TABLE: Table = MappingProxyType(
    {
        "account-deleted": Worker(accounts.run, reserved=True, on=accounts.ON),
        "client": Worker(limit=Limit(100)),
        "clean-clients": Worker(clients.run, tries=2, timeout=30, reserved=True),
        "clean-old-trashed": Worker(trash.run, tries=2, timeout=600, reserved=True),
        "mailbox": Worker(mailbox.run, queue="mailbox", concurrency=2, tries=2, timeout=300, delay=30, limit=Limit(200)),
        "log": Worker(log.run, tries=1, timeout=1),
        "registry": Worker(registry.run, queue="apps", concurrency=1, tries=2, timeout=600, delay=600, reserved=True),
        "sms": Worker(sms.run, tries=1, timeout=10, reserved=True),
        "unzip": Worker(unzip.run, queue="archives", concurrency=1, tries=2, timeout=600),
        "upkeep": Worker(upkeep.run, tries=2, timeout=600, reserved=True),
        "zip": Worker(zipper.run, queue="archives", concurrency=1, tries=2, timeout=600, limit=Limit(100)),
        "konnector": Worker(konnector.run, queue="programs", concurrency=2, tries=2, timeout=300, limit=Limit(100), skips=konnector.skips),
        "service": Worker(service.run, queue="programs", concurrency=2, tries=2, timeout=300, limit=Limit(200)),
        "indexer": Worker(indexer.run, queue="contents", concurrency=1, tries=2, timeout=30, reserved=True),
        "metadata": Worker(metadata.run, queue="contents", concurrency=1, tries=2, timeout=30, reserved=True),
        "thumbnail": Worker(thumbnail.run, queue="contents", concurrency=1, tries=2, timeout=30, reserved=True, limit=Limit(20_000)),
        "push": Worker(push.run, tries=1, timeout=60, limit=Limit(30)),
        "sendmail": Worker(sendmail.run, tries=1, timeout=10, first=True, limit=Limit(200)),
    }
)

_stacks: list[Stack] = []


def attach(stack: Stack) -> None:
    """Name the stack whose jobs this process runs; what jobs of killed processes left is swept away."""
    _stacks[:] = [stack]
    sweep()


def run(domain: str, job_id: str, following: Following = lambda _: None) -> bool:
    """Run a job: see `Runner.run`."""
    return _stacks[0].runner.run(domain, job_id, following)
