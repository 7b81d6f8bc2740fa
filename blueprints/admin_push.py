"""The operator's keys for push messages: made anew, and everybody who is told of changes hears of it (docs/push.md)."""

from flask import Response

from blueprints._admin import stack
from blueprints._request import Service, public
from cozyd import jsons

service = Service("admin_push", __name__, url_prefix="/push")


@service.post("/keys", access=public)
def renew_keys() -> Response:
    """Have new keys; subscribers are told, by a message signed with the old ones, to subscribe again."""
    former = stack().drivers.vapid.renew()
    told = missed = 0
    for instance in stack().instances():
        heard, not_heard = instance.subscriptions.announce_keys(former)
        told, missed = told + heard, missed + not_heard
    return Response(jsons.dump({"told": told, "missed": missed}), content_type="application/json")
