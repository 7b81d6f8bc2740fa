"""`Devices`: the OAuth clients that asked to be told, by Web Push (RFC 8030, docs/http/notifications.md).

FCM, APNs and Huawei's service need accounts that a server of one's own does not have: who subscribed there only is reached by mail.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cozyd import jsons
from cozyd.auth.clients import CLIENTS, Client
from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored, Write
from cozyd.errors import BadRequest, Conflict, CozyError, Gone, Invalid
from cozyd.webpush import LONGEST, Subscription, WebPush

log = logging.getLogger("cozyd.notifications")

WEBPUSH = "webpush"
MOST = 10
KEEPS_FOR = 3 * 86_400
"""How many devices are told, and for how many seconds a push service keeps a message for one that sleeps."""


@dataclass(frozen=True, slots=True)
class Device:
    """One that can be reached.

    :param flagship: it shows the notifications of all apps.
    """

    stored: Stored
    subscription: Subscription
    flagship: bool


class Devices:
    """One tenant's.

    :param clients: gives the OAuth clients.
    """

    def __init__(self, docs: Documents, clients: Callable[[], Sequence[Client]], webpush: WebPush) -> None:
        self._docs = docs
        self._clients = clients
        self._webpush = webpush

    @property
    def public_key(self) -> str:
        """What browsers want to know of a server that they let send: its VAPID key."""
        return self._webpush.keys.public

    def all(self) -> Sequence[Device]:
        """Those that can be reached, the newest first, each subscription once."""
        found: dict[str, Device] = {}
        for client in sorted(self._clients(), key=lambda one: one.id, reverse=True):
            doc = client.stored.doc
            if doc.get("notification_platform") != WEBPUSH or not doc.get("notification_device_token"):
                continue
            try:
                subscription = read_subscription(doc["notification_device_token"])
            except CozyError:
                continue
            found.setdefault(subscription.endpoint, Device(client.stored, subscription, doc.get("flagship") is True))
        return list(found.values())[:MOST]

    def push(self, payload: Mapping[str, Any], topic: str, prefix: str, *, is_urgent: bool) -> bool:
        """Tell the dedicated clients; where none is reached, those that show all apps'. Whether any was.

        :param topic: of two with the same one a device that sleeps gets the last.
        :param prefix: what a title begins with where all apps' are shown.
        """
        devices = self.all()
        told = sum(self._tell(one, payload, topic, is_urgent=is_urgent) for one in devices if not one.flagship)
        if told:
            return True
        marked = {**payload, "title": f"{prefix} - {payload['title']}"} if prefix else payload
        return sum(self._tell(one, marked, topic, is_urgent=is_urgent) for one in devices if one.flagship) > 0

    def _tell(self, device: Device, payload: Mapping[str, Any], topic: str, *, is_urgent: bool) -> bool:
        text = jsons.dump(dict(payload))
        if len(text) > LONGEST:
            text = jsons.dump({name: payload[name] for name in ("notId", "title")} | {"body": str(payload["body"])[:500]})
        urgency: Any = "high" if is_urgent else "normal"
        try:
            self._webpush.send(device.subscription, text, ttl=KEEPS_FOR, urgency=urgency, topic=topic, media="application/json")
        except Gone:
            self._forget(device.stored)
            return False
        except CozyError as error:
            log.warning("a device could not be told: %s", error)
            return False
        return True

    def _forget(self, client: Stored) -> None:
        """The subscription has ended; the client stays."""
        ref = Ref(CLIENTS, client.ref.id)
        try:
            self._docs.commit([Write(ref, patch={"notification_device_token": ...}, rev=client.rev)])
        except Conflict:
            log.info("the client %s was changed just now", client.ref.id)


def read_subscription(token: Any) -> Subscription:
    """A browser's subscription, as JSON text in `notification_device_token`.

    :raises Invalid: it is none.
    """
    try:
        given = jsons.load_object(token if isinstance(token, str) else "")
    except BadRequest as cause:
        raise Invalid("notification_device_token is no subscription") from cause
    keys = given.get("keys")
    keys = keys if isinstance(keys, dict) else {}
    return Subscription.read(given.get("endpoint"), keys.get("p256dh"), keys.get("auth"))
