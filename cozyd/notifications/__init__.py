"""`Notifications`: short messages to the owner, from her apps and from the server (docs/http/notifications.md).

One is a document first, so that every open app hears of it; then a job takes it out of the house, by the first channel that works.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cozyd import jsons
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Key, Projection, Ref, Stored
from cozyd.errors import BadRequest, CozyError, Forbidden, JobFailed, NotFound, TriggerUnparsable
from cozyd.files.tree import read_time, write_time
from cozyd.jobs import Jobs
from cozyd.jobs.job import NEVER
from cozyd.jobs.schedule import schedule_of
from cozyd.jobs.triggers import NewTrigger
from cozyd.notifications.devices import Devices

log = logging.getLogger("cozyd.notifications")

NOTIFICATIONS = "io.cozy.notifications"
MUTED = Ref("io.cozy.settings", "io.cozy.settings.notifications")
"""What the owner does not want to be sent: `{"muted": ["cozy/app/bank/", ...]}`, beginnings of sources."""
BY_SOURCE = "notifications-by-source"
SETTINGS = "settings"
LONGEST_SUBJECT = 1000
FULL = 0.9
"""The part of the quota beyond which the owner is warned."""
_KEPT = ("category_id", "message", "priority", "sound", "state", "data", "content", "content_html")
_TEXTS = ("category_id", "message", "priority", "sound", "content", "content_html")
_QUOTA = {"stateful": True, "collapsible": True, "min_interval": 7 * 86_400 * 10**9}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends.

    :param originator: `app`, `konnector`, `oauth`, `cli` or `stack`.
    :param slug: of the app; empty for a client of none.
    :param categories: what it has declared: name -> properties.
    """

    originator: str
    slug: str
    categories: Mapping[str, Any]

    def source(self, category: str, category_id: str) -> str:
        """The id of what its notifications are about."""
        return f"cozy/{self.originator}/{self.slug}/{category}/{category_id}"


Mail = Mapping[str, Any]
"""The message of a `sendmail` job, or `{template_name, template_values}` of one of ours; empty: there is nothing to write."""


