"""`upkeep`: what a tenant needs once a day (docs/workers.md, section 7)."""

from cozyd.instance import Instance
from cozyd.jobs.job import Job
from workers import registry, trash


def run(instance: Instance, job: Job) -> None:
    """What a tenant needs once a day: an emptier trash, sessions that are over, old jobs, newer versions of apps, groups on phones."""
    trash.run(instance, job)
    instance.auth.sessions.purge()
    instance.auth.clients.purge()
    instance.jobs.upkeep.purge()
    instance.pim.name_groups()
    if any(registry.following(instance)):
        instance.jobs.push("registry", None)
