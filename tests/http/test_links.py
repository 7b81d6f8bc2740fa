"""Secret links: read by whoever has one, by nobody who hasn't, and by nobody any more once it is given another address."""

import re
from collections.abc import Iterator
from itertools import count

import icalendar
import pytest

from cozyd.pim import birthdays
from tests.support.client import Answer, Client
from tests.support.serving import Served
from tests.support.visitor import Visitor

HOME = "/sync/dav/me/"
_numbers = count()


@pytest.fixture(scope="module")
def owner(served: Served) -> Visitor:
    return Visitor(served).log_in()


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}")


@pytest.fixture
def calendars(alice: Client) -> Iterator[list[str]]:
    ids = [f"linked{next(_numbers)}" for _ in range(2)]
    for id in ids:
        assert alice.dav("MKCALENDAR", f"{HOME}{id}/").status == 201
        alice.dav("PUT", f"{HOME}{id}/e.ics", event(f"in-{id}"))
    yield ids
    for id in ids:
        alice.dav("DELETE", f"{HOME}{id}/")


def event(uid: str) -> str:
    inner = f"UID:{uid}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;TZID=Europe/Paris:20260101T100000\r\nSUMMARY:{uid}\r\n"
    zone = (
        "BEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\n"
        "END:STANDARD\r\nEND:VTIMEZONE\r\n"
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//EN\r\n{zone}BEGIN:VEVENT\r\n{inner}END:VEVENT\r\nEND:VCALENDAR\r\n"


def make(owner: Visitor, name: str, *ids: str) -> Answer:
    fields = [("csrf_token", owner.csrf("/sync/links")), ("name", name), *(("collection", id) for id in ids)]
    return owner.post("/sync/links", fields)


def link(owner: Visitor, name: str) -> tuple[str, str]:
    """Its path, and its id."""
    page = owner.get("/sync/links").body.decode()
    found = re.search(rf'data-copyable="{name}">[^<]*(/sync/feeds/(\w+)-\w+\.(?:ics|vcf))<', page)
    assert found is not None, page
    return found[1], found[2]


def act(owner: Visitor, id: str, what: str) -> None:
    assert owner.post(f"/sync/links/{id}/{what}", {"csrf_token": owner.csrf("/sync/links")}).status == 303


def read(alice: Client, path: str, **headers: str) -> Answer:
    """Without any password."""
    return alice.ask("GET", path, **headers)


def test_a_link_shows_several_calendars_as_one_and_says_when_nothing_is_new(owner: Visitor, alice: Client, calendars: list[str]):
    assert make(owner, "Both", *calendars).status == 303
    path, _ = link(owner, "Both")
    answer = read(alice, path)
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    calendar = icalendar.Calendar.from_ical(answer.body)
    assert calendar["X-WR-CALNAME"] == "Both"
    assert sorted(str(one["UID"]) for one in calendar.walk("VEVENT")) == sorted(f"in-{id}" for id in calendars)
    assert len(calendar.walk("VTIMEZONE")) == 1
    again = read(alice, path, If_None_Match=answer.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert (alice.ask("HEAD", path).status, alice.ask("HEAD", path).body) == (200, b"")
    alice.dav("PUT", f"{HOME}{calendars[0]}/new.ics", event("new"))
    fresh = read(alice, path, If_None_Match=answer.headers["ETag"])
    assert (fresh.status, b"UID:new" in fresh.body) == (200, True)


def test_a_link_lets_nobody_write(owner: Visitor, alice: Client, calendars: list[str]):
    make(owner, "Only read", calendars[0])
    path, _ = link(owner, "Only read")
    assert {alice.ask(method, path, b"x").status for method in ("PUT", "POST", "DELETE")} <= {404, 405}
    assert read(alice, path).status == 200


def test_another_address_ends_the_old_one_and_a_removed_link_shows_nothing(owner: Visitor, alice: Client, calendars: list[str]):
    make(owner, "Reset me", calendars[0])
    old, id = link(owner, "Reset me")
    act(owner, id, "reset")
    new, same = link(owner, "Reset me")
    assert (same, new != old) == (id, True)
    assert [read(alice, path).status for path in (old, new)] == [404, 200]
    act(owner, id, "remove")
    act(owner, id, "remove")
    assert read(alice, new).status == 404


def test_guesses_show_nothing(owner: Visitor, alice: Client, served: Served, calendars: list[str]):
    make(owner, "Guessed", calendars[0])
    path, id = link(owner, "Guessed")
    bad = [
        f"/sync/feeds/{id}-{'0' * 48}.ics",
        f"/sync/feeds/{id}.ics",
        path.replace(".ics", ".vcf"),
        path[:-5] + ".ics",
        "/sync/feeds/.ics",
    ]
    assert [read(alice, one).status for one in bad] == [404] * 5
    bob = Client(served, domain=f"bob.localhost:{served.port}", host=f"127.0.0.1:{served.port}")
    assert read(bob, path).status == 404


def test_address_books_are_linked_too_and_kinds_are_not_mixed(owner: Visitor, alice: Client, calendars: list[str]):
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:linked\r\nFN:Linked One\r\nN:One;Linked;;;\r\nEND:VCARD\r\n"
    assert alice.dav("PUT", f"{HOME}contacts/linked.vcf", card).status in (201, 204)
    make(owner, "People", "contacts")
    path, _ = link(owner, "People")
    assert path.endswith(".vcf")
    answer = read(alice, path)
    assert answer.headers["Content-Type"] == "text/vcard; charset=utf-8"
    assert card.encode() in answer.body
    assert answer.body.count(b"BEGIN:VCARD") == answer.body.count(b"END:VCARD\r\n")
    refused = make(owner, "Mixed", "contacts", calendars[0])
    assert (refused.status, b'role="alert"' in refused.body) == (422, True)
    assert make(owner, "None").status == 422
    assert make(owner, "Unknown", "nowhere").status == 422


def test_a_calendar_that_is_gone_is_left_out(owner: Visitor, alice: Client, calendars: list[str]):
    make(owner, "Partly", *calendars)
    path, _ = link(owner, "Partly")
    alice.dav("DELETE", f"{HOME}{calendars[0]}/")
    assert [f"in-{id}".encode() in read(alice, path).body for id in calendars] == [False, True]
    alice.dav("DELETE", f"{HOME}{calendars[1]}/")
    assert read(alice, path).status == 404


def test_she_has_a_calendar_of_birthdays_when_she_wants_it(owner: Visitor, alice: Client, served: Served):
    def toggle(on: str) -> None:
        assert owner.post("/sync/birthdays", {"csrf_token": owner.csrf("/sync/links"), "on": on}).status == 303

    path = f"{HOME}{birthdays.ID}/"
    assert alice.dav("PROPFIND", path, Depth="0").status == 404
    toggle("1")
    toggle("1")
    assert b">Birthdays<" in alice.dav("PROPFIND", path, Depth="0").body
    assert b">Birthdays<" in alice.dav("PROPFIND", HOME, Depth="1").body
    calendars_only = Client(served, host=f"localhost:{served.port}")
    calendars_only.password = served.password("--calendars")
    assert calendars_only.dav("PROPFIND", path, Depth="0").status == 404
    toggle("0")
    assert alice.dav("PROPFIND", path, Depth="0").status == 404
