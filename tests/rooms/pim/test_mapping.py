"""Edits of apps change the lines they mean and no other: what a reading of contract/pim.md, line by line, asked for."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cozyd import jsons
from cozyd.documents.store import Ref, Stored
from cozyd.pim import ical, record, resource, times, vcard, vcard_version
from cozyd.pim.content import Component, make, tree
from cozyd.pim.timezones import definition
from cozyd.pim.windows import WINDOWS
from cozyd.pim.zones import Zones, named


def calendar(*lines: str, kind: str = "VEVENT") -> bytes:
    inner = "\r\n".join(("UID:u", "DTSTAMP:20260101T000000Z", "DTSTART:20260301T090000Z", *lines))
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:{kind}\r\n{inner}\r\nEND:{kind}\r\nEND:VCALENDAR\r\n".encode()


def card(*lines: str, version: str = "3.0") -> bytes:
    return "\r\n".join(["BEGIN:VCARD", f"VERSION:{version}", "UID:u", "FN:x", "N:x;;;;", *lines, "END:VCARD", ""]).encode()


def edit(raw: bytes, **changes: Any) -> tuple[list[str], list[str]]:
    """The lines that went and those that came when an app changes these fields."""
    is_card = raw.startswith(b"BEGIN:VCARD")
    doc = vcard.apply(vcard.parse(raw), {}) if is_card else ical.apply(ical.parse(raw), {})
    fields = vcard.read(vcard.parse(raw)) if is_card else ical.read(ical.parse(raw))
    kind = "VCARD" if is_card else ical.kind_of(ical.parse(raw))
    doctype = "io.cozy.contacts" if is_card else ical.COMPONENTS[kind]
    private = {"dav": record.new_record(kind, "x", "u", raw, fields, "")}
    text = resource.text(Stored(Ref(doctype, "id"), "2-a", jsons.dump(doc | changes), private=jsons.dump(private))).decode()
    before, after = raw.decode().split("\r\n"), text.split("\r\n")
    stamps = ("SEQUENCE", "DTSTAMP", "REV")
    return [line for line in before if line not in after], [line for line in after if line not in before and not line.startswith(stamps)]


# -- times --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Tokyo", "Asia/Kolkata"]
)
def test_the_definition_of_a_zone_says_what_the_zone_says(name: str):
    zone = definition(name)
    zone.replace(zone.all("TZID")[0], make("TZID", "Custom"))
    zones = Zones(Component("VCALENDAR", make("BEGIN", "VCALENDAR"), [zone], make("END", "VCALENDAR")))
    moment = datetime(2026, 1, 1, 0, 30)
    for _ in range(2 * 366 * 12):
        moment += timedelta(hours=2)
        found = times.parse(moment.strftime("%Y%m%dT%H%M%S"), "Custom", zones)
        assert found is not None
        expected = moment.replace(tzinfo=ZoneInfo(name))
        if expected.utcoffset() == expected.replace(fold=1).utcoffset():  # an hour that is there once
            assert found.moment() == expected, moment


@pytest.mark.parametrize("name", ["Europe/Paris", "America/New_York", "Australia/Lord_Howe"])
def test_a_zone_begins_on_a_day_of_its_own_rule(name: str):
    for part in definition(name).components():
        start = datetime.strptime(part.value("DTSTART"), "%Y%m%dT%H%M%S")
        day = dict(one.split("=") for one in part.value("RRULE").split(";"))
        assert start.month == int(day["BYMONTH"])
        assert day["BYDAY"].endswith(("MO", "TU", "WE", "TH", "FR", "SA", "SU")[start.weekday()])


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("2026-03-01T10:00:00Z", "2026-03-01T11:00:00+01:00"),
        ("2026-07-01T10:00:00+01:00", "2026-07-01T11:00:00+02:00"),
        ("2026-07-01T10:00:00.000+02:00", "2026-07-01T10:00:00.000+02:00"),
        ("2026-03-29T02:30:00+01:00", "2026-03-29T02:30:00+01:00"),  # in the gap: the offset before it
        ("2026-07-01T10:00:00", "2026-07-01T10:00:00"),
        ("2026-07-01", "2026-07-01"),
        ("soon", "soon"),
    ],
)
def test_an_instant_that_an_app_writes_is_stored_as_the_time_of_the_event_s_zone(given: str, stored: str):
    event = {"start": given, "timezone": "Europe/Paris", "overrides": {"2026-07-08T10:00:00": {"start": given}, "x": None}}
    found = ical.normalise_event(event, None)
    assert (found["start"], found["overrides"]["2026-07-08T10:00:00"]["start"]) == (stored, stored)
    assert ical.normalise_event({"start": given, "timezone": "My/Own"}, None)["start"] == given


def test_every_name_that_windows_has_for_a_zone_is_one():
    assert [name for name in WINDOWS if named(name) is None] == []
    raw = calendar("DTEND;TZID=New Zealand Standard Time:20260301T130000").replace(
        b"DTSTART:2", b"DTSTART;TZID=New Zealand Standard Time:2"
    )
    event = ical.apply(ical.parse(raw.replace(b"090000Z", b"120000")), {})
    assert (event["start"], event["timezone"]) == ("2026-03-01T12:00:00+13:00", "Pacific/Auckland")
    assert event["bounds"]["start"] == "2026-02-28T23:00:00Z"


def test_a_time_that_is_ticked_elsewhere_is_written_in_utc():
    came = edit(calendar(kind="VTODO"), completed=True, completedAt="2026-01-01T10:00:00+02:00")[1]
    assert "COMPLETED:20260101T080000Z" in came


# -- lists --------------------------------------------------------------------------------------------------------------


def test_tags_that_stay_keep_their_line():
    raw = calendar("CATEGORIES:a,b", "CATEGORIES;LANGUAGE=fr:d")
    assert edit(raw, tags=["a", "d", "e"]) == (["CATEGORIES:a,b"], ["CATEGORIES:a,e"])
    assert edit(raw, tags=["a", "b"]) == (["CATEGORIES;LANGUAGE=fr:d"], [])


def test_an_alarm_at_another_time_keeps_all_else_it_has():
    raw = calendar("BEGIN:VALARM", "ACTION:AUDIO", "TRIGGER:-PT15M", "ATTACH:ftp://x/y", "X-ODD:1", "END:VALARM")
    assert edit(raw, alarms=[{"trigger": "-PT30M", "action": "audio"}]) == (["TRIGGER:-PT15M"], ["TRIGGER:-PT30M"])


def test_a_mail_alarm_has_what_such_alarms_need():
    came = edit(calendar(), alarms=[{"trigger": "-PT30M", "action": "email"}])[1]
    assert {line.partition(":")[0] for line in came} >= {"ACTION", "TRIGGER", "DESCRIPTION", "SUMMARY", "ATTENDEE"}


def test_an_edit_loses_neither_of_two_people_with_one_address():
    raw = calendar("ATTENDEE;CN=A:mailto:a@x.org", "ATTENDEE;CN=B:mailto:a@x.org", "ATTENDEE:mailto:c@x.org")
    people = ical.apply(ical.parse(raw), {})["attendee"]
    gone, came = edit(raw, attendee=[*people[:2], {**people[2], "status": "ACCEPTED"}])
    assert (gone, came) == (["ATTENDEE:mailto:c@x.org"], ["ATTENDEE;PARTSTAT=ACCEPTED:mailto:c@x.org"])


def test_addresses_are_not_escaped_and_begin_no_line():
    assert edit(calendar("URL:https://x/?a=1,2;b"), url="https://y/?a=1,2;c")[1] == ["URL:https://y/?a=1,2;c"]
    assert ical.apply(ical.parse(calendar("URL:http\\://x/a\\,b")), {})["url"] == "http://x/a,b"
    came = edit(calendar(), attachments=[{"uri": "https://x/\r\nSTATUS:CANCELLED"}], url="https://y/\nCLASS:PRIVATE")[1]
    assert sorted(came) == ["ATTACH:https://x/STATUS:CANCELLED", "URL:https://y/CLASS:PRIVATE"]
    changed = edit(card("URL:https://x/?a=1,2;b"), metadata={"version": 1, "card": {"urls": [{"url": "https://y/?a=1,2;b"}]}})
    assert changed[1] == ["URL:https://y/?a=1,2;b"]


# -- cards --------------------------------------------------------------------------------------------------------------


def test_a_chat_address_without_a_scheme_gets_its_protocol_and_stays_one_line():
    item = {"uri": "@ada:x.org", "protocol": "matrix", "label": "work", "primary": True}
    assert edit(card(), impp=[item])[1] == ["IMPP;TYPE=WORK:matrix:@ada:x.org"]
    assert edit(card("IMPP;X-A=1:matrix:@ada:x.org"), impp=[{**item, "label": "home"}])[1] == ["IMPP;X-A=1;TYPE=HOME:matrix:@ada:x.org"]


def test_an_anniversary_as_apple_writes_it():
    raw = card(
        "item1.X-ABDATE;type=pref:2010-01-02", "item1.X-ABLabel:_$!<Anniversary>!$_", "item2.X-ABDATE:2000-01-01", "item2.X-ABLabel:Met"
    )
    metadata = vcard.apply(vcard.parse(raw), {})["metadata"]
    assert metadata["card"]["anniversary"] == "2010-01-02"
    changed = {"metadata": {"version": 1, "card": {"anniversary": "2011-02-03"}}}
    assert edit(raw, **changed) == (["item1.X-ABDATE;type=pref:2010-01-02"], ["item1.X-ABDATE;TYPE=pref:2011-02-03"])


def test_the_label_of_a_former_address_goes():
    raw = card("ADR;TYPE=HOME:;;1 Rue;Paris;;75000;France", "LABEL;TYPE=HOME:1 Rue\\nParis", "LABEL;TYPE=WORK:Work")
    address = vcard.apply(vcard.parse(raw), {})["address"]
    gone, came = edit(raw, address=[{**address[0], "city": "Lyon"}])
    assert gone == ["ADR;TYPE=HOME:;;1 Rue;Paris;;75000;France", "LABEL;TYPE=HOME:1 Rue\\nParis"]
    assert came == ["ADR;TYPE=HOME:;;1 Rue;Lyon;;75000;France"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TEL;TYPE=CELL,pref:1", "TEL;TYPE=CELL;PREF=1:1"),
        ("X-GENDER:Male", "GENDER:M"),
        ("BDAY:1985-04-15", "BDAY:19850415"),
        ("BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-15", "BDAY:--0415"),
        ("X-ANNIVERSARY:2010-01-02", "ANNIVERSARY:20100102"),
        ("REV:2020-01-01T00:00:00.5Z", "REV:20200101T000000Z"),
        ("URL:http\\://a", "URL:http://a"),
        ("PHOTO;ENCODING=b;TYPE=PNG:aGk=", "PHOTO:data:image/png;base64,aGk="),
        ("PHOTO;VALUE=URI:http://x/p.jpg", "PHOTO;VALUE=URI:http://x/p.jpg"),
        ("X-ADDRESSBOOKSERVER-KIND:group", "KIND:group"),
        ("X-ODD;A=b:c", "X-ODD;A=b:c"),
        ("GEO:48.85;2.35", "GEO:geo:48.85,2.35"),
        ("URL;TYPE=WORK,pref:https://x", "URL;TYPE=WORK;PREF=1:https://x"),
        ("KEY;ENCODING=b;TYPE=PGP:AAAA", "KEY:data:application/pgp-keys;base64,AAAA"),
        ("SOUND;ENCODING=b;TYPE=OGG:AAAA", "SOUND:data:audio/ogg;base64,AAAA"),
    ],
)
def test_a_card_of_3_is_said_in_4(old: str, new: str):
    assert new in vcard_version.converted(vcard.parse(card(old)), "4.0").render().decode().split("\r\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TEL;VALUE=uri;PREF=1;TYPE=cell:tel:+1", "TEL;TYPE=cell,PREF:+1"),
        ('TEL;TYPE="voice,home":1', "TEL;TYPE=voice,home:1"),
        ("GENDER:F", "X-GENDER:F"),
        ("BDAY:--0415", "BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-15"),
        ("KIND:group", "X-ADDRESSBOOKSERVER-KIND:group"),
        ("KIND:org", "KIND:org"),
        ("MEMBER:urn:uuid:x", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:x"),
        ('ADR;TYPE=home;LABEL="a^nb":;;a;;;;', "LABEL;TYPE=home:a\\nb"),
        ('ADR;TYPE=home;LABEL="a\\nb":;;a;;;;', "LABEL;TYPE=home:a\\nb"),
        ("GEO:geo:48.85,2.35", "GEO:48.85;2.35"),
        ("KEY:data:application/pgp-keys;base64,AAAA", "KEY;ENCODING=b;TYPE=PGP:AAAA"),
    ],
)
def test_a_card_of_4_is_said_in_3(old: str, new: str):
    assert new in vcard_version.converted(vcard.parse(card(old, version="4.0")), "3.0").render().decode().split("\r\n")


def test_a_label_is_a_part_of_its_address_in_4():
    raw = card("ADR;TYPE=HOME:;;a;;;;", "LABEL;TYPE=HOME:a\\nb", "LABEL;TYPE=WORK:of nothing")
    text = vcard_version.converted(tree(raw, "VCARD"), "4.0").render().decode()
    assert "ADR;TYPE=HOME;LABEL=a^nb:;;a;;;;\r\n" in text
    assert "\r\nLABEL" not in text


def test_a_break_in_a_label_of_4_is_one_however_it_is_written():
    for label in ("a^nb", "a\\nb", "a\\Nb"):
        raw = card(f'ADR;TYPE=home;LABEL="{label}":;;a;;;;', version="4.0")
        assert vcard.apply(vcard.parse(raw), {})["address"][0]["formattedAddress"] == "a\nb"
