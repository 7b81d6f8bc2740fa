"""`/settings/sessions` and `DELETE /auth/login/others`: where the owner is logged in (docs/http/auth.md)."""

from flask import Response, request

from blueprints import _jsonapi
from blueprints._answers import echo_origin, preflight, private
from blueprints._documents import answer
from blueprints._request import SESSION_COOKIE, Service, credentials, instance, principal, public, rule
from cozyd.auth import SESSIONS
from cozyd.documents.store import Stored
from cozyd.errors import CozyError, NotFound, Unauthorized

service = Service("sessions", __name__)


@service.get("/settings/sessions", access=rule("GET", SESSIONS))
def list_sessions() -> Response:
    """The sessions that go on."""
    found = [_resource(stored) for stored in instance().auth.sessions.all()]
    return private(_jsonapi.answer(found, meta={"count": len(found)}))


@service.get("/settings/sessions/current", access=public)
def current_session() -> Response:
    """The session of the cookie."""
    try:
        found = instance().auth.sessions.get(request.cookies.get(SESSION_COOKIE, ""))
    except Unauthorized:
        raise NotFound("There is no session") from None
    return private(_jsonapi.answer(_resource(found)))


@service.delete("/settings/sessions/<id>", access=rule("DELETE", SESSIONS))
def end_session(id: str) -> Response:
    """End one session; its cookie and the tokens of its apps are nobody from the next request on."""
    auth = instance().auth
    auth.sessions.remove(id)
    auth.trail.note("session_ended", credentials())
    return Response(status=204)


@service.route("/auth/login/others", methods=["DELETE"], access=public)
def end_others() -> Response:
    """End every session but the one of the cookie: for a web app, as it is with `DELETE /auth/login`."""
    auth, seen = instance().auth, credentials()
    try:
        if principal().kind != "app":
            raise Unauthorized
        auth.sessions.end_others(seen.session or "x")
    except CozyError:
        return echo_origin(answer({"error": "Not authorized"}, 401))
    auth.trail.note("sessions_ended", seen)
    return echo_origin(Response(status=204))


@service.route("/auth/login/others", methods=["OPTIONS"], access=public)
def others_preflight() -> Response:
    """Apps live on hosts of their own."""
    return preflight("DELETE")


def _resource(stored: Stored) -> _jsonapi.Resource:
    return _jsonapi.resource(SESSIONS, stored.ref.id, stored.doc | {"_id": stored.ref.id, "_rev": stored.rev}, rev=stored.rev)
