"""WebDAV-Push: who has subscribed to an address book or calendar is told that it changed, and nobody else (docs/push.md)."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from cozyd import neighbours
from cozyd.config import Config, Outbound, Storage
from cozyd.pim.subscriptions import Touch
from cozyd.stack import Stack
from cozyd.webpush import Subscription
from dav import mounts
from tests.support.client import Answer, Client
from tests.support.oauth import with_token
from tests.support.pushservice import Message, PushService
from tests.support.serving import Served, eventually
from tests.support.stack import Clock, open_stack

HOME = "/sync/dav/me/"
P = "https://bitfire.at/webdav-push"
DOCS = "/data/io.cozy.calendar.events/_all_docs?include_docs=true"
_numbers = count()


@pytest.fixture(scope="module")
def service() -> Iterator[PushService]:
    with PushService() as running:
        yield running


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    allow = {"COZYD_OUTBOUND_ALLOW": "127.0.0.1", "COZYD_PUSH_CONTACT": "mailto:ops@example.org"}
    with Served(tmp_path_factory.mktemp("push") / "data", environ=allow).add_alice() as server:
        yield Client(server, host=f"localhost:{server.port}", scope=("io.cozy.calendar.events", "io.cozy.calendar.calendars"))


@pytest.fixture
def calendar(alice: Client) -> str:
    path = f"{HOME}cal{next(_numbers)}/"
    assert alice.dav("MKCALENDAR", path).status == 201
    return path


def properties(alice: Client, path: str) -> str:
    body = f'<propfind xmlns="DAV:" xmlns:P="{P}"><prop><P:transports/><P:topic/><P:supported-triggers/><sync-token/></prop></propfind>'
    return alice.dav("PROPFIND", path, body, Depth="0").body.decode()


def topic(alice: Client, path: str) -> str:
    found: list[str] = re.findall("<P:topic>([^<]+)</P:topic>", properties(alice, path))
    return found[0]


CONTENT = "<content-update><D:depth>1</D:depth></content-update>"
PROPERTY = "<property-update><D:depth>0</D:depth></property-update>"


def subscribe(alice: Client, path: str, service: PushService, name: str, trigger: str = CONTENT, more: str = "", **keys: str) -> Answer:
    given = {"push-resource": f"{service.origin}/{name}", "content-encoding": "aes128gcm", "auth-secret": service.device.secret} | {
        key.replace("_", "-"): value for key, value in keys.items()
    }
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in given.items())
    key = f'<subscription-public-key type="p256dh">{service.device.p256dh}</subscription-public-key>'
    subscription = f"<subscription><web-push-subscription>{inner}{key}</web-push-subscription></subscription>"
    body = f'<push-register xmlns="{P}" xmlns:D="DAV:">{subscription}<trigger>{trigger}</trigger>{more}</push-register>'
    return alice.dav("POST", path, body, Content_Type='application/xml; charset="utf-8"')


def event(uid: str, summary: str = "x") -> str:
    inner = f"UID:{uid}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T100000Z\r\nSUMMARY:{summary}\r\n"
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//EN\r\nBEGIN:VEVENT\r\n{inner}END:VEVENT\r\nEND:VCALENDAR\r\n"


def told(service: PushService, name: str) -> list[Message]:
    return [one for one in service.messages if one.path == f"/{name}"]


def test_what_can_be_subscribed_to_says_how(alice: Client, calendar: str):
    assert "webdav-push" in alice.ask("OPTIONS", calendar).headers["DAV"]
    found = properties(alice, calendar)
    key = re.search(r'<P:transports><P:web-push><P:vapid-public-key type="p256ecdsa">([\w-]{87})</P:vapid-public-key>', found)
    assert key
    assert "<P:content-update><D:depth>1</D:depth></P:content-update><P:property-update><D:depth>0</D:depth></P:property-update>" in found
    topics = [topic(alice, path) for path in (calendar, HOME, f"{HOME}contacts/", f"{HOME}calendar/")]
    assert len(set(topics)) == 4
    assert topics[0] == topic(alice, calendar)


def test_who_reads_nothing_at_home_is_not_told_of_it(alice: Client, service: PushService):
    stranger = with_token(alice.served, "", host=alice.host)
    stranger.password = alice.served.password("--files", domain=alice.domain)
    assert subscribe(stranger, HOME, service, "stranger").status == 403


def test_a_change_by_any_door_is_told_with_the_new_token(alice: Client, calendar: str, service: PushService):
    answer = subscribe(alice, calendar, service, "any")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Location"].startswith(f"http://localhost:{alice.served.port}/sync/dav/me/")
    alice.dav("PUT", f"{calendar}a.ics", event("a"))
    eventually(lambda: len(told(service, "any")) == 1)
    message = told(service, "any")[0]
    token = re.findall("<D:sync-token>([^<]+)</D:sync-token>", properties(alice, calendar))[0]
    assert f"<topic>{topic(alice, calendar)}</topic>" in message.text.decode()
    assert f"<content-update><D:sync-token>{token}</D:sync-token></content-update>" in message.text.decode()
    assert "property-update" not in message.text.decode()
    assert message.headers["content-type"] == 'application/xml; charset="UTF-8"'
    assert message.claims["sub"] == "mailto:ops@example.org"
    relation = {"calendar": {"data": {"_id": calendar.split("/")[-2], "_type": "io.cozy.calendar.calendars"}}}
    doc = {"label": "by an app", "start": "2026-01-02T10:00:00Z", "relationships": relation}
    assert alice.api("POST", "/data/io.cozy.calendar.events/", doc).status == 201
    eventually(lambda: len(told(service, "any")) == 2)


def test_many_changes_of_a_moment_are_one_message_and_other_collections_none(alice: Client, calendar: str, service: PushService):
    subscribe(alice, calendar, service, "many")
    subscribe(alice, f"{HOME}contacts/", service, "other")
    for number in range(10):
        alice.dav("PUT", f"{calendar}{number}.ics", event(str(number)))
    eventually(lambda: told(service, "many") != [])
    alice.dav("PUT", f"{calendar}last.ics", event("last"))
    eventually(lambda: len(told(service, "many")) == 2)
    assert told(service, "other") == []


def test_a_write_that_changes_no_text_is_not_told(alice: Client, calendar: str, service: PushService):
    alice.dav("PUT", f"{calendar}a.ics", event("a"))
    subscribe(alice, calendar, service, "still")
    doc = next(row["doc"] for row in alice.api("GET", DOCS).json["rows"] if calendar.split("/")[-2] in str(row["doc"]))
    assert alice.api("PUT", f"/data/io.cozy.calendar.events/{doc['_id']}", doc | {"note_of_an_app": 1}).status == 200
    subscribe(alice, f"{HOME}calendar/", service, "meanwhile")
    alice.dav("PUT", f"{HOME}calendar/{calendar.split('/')[-2]}.ics", event("later"))
    eventually(lambda: told(service, "meanwhile") != [])
    assert told(service, "still") == []


def test_properties_are_told_to_who_wants_them(alice: Client, calendar: str, service: PushService):
    subscribe(alice, calendar, service, "properties", PROPERTY)
    subscribe(alice, calendar, service, "both", CONTENT + PROPERTY)
    alice.dav("PUT", f"{calendar}a.ics", event("a"))
    change = '<propertyupdate xmlns="DAV:"><set><prop><displayname>New</displayname></prop></set></propertyupdate>'
    assert alice.dav("PROPPATCH", calendar, change).status == 207
    eventually(lambda: bool(told(service, "properties") and told(service, "both")))
    assert "content-update" not in told(service, "properties")[0].text.decode()
    assert all("<property-update/>" in told(service, name)[0].text.decode() for name in ("properties", "both"))


def test_who_made_a_change_need_not_be_told(alice: Client, calendar: str, service: PushService):
    mine = subscribe(alice, calendar, service, "mine").headers["Location"]
    subscribe(alice, calendar, service, "theirs")
    alice.dav("PUT", f"{calendar}a.ics", event("a"), Push_Dont_Notify=f'"https://elsewhere/x", "{mine}"')
    eventually(lambda: told(service, "theirs") != [])
    alice.dav("PUT", f"{calendar}b.ics", event("b"), Push_Dont_Notify="*")
    alice.dav("PUT", f"{calendar}c.ics", event("c"), Push_Dont_Notify=mine)  # not quoted: ignored
    eventually(lambda: told(service, "mine") != [])
    assert len(told(service, "mine")) == 1


def test_collections_that_come_and_go_are_told_at_the_home(alice: Client, service: PushService):
    subscribe(alice, HOME, service, "home")
    path = f"{HOME}cal{next(_numbers)}/"
    alice.dav("MKCALENDAR", path)
    eventually(lambda: len(told(service, "home")) == 1)
    assert f"<topic>{topic(alice, HOME)}</topic><content-update/>" in told(service, "home")[0].text.decode()
    subscribe(alice, path, service, "doomed", "<content-update><D:depth>0</D:depth></content-update>" + PROPERTY)
    subscribe(alice, path, service, "doomed-too")
    alice.dav("DELETE", path)
    eventually(lambda: len(told(service, "home")) == 2 and len(told(service, "doomed-too")) == 1)


def test_the_same_address_again_is_the_same_subscription(alice: Client, calendar: str, service: PushService):
    first = subscribe(alice, calendar, service, "again")
    again = subscribe(alice, calendar, service, "again", PROPERTY)
    assert first.headers["Location"] == again.headers["Location"]
    alice.dav("PUT", f"{calendar}a.ics", event("a"))
    change = '<propertyupdate xmlns="DAV:"><set><prop><displayname>N</displayname></prop></set></propertyupdate>'
    alice.dav("PROPPATCH", calendar, change)
    eventually(lambda: told(service, "again") != [])
    assert "content-update" not in told(service, "again")[0].text.decode()


def test_who_unsubscribes_is_told_nothing_more(alice: Client, calendar: str, service: PushService):
    path = subscribe(alice, calendar, service, "former").headers["Location"].partition(str(alice.served.port))[2]
    subscribe(alice, calendar, service, "present")
    assert alice.ask("DELETE", path).status == 401
    assert alice.dav("GET", path).status == 405
    assert alice.dav("DELETE", path).status == 204
    assert alice.dav("DELETE", path).status == 404
    alice.dav("PUT", f"{calendar}a.ics", event("a"))
    eventually(lambda: told(service, "present") != [])
    assert told(service, "former") == []


def test_a_subscription_that_its_service_has_forgotten_is_forgotten(alice: Client, calendar: str, service: PushService):
    path = subscribe(alice, calendar, service, "dead").headers["Location"].partition(str(alice.served.port))[2]
    service.status = 410
    try:
        alice.dav("PUT", f"{calendar}a.ics", event("a"))
        eventually(lambda: told(service, "dead") != [])
        eventually(lambda: alice.dav("DELETE", path).status == 404)
    finally:
        service.status = 201


@pytest.mark.parametrize(("asked", "given"), [(1, 3), (5, 5), (100, 7), (None, 7)])
def test_a_subscription_ends_after_three_to_seven_days(alice: Client, calendar: str, service: PushService, asked: int | None, given: int):
    now = datetime.now(UTC)
    more = f"<expires>{format_datetime(now + timedelta(days=asked), usegmt=True)}</expires>" if asked else ""
    ends = parsedate_to_datetime(subscribe(alice, calendar, service, "end", more=more).headers["Expires"])
    assert abs(ends - now - timedelta(days=given)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("invalid-subscription", {"push_resource": "no address"}),
        ("invalid-subscription", {"push_resource": ""}),
        ("invalid-subscription", {"auth_secret": "AAAA"}),
        ("invalid-subscription", {"content_encoding": "aesgcm"}),
        ("no-supported-trigger", {"trigger": ""}),
        ("no-supported-trigger", {"trigger": PROPERTY, "path": HOME}),
        ("push-not-available", {"path": "/sync/dav/"}),
    ],
)
def test_what_cannot_be_told_is_refused_by_its_name(alice: Client, calendar: str, service: PushService, name: str, change: dict[str, str]):
    answer = subscribe(alice, change.pop("path", calendar), service, "bad", **change)
    assert answer.status == 403
    assert f"<P:{name}/>" in answer.body.decode()
    assert f'xmlns:P="{P}"' in answer.body.decode()


def test_renewed_keys_are_told_to_who_has_subscribed_with_the_old_ones(alice: Client, calendar: str, service: PushService):
    def key() -> str:
        found: list[str] = re.findall(r">([\w-]{87})</P:vapid-public-key>", properties(alice, calendar))
        return found[0]

    subscribe(alice, calendar, service, "renewed", PROPERTY)
    before = key()
    assert "were told" in alice.served.cli("push", "renew-keys", "--force")
    assert key() != before
    [message] = told(service, "renewed")
    assert message.key == before  # what the subscription is bound to
    assert b"<property-update><D:prop><transports/></D:prop></property-update>" in message.text
    assert f"<topic>{topic(alice, calendar)}</topic>".encode() in message.text


def test_who_has_a_calendar_of_somebody_else_is_told_of_its_changes_until_it_is_taken_back(tmp_path: Path, service: PushService):
    config = Config(storage=Storage(path=tmp_path / "data"), outbound=Outbound(allow="127.0.0.1"))
    stack = Stack(config, {}, now=Clock())
    stack.drivers.pusher.concerned = partial(neighbours.concerned, stack.locate)
    try:
        ada, bob = stack.create("ada.localhost", passphrase=None), stack.create("bob.localhost", passphrase=None)
        calendar = ada.pim.make("calendar", {}, id="family")
        share = neighbours.share(ada, bob, calendar, read_only=True)
        receiver = Subscription.read(f"{service.origin}/shared", service.device.p256dh, service.device.secret)
        bob.subscriptions.register(neighbours.shared_id(share), receiver, content=True, properties=False, until=None)
        ada.pim.put(calendar, "a.ics", event("a").encode(), match=None)
        eventually(lambda: told(service, "shared") != [])
        [message] = told(service, "shared")
        assert f"<topic>{bob.subscriptions.topic(neighbours.shared_id(share))}</topic>".encode() in message.text
        assert f"/shared-{share}/{ada.pim.collection('family').token}<".encode() in message.text
        neighbours.revoke(stack.locate, ada, share)
        assert list(neighbours.concerned(stack.locate, "ada.localhost", [Touch("family", True, frozenset())])) == []
        assert list(neighbours.concerned(stack.locate, "still.being.made", [Touch("family", True, frozenset())])) == []
    finally:
        stack.close()


def test_a_server_without_keys_does_not_say_that_it_pushes(tmp_path: Path):
    stack = open_stack(tmp_path / "data", Clock())
    (tmp_path / "data" / "vapid.pem").write_text("no key")
    said: dict[str, str] = {}
    try:
        instance = stack.create("alice.example.org", passphrase="x")
        environ = {
            "REQUEST_METHOD": "OPTIONS",
            "PATH_INFO": "/me/",
            "SCRIPT_NAME": "/sync/dav",
            "wsgi.url_scheme": "http",
            "SERVER_PROTOCOL": "HTTP/1.1",
        }
        mounts()["/sync/dav"](environ | {"cozyd.instance": instance}, lambda _, headers: said.update(headers))
        assert "calendar-access" in said["DAV"]
        assert "webdav-push" not in said["DAV"]
    finally:
        stack.close()
