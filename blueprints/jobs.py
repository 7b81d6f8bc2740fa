"""`/jobs`: jobs, what clients do of them, their upkeep, and webhooks (docs/http/jobs.md)."""

from typing import Any

from flask import Response, request

from blueprints import _jsonapi
from blueprints._documents import answer
from blueprints._jobs import allow_asked, attributes, job_resource
from blueprints._request import Service, allow, asks, body_bytes, instance, principal, public
from cozyd.documents.store import Doc
from cozyd.errors import BadRequest, Forbidden, Invalid, NotFound, TooLarge
from cozyd.jobs.job import JOBS, Job
from cozyd.jobs.worker import HOUR

service = Service("jobs", __name__, url_prefix="/jobs")

SUPPORT = "io.cozy.support"
CALLS_AN_HOUR = 30
LARGEST_CALL = 1 << 20
"""Bytes of a webhook's payload."""
_LONGEST_TIMEOUT = 86_400
_NANOSECONDS = 1_000_000_000


@service.get("/queue/<worker>", access=asks("GET"))
def show_queue(worker: str) -> Response:
    """The open jobs of a worker."""
    allow("GET", JOBS, {"_id": worker, "worker": worker})
    jobs = instance().jobs.queue(worker)
    return _jsonapi.answer([job_resource(job) for job in jobs], meta={"count": len(jobs)})


@service.post("/queue/<worker>", access=asks("POST"))
def push(worker: str) -> Response:
    """Ask for work."""
    given = attributes()
    allow("POST", JOBS, {"worker": worker})
    forward_logs = given.get("forward_logs") is True
    if principal().kind != "cli":
        if forward_logs:
            raise Forbidden
        instance().jobs.may_push(worker)
        allow_asked(worker, given.get("arguments"))
    job = instance().jobs.push(
        worker,
        given.get("arguments"),
        manual=given.get("manual") is True,
        forward_logs=forward_logs,
        options=_options(given.get("options")),
    )
    return _jsonapi.answer(job_resource(job), status=202)


@service.post("/support", access=asks("POST"))
def ask_support() -> Response:
    """Write to those who give support."""
    given = _arguments()
    try:
        allow("POST", SUPPORT)
    except Forbidden:
        allow("POST", JOBS, {"worker": "sendmail"})
    values = {"body": str(given.get("body") or ""), "subject": str(given.get("subject") or "")}
    message = {"mode": "support", "template_name": "support_request", "template_values": values, "subject": values["subject"]}
    instance().jobs.push("sendmail", message)
    return Response(status=204)


@service.post("/campaign-emails", access=asks("POST"))
def send_campaign() -> Response:
    """Write a mail to the owner."""
    allow("POST", JOBS, {"worker": "sendmail"})
    given = _arguments()
    for name, what in (("subject", "subject"), ("parts", "content")):
        if not given.get(name):
            raise BadRequest(f"emailer: missing {what}")
    instance().jobs.push("sendmail", {"mode": "campaign", "subject": given["subject"], "parts": given["parts"]})
    return Response(status=204)


@service.post("/webhooks/<id>", access=public)
def call_webhook(id: str) -> Response:
    """Fire a trigger from outside: who knows its id may."""
    if instance().counts("webhooks", HOUR) > CALLS_AN_HOUR:
        raise NotFound("Not found", error="Not Found")
    payload = body_bytes()
    if len(payload) > LARGEST_CALL:
        raise TooLarge("A webhook takes at most 1 MiB")
    instance().jobs.triggers.call(id, payload, manual=request.args.get("Manual") == "true")
    return Response(status=204)


@service.post("/clean", access=asks("POST"))
def clean() -> Response:
    """Call forgotten jobs done."""
    allow("POST", JOBS)
    return answer({"deleted": instance().jobs.upkeep.clean()})


@service.delete("/purge", access=asks("DELETE"))
def purge() -> Response:
    """Remove old jobs."""
    allow("DELETE", JOBS)
    workers = [name for name in request.args.get("workers", "").split(",") if name]
    return answer({"deleted": instance().jobs.upkeep.purge(request.args.get("duration", ""), workers)})


@service.get("/<id>", access=asks("GET"))
def show(id: str) -> Response:
    """A job."""
    return _jsonapi.answer(job_resource(_allowed(id, "GET")))


@service.patch("/<id>", access=asks("PATCH"))
def end(id: str) -> Response:
    """A client says how its job ended."""
    job = _allowed(id, "PATCH")
    if job.worker != "client":
        raise Forbidden
    given = attributes()
    if given.get("state") not in ("done", "errored"):
        raise Invalid("State must be done or errored", source="/data/attributes/State")
    error = str(given.get("error") or "") if given["state"] == "errored" else None
    return _jsonapi.answer(job_resource(instance().jobs.end(id, error)))


# -- inside -------------------------------------------------------------------------------------------------------------


def _allowed(id: str, action: Any) -> Job:
    """A job that may be seen, or changed.

    :raises NotFound: there is none, for those who might be allowed to.
    """
    try:
        job = instance().jobs.get(id)
    except NotFound:
        allow(action, JOBS, {"_id": id})
        raise NotFound("jobs: not found", error="Not Found") from None
    allow(action, JOBS, job.doc)
    return job


def _arguments() -> Doc:
    given = attributes().get("arguments")
    return given if isinstance(given, dict) else {}


def _options(given: Any) -> Doc | None:
    """The options of a job: a client gives its timeout in seconds, the document has nanoseconds.

    :raises Invalid: they are none.
    """
    if given is None:
        return None
    if not isinstance(given, dict):
        raise Invalid("options are an object", source="/data/attributes/options")
    found: Doc = {"max_exec_count": 0, "timeout": 0}
    for name, most, unit in (("max_exec_count", 1000, 1), ("timeout", _LONGEST_TIMEOUT, _NANOSECONDS)):
        value = given.get(name)
        if value is None or value == 0:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
            raise Invalid(f"{name} is a number up to {most}", source=f"/data/attributes/options/{name}")
        found[name] = value * unit
    return found
