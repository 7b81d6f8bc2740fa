"""`push`: brings a notification to the owner's devices, or as a mail (docs/http/notifications.md)."""

from cozyd.errors import JobFailed
from cozyd.instance import Instance
from cozyd.jobs.job import Job


def run(instance: Instance, job: Job) -> None:
    """Bring one.

    :raises JobFailed: the message is none, or nobody could be reached.
    """
    if not isinstance(job.message, dict):
        raise JobFailed("A notification is an object", again=False)
    instance.notifications.push(job.message)
