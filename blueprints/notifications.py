"""`/notifications`: short messages to the owner (docs/http/notifications.md)."""

from collections.abc import Mapping
from typing import Any, Literal

from flask import Response

from blueprints import _jsonapi
from blueprints._documents import answer
from blueprints._jobs import attributes
from blueprints._request import Service, instance, known, principal
from cozyd.errors import Forbidden, NotFound
from cozyd.notifications import NOTIFICATIONS, Sender

service = Service("notifications", __name__, url_prefix="/notifications")


@service.post("", access=known)
def send() -> Response:
    """Send a notification: apps, konnectors and clients may, in the categories that they declared."""
    given = attributes()
    instance().notifications.check(given)
    stored = instance().notifications.send(_sender(), given)
    links = {"self": f"/notifications/{stored.ref.id}"}
    return _jsonapi.answer(_jsonapi.resource(NOTIFICATIONS, stored.ref.id, stored.doc, rev=stored.rev, links=links), status=201)


@service.get("/key", access=known)
def show_key() -> Response:
    """The key of the server that browsers want for a subscription."""
    return answer({"public_key": instance().notifications.devices.public_key})


def _sender() -> Sender:
    """Who asks, and what it declared.

    :raises Forbidden: it is none who may send.
    :raises NotFound: its app is not installed.
    """
    asking = principal()
    if asking.kind == "app":
        return Sender("app", asking.id, _declared("webapp", asking.id))
    if asking.kind == "konnector":
        return Sender("konnector", asking.id, _declared("konnector", asking.id))
    if asking.kind != "client":
        raise Forbidden("Not authorized to send notification")
    client = instance().auth.clients.get(asking.id)
    if client.linked_app:
        return Sender("oauth", client.linked_app, _declared("webapp", client.linked_app))
    return Sender("oauth", "", _categories(client.stored.doc))


def _declared(kind: Literal["webapp", "konnector"], slug: str) -> Mapping[str, Any]:
    try:
        return _categories(instance().apps.get(kind, slug).doc)
    except NotFound:
        raise NotFound("Application is not installed", error="Not Found") from None


def _categories(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    found = doc.get("notifications")
    return found if isinstance(found, dict) else {}
