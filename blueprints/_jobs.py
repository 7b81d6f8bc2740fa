"""What the services of jobs and triggers share: how both look in JSON:API."""

from collections.abc import Mapping
from typing import Any

from blueprints import _jsonapi
from blueprints._request import body, instance
from cozyd.documents.store import Doc
from cozyd.errors import BadRequest
from cozyd.jobs.job import JOBS, Job
from cozyd.jobs.trigger import TRIGGERS, Trigger


def attributes() -> Mapping[str, Any]:
    """The attributes of the resource in the body.

    :raises BadRequest: it has no resource.
    """
    data = body().get("data")
    given = data.get("attributes") if isinstance(data, dict) else data
    if given is None and data is not None:
        return {}
    if not isinstance(given, dict):
        raise BadRequest("JSON input is malformed or is missing mandatory fields")
    return given


def job_resource(job: Job) -> _jsonapi.Resource:
    """A job; its link leads nowhere, as the reference's."""
    return _jsonapi.resource(JOBS, job.id, job.doc, rev=job.rev, links={"self": f"/jobs/{job.worker}/{job.id}"})


def trigger_resource(trigger: Trigger, *, state: Doc | None = None) -> _jsonapi.Resource:
    """A trigger, with its state where that is asked for."""
    links = {"self": f"/jobs/triggers/{trigger.id}"}
    if trigger.type == "@webhook":
        links["webhook"] = instance().url(f"/jobs/webhooks/{trigger.id}")
    more = {"current_state": state} if state is not None else {}
    return _jsonapi.resource(TRIGGERS, trigger.id, trigger.doc | more, links=links)
