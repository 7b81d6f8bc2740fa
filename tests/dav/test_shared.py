"""A calendar or address book shared with somebody else of the same server: what she sees, may, and sees no more; and nothing else ever."""

import re
from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.client import Answer, Client
from tests.support.serving import Served
from tests.support.visitor import Visitor

HOME = "/sync/dav/me/"
EVENTS = ("io.cozy.calendar.events", "io.cozy.calendar.calendars")
_numbers = count()


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}", scope=EVENTS)


@pytest.fixture(scope="module")
def bob(served: Served) -> Client:
    return Client(served, domain=f"bob.localhost:{served.port}", host=f"127.0.0.1:{served.port}", scope=EVENTS)


@pytest.fixture(scope="module")
def owner(served: Served) -> Visitor:
    return Visitor(served).log_in()


@pytest.fixture
def calendar(alice: Client) -> Iterator[str]:
    id = f"share{next(_numbers)}"
    named = f"<D:set><D:prop><D:displayname>{id}</D:displayname></D:prop></D:set>"
    body = f'<mkcalendar xmlns="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:">{named}</mkcalendar>'
    assert alice.dav("MKCALENDAR", f"{HOME}{id}/", body).status == 201
    assert alice.dav("PUT", f"{HOME}{id}/a.ics", event("a")).status == 201
    yield id
    alice.dav("DELETE", f"{HOME}{id}/")


def event(uid: str, summary: str = "x") -> str:
    inner = f"UID:{uid}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T100000Z\r\nSUMMARY:{summary}\r\n"
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//EN\r\nBEGIN:VEVENT\r\n{inner}END:VEVENT\r\nEND:VCALENDAR\r\n"


def share(owner: Visitor, bob: Client, collection: str, *, write: bool, person: str | None = None) -> Answer:
    fields = {"csrf_token": owner.csrf("/sync/links"), "person": person or bob.domain, "collection": collection}
    return owner.post("/sync/shares", fields | ({"write": "1"} if write else {}))


def revoke(owner: Visitor, name: str) -> None:
    page = owner.get("/sync/links").body.decode()
    found = re.search(rf"<b>{name}</b>.*?/sync/shares/(\w+)/revoke", page, re.DOTALL)
    assert found is not None
    assert owner.post(f"/sync/shares/{found[1]}/revoke", {"csrf_token": owner.csrf("/sync/links")}).status == 303


def homes(client: Client) -> dict[str, str]:
    """Display name -> path of what is in a home set."""
    body = '<propfind xmlns="DAV:"><prop><displayname/></prop></propfind>'
    answer = client.dav("PROPFIND", HOME, body, Depth="1").body.decode()
    found = re.findall(r"<D:href>([^<]+)</D:href><D:propstat><D:prop><D:displayname>([^<]*)<", answer)
    return {name: path for path, name in found}


def shared(bob: Client, name: str) -> str:
    return next(path for shown, path in homes(bob).items() if shown.startswith(f"{name} ("))


def props(client: Client, path: str, inner: str) -> str:
    body = f'<propfind xmlns="DAV:" xmlns:I="http://apple.com/ns/ical/"><prop>{inner}</prop></propfind>'
    return client.dav("PROPFIND", path, body, Depth="0").body.decode()


def test_it_is_in_her_home_set_with_its_owners_name_and_only_what_is_shared_is(owner: Visitor, alice: Client, bob: Client, calendar: str):
    assert share(owner, bob, calendar, write=False).status == 303
    path = shared(bob, calendar)
    assert f"{calendar} (wire)" in homes(bob)
    assert bob.dav("GET", f"{path}a.ics").body.decode() == event("a")
    assert f"http://{alice.domain}/sync/dav/me/" in props(bob, path, "<owner/>")
    mine = {one for one in homes(alice).values() if one.startswith(f"{HOME}share")}
    assert f"{HOME}{calendar}/" in mine
    for other in mine:
        assert bob.dav("PROPFIND", other, Depth="0").status == 404


def test_who_may_read_changes_nothing(owner: Visitor, alice: Client, bob: Client, calendar: str):
    share(owner, bob, calendar, write=False)
    path = shared(bob, calendar)
    bob.dav("PUT", f"{HOME}calendar/mine.ics", event(f"mine-{calendar}"))
    tried = [
        bob.dav("PUT", f"{path}b.ics", event("b")),
        bob.dav("PUT", f"{path}a.ics", event("a", "changed")),
        bob.dav("DELETE", f"{path}a.ics"),
        bob.dav("POST", path, event("c"), Content_Type="text/calendar"),
        bob.dav("MOVE", f"{path}a.ics", Destination=f"{HOME}calendar/a.ics"),
        bob.dav("MOVE", f"{HOME}calendar/mine.ics", Destination=f"{path}mine.ics"),
        bob.dav("COPY", f"{HOME}calendar/mine.ics", Destination=f"{path}mine.ics"),
    ]
    assert [one.status for one in tried] == [403] * 7
    assert b"<D:write-content/>" not in bob.dav("PROPFIND", path, Depth="0").body
    assert alice.dav("GET", f"{HOME}{calendar}/a.ics").body.decode() == event("a")
    assert bob.dav("COPY", f"{path}a.ics", Destination=f"{HOME}calendar/copied-{calendar}.ics").status == 201
    bob.dav("DELETE", f"{HOME}calendar/copied-{calendar}.ics")


