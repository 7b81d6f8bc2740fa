"""What the services of jobs and triggers share: how both look in JSON:API."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from blueprints import _jsonapi
from blueprints._files import allow_new, allow_reading, allowed, files
from blueprints._request import allow, body, instance, principal
from cozyd.documents.store import Doc
from cozyd.errors import BadRequest, NotFound
from cozyd.jobs.events import DIFFERS, rules_of
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


def allow_asked(worker: str, message: Any) -> None:
    """Ask the right to what a job would do: workers may all, and whoever pushes a job may not.

    What is not there fails when the job runs.
    :raises Forbidden: it would read a file, put one somewhere, or write a mail, and the principal may not.
    """
    if principal().kind == "cli" or not isinstance(message, dict):
        return
    if worker == "push" and message.get("mail_fallback"):
        allow("POST", JOBS, {"worker": "sendmail"})
    if worker == "zip":
        wanted, home = message.get("files"), message.get("dir_id")
        read = list(wanted.values()) if isinstance(wanted, dict) else []
    elif worker == "unzip":
        read, home = [message.get("zip")], message.get("destination")
    else:
        return
    for one in read:
        id = one.get("id") if isinstance(one, dict) else one
        with suppress(NotFound):
            allowed("GET", files().get(str(id or "")))
    with suppress(NotFound):
        allow_new("POST", files().dir(str(home or "")), {"type": "file"})


def allow_watched(type: str, arguments: str) -> None:
    """Ask the right to read what a trigger would be told of: its jobs have the documents in them.

    :raises Forbidden: the principal may not read them.
    """
    if principal().kind == "cli" or type != "@event":
        return
    for one in rules_of(arguments):
        if not one.values or one.values == (DIFFERS,):
            allow("GET", one.doctype)
        for value in one.values if one.values != (DIFFERS,) else ():
            if one.selector is None:
                allow_reading(one.doctype, value)
            else:
                allow("GET", one.doctype, {one.selector: value})


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
