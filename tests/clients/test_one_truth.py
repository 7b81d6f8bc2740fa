"""One contact, event or file is one document, whatever door it came through."""

import base64

import pytest

from tests.support.client import Client
from tests.support.serving import Served

PHOTO = base64.b64encode(bytes(range(256)) * 20).decode()
CARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nPRODID:-//Phone//EN\r\nUID:{uid}\r\nN:Lovelace;Ada;;;\r\nFN:Ada Lovelace\r\n"
    "item1.EMAIL;TYPE=INTERNET;TYPE=pref:ada@example.org\r\nitem1.X-ABLabel:_$!<Home>!$_\r\n"
    "TEL;TYPE=CELL,VOICE;X-ODD=7:+33 6 12 34 56 78\r\n"
    "X-PHONETIC-LAST-NAME:ladvlace\r\nX-SOCIALPROFILE;TYPE=twitter;x-user=ada:http://twitter.com/ada\r\n"
    "PHOTO;ENCODING=b;TYPE=JPEG:" + "\r\n ".join(PHOTO[start : start + 70] for start in range(0, len(PHOTO), 70)) + "\r\n"
    "NOTE:First\\, and last\r\nREV:2020-01-01T00:00:00Z\r\nEND:VCARD\r\n"
)
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Phone//EN\r\nX-WR-ODD;P=1:kept\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\n"
    "BEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\n"
    "END:STANDARD\r\nBEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\n"
    "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART;TZID=Europe/Paris:20260301T100000\r\nDTEND;TZID=Europe/Paris:20260301T101500\r\nSUMMARY:Stand-up\r\n"
    "RRULE:FREQ=WEEKLY;BYDAY=SU;COUNT=6\r\nEXDATE;TZID=Europe/Paris:20260308T100000\r\nX-APPLE-TRAVEL;VALUE=DURATION:PT30M\r\n"
    "BEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT15M\r\nDESCRIPTION:Soon\r\nX-ALARM-ODD:1\r\nEND:VALARM\r\nEND:VEVENT\r\n"
    "BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\nRECURRENCE-ID;TZID=Europe/Paris:20260315T100000\r\n"
    "DTSTART;TZID=Europe/Paris:20260315T110000\r\nDTEND;TZID=Europe/Paris:20260315T111500\r\nSUMMARY:Late\r\nX-CHILD-ODD:2\r\nEND:VEVENT\r\n"
    "END:VCALENDAR\r\n"
)
CONTACTS, EVENTS, FILES = "io.cozy.contacts", "io.cozy.calendar.events", "io.cozy.files"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}", scope=(CONTACTS, EVENTS, FILES))


def lines(text: bytes) -> list[str]:
    return text.decode().split("\r\n")


def changed_lines(before: str, after: bytes) -> tuple[set[str], set[str]]:
    old, new = before.split("\r\n"), lines(after)
    return set(old) - set(new), set(new) - set(old)


def only(client: Client, doctype: str, key: str, value: str) -> dict[str, object]:
    found = client.api("GET", f"/data/{doctype}/_all_docs?include_docs=true").json["rows"]
    documents = [row["doc"] for row in found if row["doc"].get(key) == value]
    assert len(documents) == 1
    document: dict[str, object] = documents[0]
    return document


@pytest.mark.parametrize("way", ["put", "graft"])
def test_a_card_keeps_everything_but_what_an_app_edits(alice: Client, way: str):
    card, path = CARD.format(uid=f"ada-{way}"), f"/sync/dav/me/contacts/ada-{way}.vcf"
    with alice.watch(CONTACTS) as watch:
        made = alice.dav("PUT", path, card, If_None_Match="*")
        assert (made.status, watch.next()["event"]) == (201, "CREATED")
        assert alice.dav("GET", path).body == card.encode()
        doc = next(one for one in all_docs(alice, CONTACTS) if one.get("note") == "First, and last" and not one.get("jobTitle"))
        assert doc["email"] == [{"address": "ada@example.org", "label": "home", "primary": True}]
        assert doc["phone"] == [{"number": "+33 6 12 34 56 78", "type": "cell", "label": "home", "primary": True}]
        assert "PHOTO" not in str(doc)
        assert "X-ODD" not in str(doc)
        edit(alice, CONTACTS, doc | {"jobTitle": "Analyst, first"}, way)
        event = watch.next()
        assert (event["event"], event["payload"]["doc"]["jobTitle"]) == ("UPDATED", "Analyst, first")
        assert "dav" not in event["payload"]["doc"]
        assert watch.quiet()
        back = alice.dav("GET", path)
        gone, new = changed_lines(card, back.body)
        assert new - {line for line in new if line.startswith("REV:")} == {"TITLE:Analyst\\, first"}
        assert {line for line in gone if not line.startswith("REV:")} == set()
        assert back.etag != made.etag
        assert alice.dav("PUT", path, card, If_Match=made.etag).status == 412
        assert alice.dav("DELETE", path, If_Match=back.etag).status == 204
        assert watch.next()["event"] == "DELETED"


