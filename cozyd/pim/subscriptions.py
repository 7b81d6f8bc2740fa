"""Subscriptions of WebDAV-Push: who wants to hear of which address book or calendar, and how they are told (docs/push.md).

A subscription is a document of its own; apps see none. A message says which collection, and its new token: never what is in it.
"""

import contextlib
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from cozyd.documents import Documents
from cozyd.documents.store import Change, Ref, Stored, Write
from cozyd.errors import BadGateway, Conflict, Forbidden, Gone, NotFound, TooLarge, Unavailable
from cozyd.pim import Pim, birthdays
from cozyd.pim.collections import DOCTYPE, sync_token
from cozyd.pim.record import CONTACTS, KIND_OF
from cozyd.pim.rows import collection_of
from cozyd.pim.times import from_json, utc_text
from cozyd.webpush import Subscription, WebPush

if TYPE_CHECKING:
    from cozyd.webpush import KeyPair

log = logging.getLogger("cozyd.pim")

SUBSCRIPTIONS = "io.cozy.dav.subscriptions"
NAMESPACE = "https://bitfire.at/webdav-push"
HOME = ""
"""In place of a collection: what collections there are."""
SHORTEST, LONGEST = timedelta(days=3), timedelta(days=7)
MOST = 200
MESSAGE_LIFE = 24 * 3600
EVERYONE = "*"

quiet: ContextVar[frozenset[str]] = ContextVar("quiet", default=frozenset())
"""Ids of the subscriptions that the present request's changes are not told to, or `EVERYONE` (Push-Dont-Notify)."""


@dataclass(frozen=True, slots=True)
class Touch:
    """A collection has changed.

    :param content: what is in it; else its properties.
    :param quiet: who is not told.
    :param token: its new token, where the collection is somebody else's.
    """

    collection: str
    content: bool
    quiet: frozenset[str]
    token: str = ""

    def concerns(self, id: str) -> bool:
        """Whether a subscription may be told."""
        return EVERYONE not in self.quiet and id not in self.quiet


@dataclass(frozen=True, slots=True)
class Watch:
    """One subscription.

    :param collection: an id, or `HOME`.
    :param content: it wants to hear of what is in the collection.
    :param properties: it wants to hear of the collection's properties.
    """

    id: str
    collection: str
    receiver: Subscription
    content: bool
    properties: bool
    expires: datetime


def touches(changes: Iterable[Change]) -> list[Touch]:
    """The collections that a commit has changed."""
    found: dict[tuple[str, bool], None] = {}
    for change in changes:
        doctype = change.new.ref.doctype
        if doctype in KIND_OF:
            for one in (change.old, change.new):
                if one is not None:
                    found[collection_of(one), True] = None
            if doctype == CONTACTS:
                found[birthdays.ID, True] = None
        elif doctype == "io.cozy.sharings":  # somebody shares a collection with her, or does no more
            found[HOME, True] = None
        elif doctype in DOCTYPE.values():
            found |= dict.fromkeys(_of_collection(change))
    skipped = quiet.get()
    return [Touch(collection, content, skipped) for collection, content in found]


def _of_collection(change: Change) -> list[tuple[str, bool]]:
    id = change.new.ref.id
    if change.verb == "DELETED" or change.new.deleted:
        return [(HOME, True), (id, True)]
    return [(HOME, True)] if change.verb == "CREATED" else [(id, False)]


