"""`clean-clients`: removes a client of OAuth that was never let in (docs/workers.md, section 6)."""

from contextlib import suppress

from cozyd.errors import CozyError
from cozyd.instance import Instance
from cozyd.jobs.job import Job


def run(instance: Instance, job: Job) -> None:
    """Remove a client of OAuth that registered and was never let in."""
    message = job.message if isinstance(job.message, dict) else {}
    with suppress(CozyError):
        client = instance.auth.clients.get(str(message.get("client_id")))
        if client.stored.doc.get("pending") is True:
            instance.auth.remove_client(client)