def test_who_may_write_is_heard_by_the_owner_at_once(owner: Visitor, alice: Client, bob: Client, calendar: str):
    share(owner, bob, calendar, write=True)
    path = shared(bob, calendar)
    token = props(alice, f"{HOME}{calendar}/", "<sync-token/>")
    with alice.watch("io.cozy.calendar.events") as watch:
        assert bob.dav("PUT", f"{path}b.ics", event("b", "from bob")).status == 201
        told = watch.next()
        assert (told["event"], told["payload"]["doc"]["label"]) == ("CREATED", "from bob")
    assert alice.dav("GET", f"{HOME}{calendar}/b.ics").body.decode() == event("b", "from bob")
    assert props(alice, f"{HOME}{calendar}/", "<sync-token/>") != token
    assert bob.api("GET", "/data/io.cozy.calendar.events/_all_docs?include_docs=true").body.count(b"from bob") == 0
    assert bob.dav("DELETE", f"{path}b.ics").status == 204
    assert alice.dav("GET", f"{HOME}{calendar}/b.ics").status == 404


def private(uid: str, kind: str = "PRIVATE") -> str:
    return event(uid, "a secret").replace("SUMMARY", f"CLASS:{kind}\r\nSUMMARY")


def test_private_events_are_the_owner_s_alone_and_tell_only_that_she_is_busy(owner: Visitor, alice: Client, bob: Client, calendar: str):
    share(owner, bob, calendar, write=True)
    path, here = shared(bob, calendar), f"{HOME}{calendar}/"
    sync = '<sync-collection xmlns="DAV:"><sync-token>{}</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>'
    token = re.findall("<D:sync-token>([^<]+)<", bob.dav("REPORT", path, sync.format("")).body.decode())[0]
    for uid, kind in (("p", "PRIVATE"), ("q", "CONFIDENTIAL")):
        alice.dav("PUT", f"{here}{uid}.ics", private(uid, kind).replace("SUMMARY", "DURATION:PT1H\r\nSUMMARY"))
    alice.dav("PUT", f"{here}a.ics", private("a"))
    changed = bob.dav("REPORT", path, sync.format(token)).body.decode()
    assert "200 OK" not in changed
    assert changed.count("404 Not Found") == 3
    assert bob.dav("GET", f"{path}p.ics").status == 404
    assert b"a secret" not in bob.dav("GET", path).body
    assert b".ics" not in bob.dav("PROPFIND", path, Depth="1").body
    refused = [bob.dav("PUT", f"{path}p.ics", event("p")), bob.dav("DELETE", f"{path}p.ics")]
    refused.append(bob.dav("MOVE", f"{path}p.ics", Destination=f"{HOME}calendar/p.ics"))
    assert {one.status for one in refused} <= {403, 404}
    range_ = '<C:time-range start="20260101T000000Z" end="20260102T000000Z"/>'
    busy = f'<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav">{range_}</C:free-busy-query>'
    assert "20260101T100000Z/20260101T110000Z" in bob.dav("REPORT", path, busy, Depth="1").body.decode()
    assert b"a secret" in alice.dav("GET", f"{here}p.ics").body
    alice.dav("PUT", f"{here}a.ics", event("a", "for all"))
    assert b"for all" in bob.dav("GET", f"{path}a.ics").body


def test_she_syncs_it_as_her_own(owner: Visitor, alice: Client, bob: Client, calendar: str):
    share(owner, bob, calendar, write=False)
    path = shared(bob, calendar)
    sync = '<sync-collection xmlns="DAV:"><sync-token>{}</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>'
    first = bob.dav("REPORT", path, sync.format("")).body.decode()
    assert f"{path}a.ics" in first
    token = re.findall("<D:sync-token>([^<]+)<", first)[0]
    alice.dav("PUT", f"{HOME}{calendar}/new.ics", event("new"))
    changed = bob.dav("REPORT", path, sync.format(token)).body.decode()
    assert re.findall("<D:href>([^<]+)<", changed) == [f"{path}new.ics"]
    filter_ = '<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"/></C:comp-filter></C:filter>'
    spaces = 'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"'
    query = f"<C:calendar-query {spaces}><prop><C:calendar-data/></prop>{filter_}</C:calendar-query>"
    assert bob.dav("REPORT", path, query, Depth="1").body.count(b"BEGIN:VEVENT") == 2


