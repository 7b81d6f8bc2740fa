"""The calendar of birthdays: made from contacts, the same for everybody who looks, and only to be read."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Ref
from cozyd.errors import Forbidden
from cozyd.instance import Instance
from cozyd.pim import Collection, birthdays, ical, instances
from tests.support.stack import Clock, open_stack

CONTACTS = "io.cozy.contacts"


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Instance]:
    stack = open_stack(tmp_path / "data", Clock())
    instance = stack.create("alice.example.org")
    instance.pim.make("calendar", {}, id=birthdays.ID)
    yield instance
    stack.close()


def calendar(alice: Instance) -> Collection:
    return alice.pim.collection(birthdays.ID)


def contact(alice: Instance, id: str, **fields: Any) -> None:
    alice.docs.put(CONTACTS, {"_id": id, "fullname": f"{id} x", **fields})


def texts(alice: Instance) -> dict[str, str]:
    return {href: text.decode() for href, text in alice.pim.texts(alice.pim.rows(calendar(alice))).items()}


def card(alice: Instance, id: str, **extra: str) -> None:
    contact(alice, id, metadata={"card": extra})


def test_each_date_of_a_contact_is_an_event_of_every_year(alice: Instance):
    contact(alice, "ada", birthday="1815-12-10", metadata={"card": {"anniversary": "1835-07-08"}})
    found = texts(alice)
    assert sorted(found) == ["ada-anniversary.ics", "ada-birthday.ics"]
    assert "SUMMARY:🎂 ada x (1815)\r\n" in found["ada-birthday.ics"]
    assert "DTSTART;VALUE=DATE:18151210\r\nRRULE:FREQ=YEARLY\r\n" in found["ada-birthday.ics"]
    assert "SUMMARY:💍 ada x (1835)\r\n" in found["ada-anniversary.ics"]
    assert ical.parse(found["ada-birthday.ics"].encode())


def test_an_unknown_year_is_not_shown(alice: Instance):
    card(alice, "bob", birthday="--04-15")
    text = texts(alice)["bob-birthday.ics"]
    assert "SUMMARY:🎂 bob x\r\n" in text
    assert "DTSTART;VALUE=DATE:19720415\r\n" in text


@pytest.mark.parametrize("given", [{"birthday": "2000-02-29"}, {"metadata": {"card": {"birthday": "--02-29"}}}])
def test_29_february_is_the_last_of_february(alice: Instance, given: dict[str, Any]):
    contact(alice, "leap", **given)
    text = texts(alice)["leap-birthday.ics"].encode()
    for year, day in ((2023, 28), (2024, 29), (2025, 28)):
        low, high = datetime(year, 2, 20, tzinfo=UTC), datetime(year, 3, 10, tzinfo=UTC)
        assert [one.start.wall.day for one in instances.of(ical.parse(text), low, high, UTC)] == [day]
        assert len(alice.pim.rows(calendar(alice), start=low, end=high, zone=UTC)) == 1
    assert not alice.pim.rows(calendar(alice), start=datetime(2024, 3, 2, tzinfo=UTC), end=datetime(2024, 3, 9, tzinfo=UTC), zone=UTC)


@pytest.mark.parametrize("bad", ["1999", "2026-02-31", "soon", "0000-00-00", ""])
def test_what_is_no_day_is_no_event(alice: Instance, bad: str):
    contact(alice, "odd", birthday=bad)
    assert texts(alice) == {}


def test_only_a_change_of_name_or_date_is_news(alice: Instance):
    contact(alice, "ada", birthday="1815-12-10")
    token = calendar(alice).token
    doc = dict(alice.docs.get(Ref(CONTACTS, "ada")).doc)
    doc["_rev"] = alice.docs.put(CONTACTS, doc | {"note": "x", "email": [{"address": "a@x.org"}]}).rev
    assert calendar(alice).token == token
    doc["_rev"] = alice.docs.put(CONTACTS, doc | {"birthday": "1815-12-11"}).rev
    changed = alice.pim.rows(calendar(alice), since=token)
    assert [row.key[1] for row in changed] == ["ada-birthday.ics"]
    alice.docs.put(CONTACTS, doc | {"trashed": True})
    assert [row.gone for row in alice.pim.rows(calendar(alice), since=token)] == [True]


def test_a_contact_of_a_phone_is_in_it_and_another_server_says_the_same(alice: Instance, tmp_path: Path):
    raw = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:u\r\nFN:Ada\r\nN:;Ada;;;\r\nBDAY:18151210\r\nEND:VCARD\r\n"
    book = alice.pim.collection("contacts")
    alice.pim.put(book, "u.vcf", raw, match=None)
    doc = alice.docs.get(alice.pim.rows(book, hrefs=["u.vcf"])[0].ref)
    other = open_stack(tmp_path / "other", Clock())
    try:
        bob = other.create("bob.example.org")
        bob.pim.make("calendar", {}, id=birthdays.ID)
        bob.docs.put(CONTACTS, {"_id": doc.ref.id, **{key: value for key, value in doc.doc.items() if key[:1] != "_"}})
        assert texts(alice) == texts(bob) != {}
    finally:
        other.close()


def test_nobody_writes_into_it_and_its_removal_takes_no_contact(alice: Instance):
    contact(alice, "ada", birthday="1815-12-10")
    with pytest.raises(Forbidden):
        alice.pim.delete(calendar(alice), "ada-birthday.ics", match=None)
    with pytest.raises(Forbidden):
        alice.pim.put(calendar(alice), "ada-birthday.ics", texts(alice)["ada-birthday.ics"].encode(), match=None)
    alice.pim.remove(calendar(alice))
    assert not alice.pim.has(birthdays.ID)
    assert alice.docs.get(Ref(CONTACTS, "ada")).doc["birthday"] == "1815-12-10"
