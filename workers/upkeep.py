"""`upkeep`: what a tenant needs once a day (docs/workers.md, section 6)."""

from contextlib import suppress

from cozyd.apps import Kind
from cozyd.errors import CozyError
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from workers import trash


def run(instance: Instance, job: Job) -> None:
    """What a tenant needs once a day: an emptier trash, sessions that are over, old jobs, newer versions of apps."""
    trash.run(instance, job)
    instance.auth.sessions.purge()
    instance.auth.clients.purge()
    instance.jobs.upkeep.purge()
    kinds: tuple[Kind, Kind] = ("webapp", "konnector")
    for kind in kinds:
        for app in instance.apps.list(kind):
            if str(app.doc.get("source", "")).startswith("registry://"):
                with suppress(CozyError):
                    instance.apps.look_for_update(app)
