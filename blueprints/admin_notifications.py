"""The operator's notifications to an owner (docs/http/instances.md)."""

from flask import Response

from blueprints._admin import stack
from blueprints._documents import answer
from blueprints._request import Service, body, public
from cozyd.errors import BadRequest

service = Service("admin_notifications", __name__, url_prefix="/instances/<domain>")


@service.post("/notifications", access=public)
def notify(domain: str) -> Response:
    """Send one in the server's name: `{"properties": {...}, "notification": {...}}`."""
    given = body()
    properties, wanted = given.get("properties") or {}, given.get("notification")
    if not isinstance(wanted, dict) or not isinstance(properties, dict):
        raise BadRequest("The body must have a notification, and the properties of its category")
    slug = wanted.get("slug")
    if slug is not None and not isinstance(slug, str):
        raise BadRequest("slug is a text")
    return answer(stack().instance(domain).notifications.tell(slug or "", properties, wanted, originator="cli").doc, 201)
