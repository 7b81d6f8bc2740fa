"""Apps opened elsewhere, their logs, and konnectors that are to run (docs/http/apps.md)."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from flask import Response, request

from blueprints import _app_pages, _jsonapi, _warnings
from blueprints._jobs import trigger_resource
from blueprints._request import SESSION_COOKIE, Service, allow, asks, body_bytes, credentials, flag, instance, principal
from cozyd import jsons
from cozyd.errors import BadRequest, Forbidden, Invalid
from cozyd.jobs.triggers import NewTrigger
from cozyd.permissions import Action

service = Service("app_launch", __name__)
log = logging.getLogger("cozyd.apps")

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
LONGEST_LINE, MOST_LINES = 2000, 100
LOGS = "io.cozy.apps.logs"
DEFAULT_HOURS = (0, 5)


@service.get("/apps/<slug>/open", access=asks("GET"))
def open_app(slug: str) -> Response:
    """All that a page of an app is drawn with, for an application that has everything."""
    if not principal().everything:
        raise Forbidden
    here = instance()
    app = here.apps.get("webapp", slug)
    cookie = request.cookies.get(SESSION_COOKIE) or here.auth.open_session(credentials(), long_run=True)
    token = here.auth.app_token(slug, session_id=here.auth.sessions.id_of(cookie))
    warnings = jsons.dump(_warnings.listed(here)).decode()
    shown = dict(_app_pages.texts_of(here, app, token, is_logged_in=True))
    shown |= {
        "Cookie": f"{SESSION_COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax",
        "Warnings": warnings,
    }
    return _jsonapi.answer(_jsonapi.resource("io.cozy.apps.open", slug, shown, links={"self": f"/apps/{slug}/open"}))


@service.post("/apps/<slug>/logs", access=asks("POST"))
@service.post("/konnectors/<slug>/logs", access=asks("POST"))
def logs(slug: str) -> Response:
    """Lines of an app's own log, into the server's."""
    who, kind = principal(), "konnector" if request.path.startswith("/konnectors/") else "app"
    if not who.everything:
        allow("POST", LOGS)
        if who.kind != kind:
            raise Forbidden
        slug = who.id
    if kind == "konnector":
        instance().apps.get("konnector", slug)
    for level, message in _lines(jsons.load(body_bytes())):
        log.log(level, "%s: %s", slug, message)
    return Response(status=204)


def _lines(given: Any) -> list[tuple[int, str]]:
    """The lines that were sent, each with its level.

    :raises BadRequest: they are no list of lines.
    :raises Invalid: there is no such level.
    """
    if not isinstance(given, list | None) or not all(isinstance(line, dict) for line in given or ()):
        raise BadRequest("JSON input is malformed or is missing mandatory fields")
    found: list[tuple[int, str]] = []
    for line in given or ():
        level, message = str(line.get("level") or ""), str(line.get("msg") or "")
        if level.lower() not in LEVELS:
            raise Invalid(f"{level[:20]!r} is no level", source="/data/attributes/level")
        found.append((LEVELS[level.lower()], message[:LONGEST_LINE]))
    return found[:MOST_LINES]


@service.post("/konnectors/<slug>/trigger", access=asks("POST"))
def make_trigger(slug: str) -> Response:
    """Have a konnector run as often as its manifest says."""
    here = instance()
    message: dict[str, Any] = {"account": request.args.get("AccountID", ""), "konnector": slug}
    action: Action = "POST"
    allow(action, "io.cozy.triggers", {"worker": "konnector", "message": message})
    konnector = here.apps.get("konnector", slug)
    if _saves_files(konnector.doc):
        message["folder_to_save"] = "yes"  # its first run puts the folder in its place
    who = principal()
    made_by = who.id if who.kind in ("app", "konnector", "client") else ""
    new = NewTrigger("@cron", cron_of(slug, konnector.doc), "konnector", message, made_by=made_by, changed_by=made_by)
    trigger = here.jobs.triggers.create(new)
    if flag("ExecNow"):
        here.jobs.triggers.launch(trigger.id)
    return _jsonapi.answer(trigger_resource(trigger), status=201)


def cron_of(slug: str, manifest: Mapping[str, Any]) -> str:
    """When a konnector runs: within its hours, at a minute and a day that are its own."""
    number = int(hashlib.sha256(slug.encode()).hexdigest()[:8], 16)
    minute, day = number % 60, number // 60
    hours = manifest.get("time_interval")
    low, high = hours if isinstance(hours, list) and _are_hours(hours) else DEFAULT_HOURS
    hour = low + number // 7 % max(1, high - low)
    match manifest.get("frequency"):
        case "hourly":
            return f"0 {minute} * * * *"
        case "daily":
            return f"0 {minute} {hour} * * *"
        case "monthly":
            return f"0 {minute} {hour} {day % 28 + 1} * *"
    return f"0 {minute} {hour} * * {day % 7}"


def _saves_files(manifest: Mapping[str, Any]) -> bool:
    """Whether a konnector has a folder of its own: its manifest names some, or asks for one."""
    if isinstance(manifest.get("folders"), list):
        return True
    fields = manifest.get("fields")
    advanced = fields.get("advanced_fields") if isinstance(fields, dict) else None
    return isinstance(advanced, dict) and advanced.get("folderPath") is not None


def _are_hours(given: Any) -> bool:
    return (
        isinstance(given, list) and len(given) == 2 and all(isinstance(one, int) and 0 <= one < 24 for one in given) and given[0] < given[1]
    )
