"""`/jobs/triggers`: what makes jobs (docs/http/jobs.md)."""

from typing import Any

from flask import Response, request

from blueprints import _jsonapi
from blueprints._jobs import allow_asked, allow_watched, attributes, job_resource, trigger_resource
from blueprints._request import Service, allow, asks, instance, number, principal
from cozyd.errors import BadRequest, Forbidden
from cozyd.jobs.trigger import TRIGGERS, Trigger
from cozyd.jobs.triggers import HISTORY, NewTrigger
from cozyd.permissions import Action

service = Service("triggers", __name__, url_prefix="/jobs/triggers")

STATE = "io.cozy.triggers.state"


@service.get("", access=asks("GET"))
def show_all() -> Response:
    """The triggers, of some workers and types alone."""
    workers, types = ([name for name in request.args.get(key, "").split(",") if name] for key in ("Worker", "Type"))
    try:
        allow("GET", TRIGGERS)
    except Forbidden:
        if len(workers) != 1:
            raise
        allow("GET", TRIGGERS, {"worker": workers[0]})
    triggers = instance().jobs.triggers
    found = [
        trigger_resource(one, state=triggers.state(one.id))
        for one in triggers.all()
        if (not workers or one.worker in workers) and (not types or one.type in types)
    ]
    return _jsonapi.answer(found, meta={"count": len(found)})


@service.post("", access=asks("POST"))
def create() -> Response:
    """Make a trigger."""
    given = attributes()
    asking = principal()
    new = NewTrigger(
        given.get("type"),
        given.get("arguments") or "",
        given.get("worker") or "",
        given["message"] if "message" in given else given.get("worker_arguments"),
        given.get("debounce") or "",
        given.get("options"),
        asking.id if asking.kind in ("app", "konnector", "client") else "",
    )
    draft = instance().jobs.triggers.draft(new)
    allow("POST", TRIGGERS, draft)
    if asking.kind != "cli":
        instance().jobs.may_push(draft["worker"])
        allow_asked(draft["worker"], draft["message"])
        allow_watched(draft["type"], draft["arguments"])
    return _jsonapi.answer(trigger_resource(instance().jobs.triggers.create(new)), status=201)


@service.get("/<id>", access=asks("GET"))
def show(id: str) -> Response:
    """A trigger with its state."""
    trigger = _allowed(id, "GET", konnector=True)
    return _jsonapi.answer(trigger_resource(trigger, state=instance().jobs.triggers.state(id)))


@service.get("/<id>/state", access=asks("GET"))
def show_state(id: str) -> Response:
    """How its last jobs went."""
    _allowed(id, "GET", konnector=True)
    state = instance().jobs.triggers.state(id)
    return _jsonapi.answer(_jsonapi.resource(STATE, id, state, links={"self": f"/jobs/triggers/{id}/state"}))


@service.get("/<id>/jobs", access=asks("GET"))
def show_jobs(id: str) -> Response:
    """Its last jobs, the newest first."""
    _allowed(id, "GET")
    limit = number("Limit", HISTORY, low=-HISTORY) or 0
    jobs = instance().jobs.triggers.history(id, limit if limit > 0 else HISTORY)
    return _jsonapi.answer([job_resource(job) for job in jobs], meta={"count": len(jobs)})


@service.patch("/<id>", access=asks("PATCH"))
def patch(id: str) -> Response:
    """Change when it fires, or what it asks for."""
    trigger = _allowed(id, "PATCH", konnector=True)
    given = attributes()
    arguments, message = given.get("arguments") or None, given.get("message", ...)
    if arguments is None and message is ...:
        raise BadRequest("Only arguments and message can be patched")
    if arguments is not None and not isinstance(arguments, str):
        raise BadRequest("arguments are a text")
    if message is not ...:
        _check_message(trigger, message)
    changed = instance().jobs.triggers.patch(id, arguments=arguments, message=message)
    return _jsonapi.answer(trigger_resource(changed, state=instance().jobs.triggers.state(id)))


@service.post("/<id>/launch", access=asks("POST"))
def launch(id: str) -> Response:
    """Make a job by hand, now."""
    _allowed(id, "POST")
    return _jsonapi.answer(job_resource(instance().jobs.triggers.launch(id)), status=201)


@service.delete("/<id>", access=asks("DELETE"))
def delete(id: str) -> Response:
    """Delete a trigger."""
    _allowed(id, "DELETE", konnector=True)
    instance().jobs.triggers.delete(id)
    return Response(status=204)


def _allowed(id: str, action: Action, *, konnector: bool = False) -> Trigger:
    """A trigger that may be seen, or changed.

    :param konnector: whether a konnector may always, when it is its own.
    """
    trigger = instance().jobs.triggers.get(id)
    if not (konnector and _owns(trigger.worker, trigger.message)):
        allow(action, TRIGGERS, trigger.doc)
    return trigger


def _owns(worker: str, message: Any) -> bool:
    """Whether jobs that are asked for this are the konnector's that asks."""
    asking = principal()
    return asking.kind == "konnector" and worker == "konnector" and isinstance(message, dict) and message.get("konnector") == asking.id


def _check_message(trigger: Trigger, message: Any) -> None:
    """:raises Forbidden: a konnector would have another one run, or the jobs do with files what the principal may not."""
    if not _owns(trigger.worker, message):
        allow("PATCH", TRIGGERS, trigger.doc)
    allow_asked(trigger.worker, message)
