"""`/intents`: what an app asks other apps to do (docs/http/intents.md)."""

from collections.abc import Mapping
from typing import Any

from flask import Response

from blueprints import _jsonapi
from blueprints._request import Service, asks, body, instance, principal, refusing
from cozyd.apps.intents import INTENTS
from cozyd.documents.store import Stored
from cozyd.errors import Forbidden

service = Service("intents", __name__, url_prefix="/intents")


@service.post("", access=refusing(asks("POST")))
def create() -> Response:
    """A new intent, with the apps that serve it."""
    client = _app()
    given, _ = _jsonapi.attributes_of(body())
    permissions = given.get("permissions") or ()
    wanted = [verb for verb in permissions if isinstance(verb, str)] if isinstance(permissions, list) else ()
    made = instance().apps.intents.create(client, _text(given, "action"), _text(given, "type"), wanted)
    return _jsonapi.answer(_resource(made))


@service.get("/<id>", access=refusing(asks("GET")))
def show(id: str) -> Response:
    """An intent, for an app that serves it."""
    return _jsonapi.answer(_resource(instance().apps.intents.get(id, _app())))


def _app() -> str:
    """The slug of the app that asks, or that the client which asks is linked to.

    :raises Forbidden: it is no app.
    """
    who = principal()
    slug = who.id if who.kind == "app" else instance().auth.clients.get(who.id).linked_app if who.kind == "client" else ""
    if not slug:
        raise Forbidden
    return slug


def _text(given: Mapping[str, Any], name: str) -> str:
    found = given.get(name)
    return found if isinstance(found, str) else ""


def _resource(found: Stored) -> _jsonapi.Resource:
    shown = {name: value for name, value in found.doc.items() if name not in ("_id", "_rev")}
    slug = str(shown["client"]).rpartition("/")[2]
    shown["client"] = instance().client_origin(slug)
    links = {"self": f"/intents/{found.ref.id}"}
    rights = instance().auth.sets.of_app("app", slug)
    if rights is not None:
        links["permissions"] = f"/permissions/{rights.ref.id}"
    return _jsonapi.resource(INTENTS, found.ref.id, shown, rev=found.rev, links=links)