class Subscriptions:
    """One tenant's subscriptions.

    :param secret: what topics and names are made from, so that nobody guesses them.
    :param domain: of the tenant.
    """

    def __init__(
        self,
        docs: Documents,
        pim: Pim,
        webpush: WebPush,
        secret: Callable[[], bytes],
        now: Callable[[], datetime],
        domain: Callable[[], str],
    ) -> None:
        self.domain = domain
        self._docs = docs
        self._pim = pim
        self._webpush = webpush
        self._secret = secret
        self._now = now
        self._told: dict[str, str] = {}

    @property
    def public_key(self) -> str | None:
        """The key that clients are told; None: there are no keys, and no messages."""
        return self._webpush.keys.public if self._webpush.keys.are_there() else None

    def topic(self, collection: str) -> str:
        """What messages call a collection: always the same, and nobody's guess."""
        return self._name("topic", collection)[:24]

    def register(
        self, collection: str, receiver: Subscription, *, content: bool, properties: bool, until: datetime | None
    ) -> tuple[str, datetime]:
        """Tell somebody from now on; the same address again changes what it is told.

        :param until: when it wants to end; three to seven days are given.
        :returns: the subscription's id, and when it ends.
        :raises Forbidden: there are very many already.
        """
        now = self._now()
        expires = min(max(until or now + LONGEST, now + SHORTEST), now + LONGEST).replace(microsecond=0)
        ref = Ref(SUBSCRIPTIONS, self._name("subscription", collection, receiver.endpoint)[:32])
        body = {
            "collection": collection,
            "endpoint": receiver.endpoint,
            "content": content,
            "properties": properties,
            "expires_at": utc_text(expires),
        }
        keys = {"p256dh": receiver.p256dh.hex(), "auth": receiver.auth.hex()}

        def write() -> None:
            known = self._docs.get_many(ref.doctype, [ref.id])[0]
            if known is None and len(self.live()) >= MOST:
                raise Forbidden("There are too many subscriptions", source="push-not-available")
            self._docs.commit([Write(ref, body=body, rev=known.rev if known is not None else None, private=keys)])

        self._docs.retry(write)
        self._told[ref.id] = self._token(collection)
        return ref.id, expires

    def remove(self, id: str) -> None:
        """Tell somebody nothing any more.

        :raises NotFound: there is no such subscription.
        """
        stored = self._docs.get_many(SUBSCRIPTIONS, [id])[0]
        if stored is None or _watch(stored).expires <= self._now():
            raise NotFound("There is no such subscription")
        self._docs.delete(stored.ref, stored.rev)

    def live(self) -> Sequence[Watch]:
        """Those that have not ended; those that have are removed."""
        try:
            page = self._docs.all(SUBSCRIPTIONS)
        except NotFound:
            return ()
        now = self._now()
        over = [one for one in page.rows if _watch(one).expires <= now]
        if over:
            self._docs.commit_each([Write(one.ref, rev=one.rev, deleted=True) for one in over])
        return [watch for one in page.rows if (watch := _watch(one)).expires > now]

    def tell(self, touched: Sequence[Touch], *, only: str | None = None) -> list[tuple[str, int | None]]:
        """Tell whoever wants to hear of these changes.

        :param only: this subscription, and nobody else.
        :returns: ids of those that could not be told now, with the seconds after which it makes sense.
        """
        later: list[tuple[str, int | None]] = []
        for watch in self.live():
            mine = [one for one in touched if one.collection == watch.collection and one.concerns(watch.id)]
            content = watch.content and any(one.content for one in mine)
            properties = watch.properties and any(not one.content for one in mine)
            if not (content or properties) or only not in (None, watch.id):
                continue
            given = next((one.token for one in mine if one.token), "")
            token = (given or self._token(watch.collection)) if content else ""
            if content and not properties and token and self._told.get(watch.id) == token:
                continue  # it was written, and nothing of its text changed
            try:
                self._send(watch, self._message(watch.collection, token, content=content, properties=properties))
                self._told[watch.id] = token or self._told.get(watch.id, "")
            except Unavailable as error:
                later.append((watch.id, error.retry_after))
        return later

    def announce_keys(self, former: "KeyPair") -> tuple[int, int]:
        """Tell everybody that the server's keys are others now: they subscribe again then.

        :param former: the keys that the subscriptions are bound to.
        :returns: how many were told, and how many could not be.
        """
        told = missed = 0
        for watch in self.live():
            inner = "<property-update><D:prop><transports/></D:prop></property-update>"
            try:
                self._send(watch, self._push_message(watch.collection, inner), former)
                told += 1
            except Unavailable:
                missed += 1
        return told, missed

    def _send(self, watch: Watch, message: bytes, keys: "KeyPair | None" = None) -> None:
        media = 'application/xml; charset="UTF-8"'
        topic = self.topic(watch.collection)
        try:
            self._webpush.send(watch.receiver, message, ttl=MESSAGE_LIFE, topic=topic, media=media, keys=keys)
        except Gone:
            with contextlib.suppress(NotFound, Conflict):
                self.remove(watch.id)
        except (BadGateway, TooLarge) as error:
            log.warning("a push service refuses a message: %s", error.detail)

    def _token(self, collection: str) -> str:
        """The token of what is in a collection; empty of the home, and of one that was removed."""
        try:
            return sync_token(self._pim.collection(collection)) if collection != HOME else ""
        except NotFound:
            return ""

    def _message(self, collection: str, token: str, *, content: bool, properties: bool) -> bytes:
        inner = ""
        if content:
            inner += f"<content-update><D:sync-token>{escape(token)}</D:sync-token></content-update>" if token else "<content-update/>"
        return self._push_message(collection, inner + ("<property-update/>" if properties else ""))

    def _push_message(self, collection: str, inner: str) -> bytes:
        inner = f"<topic>{self.topic(collection)}</topic>{inner}"
        text = f'<?xml version="1.0" encoding="utf-8"?>\n<push-message xmlns="{NAMESPACE}" xmlns:D="DAV:">{inner}</push-message>'
        return text.encode()

    def _name(self, *parts: str) -> str:
        return hmac.new(self._secret(), "\0".join(("webdav-push", *parts)).encode(), hashlib.sha256).hexdigest()


def _watch(stored: Stored) -> Watch:
    doc: Mapping[str, object] = stored.doc
    keys = stored.private
    receiver = Subscription(str(doc["endpoint"]), bytes.fromhex(keys["p256dh"]), bytes.fromhex(keys["auth"]))
    ends = from_json(str(doc["expires_at"]), "")
    assert ends is not None
    return Watch(stored.ref.id, str(doc["collection"]), receiver, doc["content"] is True, doc["properties"] is True, ends.moment())
