"""The operator's view of an instance's jobs and triggers (docs/http/instances.md)."""

from typing import Any

from flask import Response, request

from blueprints import _jsonapi
from blueprints._admin import stack
from blueprints._documents import answer
from blueprints._request import Service, public
from cozyd import jsons
from cozyd.errors import BadRequest, CozyError
from cozyd.jobs import Jobs
from cozyd.jobs.job import JOBS, STATES, Job
from cozyd.jobs.trigger import TRIGGERS, Trigger

LISTED = 100
"""How many jobs of other states than the open ones are listed."""

service = Service("admin_jobs", __name__, url_prefix="/instances/<domain>")


@service.get("/jobs", access=public)
def list_jobs(domain: str) -> Response:
    """The open jobs, or the last of other states; of `Worker` alone when it is given."""
    worker, states = request.args.get("Worker"), request.args.get("State", "")
    if not states:
        return _jsonapi.answer([_job(job) for job in _jobs(domain).open() if worker in (None, job.worker)])
    wanted = states.split(",")
    if not set(wanted) <= set(STATES):
        raise BadRequest(f"State is some of {', '.join(STATES)}", source="State")
    return _jsonapi.answer([_job(job) for job in _jobs(domain).last(wanted, worker, LISTED)])


@service.post("/jobs", access=public)
def run_job(domain: str) -> Response:
    """Push a job: `Worker`, `Message` (JSON)."""
    job = _jobs(domain).push(request.args.get("Worker", ""), _message(), manual=True)
    return _jsonapi.answer(_job(job), status=201)


@service.get("/jobs/<id>", access=public)
def show_job(domain: str, id: str) -> Response:
    """A job."""
    return _jsonapi.answer(_job(_jobs(domain).get(id)))


@service.delete("/jobs/<id>", access=public)
def cancel_job(domain: str, id: str) -> Response:
    """End a job that is open."""
    return _jsonapi.answer(_job(_jobs(domain).cancel(id)))


@service.post("/jobs/purge", access=public)
def purge_jobs(domain: str) -> Response:
    """Remove old jobs: `Duration`, `Workers`."""
    workers = [name for name in request.args.get("Workers", "").split(",") if name]
    removed = _jobs(domain).upkeep.purge(request.args.get("Duration", ""), workers)
    return _jsonapi.answer(None, meta={"deleted": removed})


@service.get("/triggers", access=public)
def list_triggers(domain: str) -> Response:
    """The triggers, with how their last jobs went."""
    jobs = _jobs(domain)
    return _jsonapi.answer([_trigger(one, jobs) for one in jobs.triggers.all()])


@service.post("/checks/triggers", access=public)
def check_triggers(domain: str) -> Response:
    """What is wrong with the triggers: one that is there twice, one whose worker is not there."""
    jobs, seen = _jobs(domain), dict[str, str]()
    found: list[dict[str, str]] = []
    for one in jobs.triggers.all():
        if one.built_in:
            continue
        same = jsons.dump([one.type, one.worker, one.arguments, one.message]).decode()
        if same in seen:
            found.append({"_id": one.id, "type": "duplicate", "other_id": seen[same]})
        seen.setdefault(same, one.id)
        try:
            jobs.worker(one.worker)
        except CozyError:
            found.append({"_id": one.id, "type": "unknown worker", "worker": one.worker})
    return answer(found)


@service.post("/triggers/<id>/launch", access=public)
def launch_trigger(domain: str, id: str) -> Response:
    """Make a trigger's job now."""
    return _jsonapi.answer(_job(_jobs(domain).triggers.launch(id)), status=201)


@service.delete("/triggers/<id>", access=public)
def remove_trigger(domain: str, id: str) -> Response:
    """Delete a trigger."""
    _jobs(domain).triggers.delete(id)
    return Response(status=204)


def _jobs(domain: str) -> Jobs:
    return stack().instance(domain).jobs


def _message() -> Any:
    text = request.args.get("Message", "null")
    try:
        return jsons.load(text)
    except BadRequest:
        raise BadRequest("Message is no JSON", source="Message") from None


def _job(job: Job) -> _jsonapi.Resource:
    return _jsonapi.resource(JOBS, job.id, job.doc, rev=job.rev)


def _trigger(trigger: Trigger, jobs: Jobs) -> _jsonapi.Resource:
    return _jsonapi.resource(TRIGGERS, trigger.id, trigger.doc | {"current_state": jobs.triggers.state(trigger.id)})