@pytest.mark.parametrize("way", ["put", "graft"])
def test_an_event_keeps_everything_but_what_an_app_edits(alice: Client, way: str):
    text, path = EVENT.format(uid=f"standup-{way}"), f"/sync/dav/me/calendar/standup-{way}.ics"
    with alice.watch(EVENTS) as watch:
        assert alice.dav("PUT", path, text).status == 201
        assert watch.next()["event"] == "CREATED"
        assert alice.dav("GET", path).body == text.encode()
        doc = only(alice, EVENTS, "label", "Stand-up")
        assert doc["start"] == "2026-03-01T10:00:00+01:00"
        assert doc["timezone"] == "Europe/Paris"
        assert doc["overrides"] == {
            "2026-03-08T10:00:00": {"excluded": True},
            "2026-03-15T10:00:00": {
                "start": "2026-03-15T11:00:00+01:00",
                "end": "2026-03-15T11:15:00+01:00",
                "label": "Late",
                "alarms": None,
            },
        }
        assert doc["bounds"] == {"start": "2026-03-01T09:00:00Z", "end": "2026-04-05T08:15:00Z"}
        public = {key: value for key, value in doc.items() if key != "bounds"} if way == "graft" else doc
        edit(alice, EVENTS, public | {"label": "Weekly", "location": "B209"}, way)
        assert watch.next()["event"] == "UPDATED"
        if way == "graft":
            assert watch.next()["payload"]["doc"]["bounds"] == doc["bounds"]  # the follow-up revision
        assert watch.quiet()
        gone, new = changed_lines(text, alice.dav("GET", path).body)
        stamps = ("DTSTAMP", "LAST-MODIFIED", "SEQUENCE")
        assert {line for line in new if not line.startswith(stamps)} == {"SUMMARY:Weekly", "LOCATION:B209"}
        assert {line for line in gone if not line.startswith(stamps)} == {"SUMMARY:Stand-up"}
        assert alice.dav("DELETE", path).status == 204


def test_an_app_s_contact_and_event_are_on_the_phone(alice: Client):
    person = alice.api("POST", f"/data/{CONTACTS}/", {"name": {"givenName": "Grace", "familyName": "Hopper"}}).json
    happening = alice.api("POST", f"/data/{EVENTS}/", {"label": "Launch", "start": "2026-05-01", "end": "2026-05-02"}).json
    card = alice.dav("GET", f"/sync/dav/me/contacts/{person['id']}.vcf")
    event = alice.dav("GET", f"/sync/dav/me/calendar/{happening['id']}.ics")
    assert "N:Hopper;Grace;;;" in lines(card.body)
    assert f"UID:{person['id']}" in lines(card.body)
    assert "DTSTART;VALUE=DATE:20260501" in lines(event.body)
    assert happening["data"]["bounds"] == {"start": "2026-04-30T10:00:00Z", "end": "2026-05-02T14:00:00Z"}


def test_a_file_is_one_file_by_both_doors(alice: Client):
    with alice.watch(FILES) as watch:
        assert alice.dav("PUT", "/sync/files/both.txt", b"by DAV\n").status == 201
        assert watch.next()["event"] == "CREATED"
        found = alice.api("GET", "/files/metadata?Path=/both.txt").json["data"]
        assert alice.api("GET", f"/files/download/{found['id']}").body == b"by DAV\n"
        written = alice.api("PUT", f"/files/{found['id']}", b"by JSON\n", Content_Type="text/plain", If_Match=found["meta"]["rev"])
        assert (written.status, watch.next()["event"]) == (200, "UPDATED")
        got = alice.dav("GET", "/sync/files/both.txt")
        assert got.body == b"by JSON\n"
        assert got.etag == f'"{written.json["data"]["meta"]["rev"]}"'
        assert alice.dav("DELETE", "/sync/files/both.txt").status == 204
        assert watch.next()["payload"]["doc"]["trashed"] is True
        assert watch.quiet()
    assert alice.api("GET", f"/files/{found['id']}").json["data"]["attributes"]["restore_path"] == "/"


def all_docs(client: Client, doctype: str) -> list[dict[str, object]]:
    rows = client.api("GET", f"/data/{doctype}/_all_docs?include_docs=true").json["rows"]
    return [row["doc"] for row in rows]


def edit(client: Client, doctype: str, doc: dict[str, object], way: str) -> None:
    """Edit a document as an app does, or as a replica that knows only the public fields."""
    if way == "put":
        answer = client.api("PUT", f"/data/{doctype}/{doc['_id']}", doc)
        assert answer.status == 200, answer.body
        return
    number, _, digest = str(doc["_rev"]).partition("-")
    rev = f"{int(number) + 1}-{'e' * 32}"
    revisions = {"start": int(number) + 1, "ids": ["e" * 32, digest]}
    answer = client.api("POST", f"/data/{doctype}/_bulk_docs", {"new_edits": False, "docs": [doc | {"_rev": rev, "_revisions": revisions}]})
    assert (answer.status, answer.json) == (201, [])
