"""`/errors`: what goes wrong in apps, reported as to Airbrake (docs/http/errors-of-apps.md)."""

from typing import Any

from flask import Response, request

from blueprints._admin import stack
from blueprints._request import Service, body_bytes, by_secret, instance, number, owner, principal, public
from cozyd import jsons
from cozyd.apps.notices import LARGEST, checked, slug_of
from cozyd.errors import CozyError, TooLarge, TooManyRequests, Unauthorized

service = Service("app_errors", __name__, url_prefix="/errors", errors="page")

A_MINUTE, WINDOW = 60, 60


@service.post("/api/v3/projects/<project>/notices", access=by_secret)
def report(project: str) -> Response:  # noqa: ARG001  # any number: the key says which app it is
    """Keep a notice."""
    try:
        slug = _reporter()
        if stack().drivers.cache.hit(f"notices/{instance().prefix}/{slug}", WINDOW) > A_MINUTE:
            raise TooManyRequests("Too many notices, try again in a minute", retry_after=WINDOW)
        data = body_bytes()
        if len(data) > LARGEST:
            raise TooLarge(f"A notice has at most {LARGEST} bytes")
        now = stack().now().isoformat().replace("+00:00", "Z")
        id = stack().apps.notices.add(instance().prefix, slug, checked(data), now)
    except CozyError as error:
        return _refused(error)
    return _json({"id": id, "url": instance().url(f"/errors/notices/{id}")}, 201)


@service.get("/<version>/config/<id>/config.json", access=public)
def remote_config(version: str, id: str) -> Response:  # noqa: ARG001
    """What notifiers ask for now and then: there is nothing to change."""
    return _json({"project_id": 1, "updated_at": 0, "poll_sec": 600, "config_route": "", "settings": []})


@service.get("/notices", access=owner)
def notices() -> Response:
    """Her apps' notices, the newest first."""
    found = stack().apps.notices.list(instance().prefix, limit=number("limit", 100, low=1, high=1000) or 100)
    return _json({"notices": [_shown(notice) for notice in found]})


@service.get("/notices/<id>", access=owner)
def notice(id: str) -> Response:
    """One notice."""
    return _json(_shown(stack().apps.notices.get(instance().prefix, id)))


# -- inside -------------------------------------------------------------------------------------------------------------


def _reporter() -> str:
    """The app that reports, by its key or its token.

    :raises Unauthorized: neither is good.
    """
    given = request.args.get("key") or request.headers.get("Authorization", "").partition(" ")[2].strip()
    slug = slug_of(str(instance().doc["oauth_secret"]), given) if given else None
    if slug is not None:
        return slug
    try:
        who = principal()
    except CozyError:
        raise Unauthorized("The project key is not valid") from None
    if who.kind not in ("app", "konnector"):
        raise Unauthorized("The project key is not valid")
    return who.id


def _refused(error: CozyError) -> Response:
    """As notifiers read it: the sentence, and how long they have to wait."""
    answer = _json({"message": error.detail}, error.status)
    if error.retry_after is not None:
        answer.headers["X-RateLimit-Delay"] = str(error.retry_after)
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def _shown(notice: Any) -> dict[str, Any]:
    return {name: value for name, value in notice.items() if name != "tenant"}


def _json(found: Any, status: int = 200) -> Response:
    return Response(jsons.dump(found), status, content_type="application/json")
