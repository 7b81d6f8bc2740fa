"""`log`: writes a text to the server's log (docs/workers.md, section 6)."""

import logging

from cozyd.errors import Invalid
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from workers.forwarded import forward

_log = logging.getLogger("cozyd.jobs.log")

LONGEST_WORD = 4_000


def run(instance: Instance, job: Job) -> None:
    """Write a text to the server's log, on one line.

    :raises Invalid: the message is no text.
    """
    if not isinstance(job.message, str):
        raise Invalid("jobs: message unmarshal", source="message")
    forward(instance, job, "info", job.message[:LONGEST_WORD])
    _log.info("%s: %s", instance.domain, job.message[:LONGEST_WORD].encode("unicode_escape").decode())