class Notifications:
    """One tenant's.

    :param alone: holds the tenant's notifications, so that two equal states are not both sent.
    :param mail: has a mail of ours written: template and values.
    :param usage: bytes used, and the quota.
    :param page: address of a page of the settings: `storage`, `connectedDevices`.
    :param offers: address where her host sells more; empty without.
    """

    def __init__(
        self,
        docs: Documents,
        jobs: Jobs,
        devices: Devices,
        *,
        alone: Callable[[], AbstractContextManager[Any]],
        mail: Callable[[str, Mapping[str, Any]], None],
        usage: Callable[[], tuple[int, int | None]],
        page: Callable[[str], str],
        offers: Callable[[], str],
        now: Callable[[], datetime],
    ) -> None:
        self._docs = docs
        self._jobs = jobs
        self.devices = devices
        self._alone = alone
        self._mail = mail
        self._usage = usage
        self._page = page
        self._offers = offers
        self._now = now

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, sender: Sender, wanted: Mapping[str, Any]) -> Stored:
        """Send one, or keep it alone, as its category says.

        :param wanted: what was asked for: docs/http/notifications.md.
        :returns: the stored document; one without id and revision when an equal state was sent before.
        :raises BadRequest: it has no title, or a member of another type.
        :raises Forbidden: its category was not declared.
        """
        self.check(wanted)
        category = self._category(sender, wanted)
        mail = {"mode": "noreply", "subject": _subject(wanted), "parts": _parts(wanted)}
        return self._send(sender, category, wanted, mail if mail["parts"] else {})

    def check(self, wanted: Mapping[str, Any]) -> None:
        """Whether it can be one, whoever sends it.

        :raises BadRequest: it has no title, or a member of another type.
        """
        _check(wanted, self._now())

    @staticmethod
    def _category(sender: Sender, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        if not sender.categories:
            raise Forbidden("No category for this app")
        category = sender.categories.get(wanted.get("category", ""))
        if not isinstance(category, dict):
            raise Forbidden("Notification category does not exist")
        return category

    def _send(self, sender: Sender, category: Mapping[str, Any], wanted: Mapping[str, Any], mail: Mail) -> Stored:
        source = sender.source(str(wanted["category"]), str(wanted.get("category_id") or ""))
        with self._alone():
            last = self._last(source)
            if category.get("stateful") is True and last is not None and _equal(last.doc.get("state"), wanted.get("state")):
                return _unsent(sender, wanted)
            due = self._is_due(category, wanted, last, source)
            sent_at = write_time(self._now()) if due else str(last.doc.get("last_sent", NEVER)) if last is not None else NEVER
            stored = self._docs.put(NOTIFICATIONS, self._body(sender, wanted, source, sent_at))
        if due:
            self._deliver(stored, category, wanted, mail)
        return stored

    def _last(self, source: str) -> Stored | None:
        rows = self._docs.rows(BY_SOURCE, (source,), limit=1, descending=True)
        return self._docs.get_many(NOTIFICATIONS, [rows[0].ref.id])[0] if rows else None

    def _is_due(self, category: Mapping[str, Any], wanted: Mapping[str, Any], last: Stored | None, source: str) -> bool:
        """Whether it leaves the house; a state that is false only ends the one before."""
        if (category.get("stateful") is True and wanted.get("state") is False) or self._is_muted(source):
            return False
        apart = category.get("min_interval")
        if last is None or not isinstance(apart, int | float):
            return True
        return (self._now() - read_time(str(last.doc.get("last_sent")))).total_seconds() >= apart / 1e9

    def _is_muted(self, source: str) -> bool:
        try:
            muted = self._docs.get(MUTED).doc.get("muted")
        except NotFound:
            return False
        return isinstance(muted, list) and any(isinstance(one, str) and one and source.startswith(one) for one in muted)

    def _body(self, sender: Sender, wanted: Mapping[str, Any], source: str, sent_at: str) -> Doc:
        head: Doc = {"source_id": source, "originator": sender.originator}
        if sender.slug:
            head["slug"] = sender.slug
        return head | _own_members(wanted) | {"created_at": write_time(self._now()), "last_sent": sent_at}

    # -- channels ---------------------------------------------------------------------------------------------------

    def _deliver(self, stored: Stored, category: Mapping[str, Any], wanted: Mapping[str, Any], mail: Mail) -> None:
        """By the first channel that takes it; mail is the last.

        :raises CozyError: none does.
        """
        reasons = []
        for channel in dict.fromkeys([*(wanted.get("preferred_channels") or ()), "mail"]):
            try:
                return self._by(channel, stored, category, wanted, mail)
            except CozyError as error:
                reasons.append(f"{channel}: {error.detail}")
        raise CozyError(f"The notification could not be sent ({'; '.join(reasons)})")

    def _by(self, channel: str, stored: Stored, category: Mapping[str, Any], wanted: Mapping[str, Any], mail: Mail) -> None:
        if channel == "mobile":
            if not self.devices.all():
                raise NotFound("no device is subscribed")
            self._later("push", self._push_message(stored, category, mail), wanted)
        elif channel != "mail":
            raise BadRequest(f"the channel {channel[:20]!r} cannot be had here")
        elif "template_name" in mail:
            self._mail(mail["template_name"], mail["template_values"])
        elif mail:
            self._later("sendmail", mail, wanted)

    def _later(self, worker: str, message: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """Push a job now, or at the moment that was asked for."""
        if wanted.get("at"):
            self._jobs.triggers.create(NewTrigger("@at", wanted["at"], worker, message))
        else:
            self._jobs.push(worker, message)

    def _push_message(self, stored: Stored, category: Mapping[str, Any], mail: Mail) -> Doc:
        doc = stored.doc
        members = ("title", "message", "priority", "sound", "data")
        return {
            "notification_id": stored.ref.id,
            "source": doc["source_id"],
            "slug": doc.get("slug", ""),
            **{name: doc[name] for name in members if name in doc},
            "collapsible": category.get("collapsible") is True,
            "mail_fallback": dict(mail),
        }

    def push(self, message: Mapping[str, Any]) -> None:
        """What worker `push` does: to the subscribed devices; where none could be reached, by mail.

        :raises JobFailed: nobody could be reached, and there is nothing to write.
        """
        title, collapsible = str(message.get("title", "")), message.get("collapsible") is True
        topic = hashlib.md5(
            str(message.get("source")).encode() + (b"" if collapsible else str(message.get("notification_id")).encode()),
            usedforsecurity=False,
        ).hexdigest()
        data = message.get("data") if isinstance(message.get("data"), dict) else {}
        payload = {"notId": int(topic[:8], 16) & 0x7FFFFFFF, "title": title, "body": str(message.get("message") or ""), **(data or {})}
        prefix = str((data or {}).get("appName") or message.get("slug") or "")
        if self.devices.push(payload, topic, prefix, is_urgent=message.get("priority") == "high"):
            return
        mail = message.get("mail_fallback")
        if not isinstance(mail, dict) or not mail:
            raise JobFailed("No device could be reached", again=False)
        if "template_name" in mail:
            self._mail(mail["template_name"], mail.get("template_values") or {})
        else:
            self._jobs.push("sendmail", mail)

    # -- the server's own -------------------------------------------------------------------------------------------

    def tell(
        self, slug: str, category: Mapping[str, Any], wanted: Mapping[str, Any], mail: Mail | None = None, *, originator: str = "stack"
    ) -> Stored:
        """Send one in the server's name, as `send`.

        :param slug: of the app it has to do with.
        :param category: the properties of its category.
        :param mail: what is written, when it is a letter of ours.
        :param originator: `cli` when the operator wrote it.
        """
        self.check(wanted)
        sender = Sender(originator, slug, {str(wanted.get("category", "")): category})
        own = {"mode": "noreply", "subject": _subject(wanted), "parts": _parts(wanted)} if mail is None else mail
        return self._send(sender, category, {"category": "", **wanted}, own if own.get("parts", True) else {})

    def look_at_quota(self) -> None:
        """Warn when more than 90 % of the quota is used; again when it was less meanwhile, and a week has passed."""
        used, quota = self._usage()
        if quota is None:
            return
        full = used > quota * FULL
        last = self._last(Sender("stack", SETTINGS, {}).source("disk-quota", ""))
        if (last.doc.get("state") is True if last is not None else False) == full:
            return
        page = self._page("storage")
        wanted = {
            "category": "disk-quota",
            "title": "Your cloud is almost full",
            "message": "More than 90 % of your space is used.",
            "state": full,
            "data": {"appName": "", "redirectLink": "settings/#/storage", "CozyDriveLink": page},
            "preferred_channels": ["mobile"],
        }
        self._warn(_QUOTA, wanted, "notifications_diskquota", drive_link=page)

    def tell_of_clients(self, client: str, limit: int) -> None:
        """More clients are connected than may be.

        :param client: the name of the one that was let in last.
        """
        page = self._page("connectedDevices")
        wanted = {
            "category": "oauth-clients",
            "title": "Too many connected devices",
            "message": f"With {client} more than {limit} devices are connected.",
            "data": {"ClientName": client, "ClientsLimit": limit, "DevicesLink": page},
        }
        self._warn({}, wanted, "notifications_oauthclients", client=client, limit=str(limit), devices_link=page)

    def _warn(self, category: Mapping[str, Any], wanted: Doc, template: str, **values: str) -> None:
        """What no channel takes is kept all the same, and holds up nobody.

        :param template: one of the letters of `cozyd.mails`, with its values.
        """
        offers = self._offers()
        if offers:
            wanted["data"]["OffersLink"] = values["offers_link"] = offers
        try:
            self.tell(SETTINGS, category, wanted, {"template_name": template, "template_values": values})
        except CozyError as error:
            log.warning("she was not told of %s: %s", wanted["category"], error)


def _check(wanted: Mapping[str, Any], now: datetime) -> None:
    """:raises BadRequest: it cannot be one."""
    title, channels, at, data = (wanted.get(name) for name in ("title", "preferred_channels", "at", "data"))
    if not isinstance(title, str) or not title.strip():
        raise BadRequest("Notification is not valid")
    if not isinstance(wanted.get("category", ""), str):
        raise BadRequest("category is a text")
    for name in _TEXTS:
        if wanted.get(name) is not None and not isinstance(wanted[name], str):
            raise BadRequest(f"{name} is a text")
    if channels is not None and not (isinstance(channels, list) and all(isinstance(one, str) for one in channels)):
        raise BadRequest("preferred_channels is a list of texts")
    if data is not None and not isinstance(data, dict):
        raise BadRequest("data is an object")
    try:
        if at:
            schedule_of("@at", str(at), since=now, seed="")
    except TriggerUnparsable as cause:
        raise BadRequest("at is no moment of RFC 3339") from cause


def _own_members(wanted: Mapping[str, Any]) -> Doc:
    """What its sender says of it."""
    named: Doc = {"category": wanted["category"], "title": wanted["title"]}
    return named | {name: wanted[name] for name in _KEPT if wanted.get(name) not in (None, "")}


def _unsent(sender: Sender, wanted: Mapping[str, Any]) -> Stored:
    """One that was not stored."""
    body = {"source_id": "", "originator": sender.originator, "slug": sender.slug, **_own_members(wanted)}
    return Stored(Ref(NOTIFICATIONS, ""), "", jsons.dump(body | {"created_at": NEVER, "last_sent": NEVER}))


def _parts(wanted: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """The mail's parts: plain text first, as the last one is what readers prefer."""
    kinds = {"text/plain": wanted.get("content"), "text/html": wanted.get("content_html")}
    return [{"type": kind, "body": str(body)} for kind, body in kinds.items() if body]


def _subject(wanted: Mapping[str, Any]) -> str:
    """Its title as a mail has it: one line, at most a thousand letters of it, none of them an encoded word (RFC 2047)."""
    return " ".join(str(wanted["title"]).split())[:LONGEST_SUBJECT].replace("=?", "= ?")


def _equal(left: Any, right: Any) -> bool:
    return jsons.canonical(left) == jsons.canonical(right)


def _by_source(stored: Stored) -> Iterator[tuple[Key, Any]]:
    doc = stored.doc
    if doc.get("source_id"):
        yield (doc["source_id"], doc.get("created_at")), None


PROJECTIONS = (
    Projection(
        BY_SOURCE,
        of={NOTIFICATIONS: _by_source},
        reads=frozenset(("source_id", "created_at")),
        depth=0,
        view="function (doc) { if (doc.source_id) { emit([doc.source_id, doc.created_at]) } }",
    ),
)