def test_what_is_taken_back_is_gone_at_the_next_request(owner: Visitor, alice: Client, bob: Client, calendar: str):
    share(owner, bob, calendar, write=True)
    path = shared(bob, calendar)
    assert bob.dav("GET", f"{path}a.ics").status == 200
    revoke(owner, calendar)
    answers = [bob.dav("GET", f"{path}a.ics"), bob.dav("PROPFIND", path, Depth="0"), bob.dav("PUT", f"{path}b.ics", event("b"))]
    assert [one.status for one in answers] == [404, 404, 409]
    assert not [name for name in homes(bob) if name.startswith(calendar)]
    assert alice.dav("GET", f"{HOME}{calendar}/b.ics").status == 404


def test_a_right_is_changed_by_sharing_again(owner: Visitor, bob: Client, calendar: str):
    share(owner, bob, calendar, write=True)
    path = shared(bob, calendar)
    share(owner, bob, calendar, write=False)
    assert shared(bob, calendar) == path
    assert bob.dav("PUT", f"{path}b.ics", event("b")).status == 403


def test_her_name_and_color_for_it_are_hers_and_she_may_leave(owner: Visitor, alice: Client, bob: Client, calendar: str):
    share(owner, bob, calendar, write=True)
    path = shared(bob, calendar)
    change = '<propertyupdate xmlns="DAV:" xmlns:I="http://apple.com/ns/ical/"><set><prop><displayname>Ours</displayname>'
    assert bob.dav("PROPPATCH", path, f"{change}<I:calendar-color>#FF0000</I:calendar-color></prop></set></propertyupdate>").status == 207
    shown = props(bob, path, "<displayname/><I:calendar-color/>")
    assert (">Ours<" in shown, "#FF0000" in shown) == (True, True)
    assert ">Ours<" not in props(alice, f"{HOME}{calendar}/", "<displayname/>")
    assert bob.dav("DELETE", path).status in (200, 204)
    assert path not in homes(bob).values()
    assert alice.dav("GET", f"{HOME}{calendar}/a.ics").status == 200


def test_a_calendar_that_its_owner_removes_is_gone_for_everybody(owner: Visitor, alice: Client, bob: Client, calendar: str):
    share(owner, bob, calendar, write=True)
    path = shared(bob, calendar)
    alice.dav("DELETE", f"{HOME}{calendar}/")
    assert bob.dav("PROPFIND", path, Depth="0").status == 404
    assert path not in homes(bob).values()


def test_an_object_goes_from_one_person_to_the_other(owner: Visitor, alice: Client, bob: Client, calendar: str):
    share(owner, bob, calendar, write=True)
    path = shared(bob, calendar)
    assert bob.dav("MOVE", f"{path}a.ics", Destination=f"{HOME}calendar/moved-{calendar}.ics").status == 201
    assert bob.dav("GET", f"{HOME}calendar/moved-{calendar}.ics").body.decode() == event("a")
    assert alice.dav("GET", f"{HOME}{calendar}/a.ics").status == 404
    bob.dav("DELETE", f"{HOME}calendar/moved-{calendar}.ics")


def test_her_device_that_reaches_no_calendars_sees_no_shared_one(served: Served, owner: Visitor, bob: Client, calendar: str):
    share(owner, bob, calendar, write=True)
    path = shared(bob, calendar)
    phone = Client(served, domain=bob.domain, host=bob.host)
    phone.password = served.password("--contacts", domain=bob.domain)
    assert phone.dav("PROPFIND", path, Depth="0").status == 404
    reader = Client(served, domain=bob.domain, host=bob.host)
    reader.password = served.password("--calendars", "--read-only", domain=bob.domain)
    assert reader.dav("PUT", f"{path}b.ics", event("b")).status == 403


def test_an_address_book_is_shared_too(owner: Visitor, alice: Client, bob: Client):
    card = (
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:shared-card\r\nFN:Shared Card\r\nN:Card;Shared;;;\r\nCATEGORIES:Shared friends\r\nEND:VCARD\r\n"
    )
    assert alice.dav("PUT", f"{HOME}contacts/shared-card.vcf", card).status in (201, 204)
    share(owner, bob, "contacts", write=True)
    path = shared(bob, "Contacts")
    assert bob.dav("GET", f"{path}shared-card.vcf").body.decode() == card
    assert bob.dav("GET", f"{HOME}contacts/shared-card.vcf").status == 404
    revoke(owner, "Contacts")
    assert bob.dav("GET", f"{path}shared-card.vcf").status == 404


def test_nothing_is_shared_with_nobody_or_oneself(owner: Visitor, alice: Client, bob: Client, calendar: str):
    for person in ("nobody.example.org", alice.domain, "", "../x"):
        assert share(owner, bob, calendar, write=False, person=person or "?").status == 422
    assert share(owner, bob, "no-such-calendar", write=False).status == 422
    assert bob.dav("PROPFIND", f"{HOME}shared-{'0' * 32}/", Depth="0").status == 404
    assert bob.dav("MKCALENDAR", f"{HOME}shared-{'0' * 32}/").status == 403
