"""`registry`: the lists of applications are looked at anew, and installed ones follow their channel (docs/workers.md, section 7)."""

from collections.abc import Iterator

from cozyd.apps import Kind
from cozyd.apps.versions import channel_named
from cozyd.documents.store import Stored
from cozyd.errors import CozyError, JobFailed
from cozyd.instance import Instance
from cozyd.jobs.job import Job

KINDS: tuple[Kind, ...] = ("webapp", "konnector")
SPARE = 60.0
"""Seconds before the job's end after which no further app is begun: it follows tomorrow."""


def run(instance: Instance, job: Job) -> None:
    """Look at the registries' lists, then install what is newer in the channels of her applications.

    What asks for new rights or has new terms waits for her (`available_version`).
    :raises JobFailed: a registry is away, or some could not be updated; the others are.
    """
    failed = []
    try:
        instance.apps.registries.refresh()
    except CozyError as error:
        failed.append(f"a registry: {error.detail}")
    for app in following(instance):
        if job.seconds_left() < SPARE:
            break
        try:
            instance.apps.follow(app)
        except CozyError as error:
            failed.append(f"{app.doc.get('slug')}: {error.detail}")
    if failed:
        raise JobFailed("; ".join(failed))


def following(instance: Instance) -> Iterator[Stored]:
    """Her applications that follow a channel of a registry."""
    for kind in KINDS:
        yield from (app for app in instance.apps.list(kind) if channel_named(str(app.doc.get("source") or "")) is not None)
