"""After an import a phone syncs: every live contact and event is listed with a text of its own, edits go both ways."""

import base64
import json
import re
from typing import Any

import pytest

from tests.moving_in.conftest import player
from tests.moving_in.player import ACCESS, FIXTURE, Answer, Player
from tests.support.serving import Served

DOMAIN, PREFIX = ACCESS["domain"], ACCESS["prefix"]
BOOK, CALENDAR = "/sync/dav/me/contacts/", "/sync/dav/me/calendar/"
SYNC = '<d:sync-collection xmlns:d="DAV:"><d:sync-token/><d:sync-level>1</d:sync-level><d:prop><d:getetag/></d:prop></d:sync-collection>'


def live(doctype: str) -> dict[str, dict[str, Any]]:
    """The winners of a doctype in the dump, but its design documents."""
    found: dict[str, tuple[tuple[bool, int, str], dict[str, Any]]] = {}
    for line in (FIXTURE / "databases" / f"{PREFIX}__{doctype.replace('.', '-')}.jsonl").read_text().splitlines():
        doc = json.loads(line)
        number, _, digest = doc["_rev"].partition("-")
        rank = (not doc.get("_deleted"), int(number), digest)
        if not doc["_id"].startswith("_design/") and (doc["_id"] not in found or rank > found[doc["_id"]][0]):
            found[doc["_id"]] = rank, doc
    return {id: doc for id, (rank, doc) in found.items() if rank[0]}


class Phone:
    """A CardDAV and CalDAV client with a device password."""

    def __init__(self, server: Served) -> None:
        password = server.password(domain=DOMAIN)
        self._who = Player(server.port, "")
        self._authorization = "Basic " + base64.b64encode(f"me:{password}".encode()).decode()

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        sent = {"Authorization": self._authorization, "Content-Type": "application/xml; charset=utf-8"} | headers
        return self._who.ask(method, path, sent, body.encode())

    def hrefs(self, collection: str) -> list[str]:
        answer = self.ask("REPORT", collection, SYNC)
        assert answer.status == 207, answer.body
        return re.findall(rf"<(?:\w+:)?href>({collection}[^<]+)</", answer.body.decode())


@pytest.fixture(scope="module")
def phone(used: Served) -> Phone:
    return Phone(used)


def test_every_live_contact_is_listed_and_has_a_card(phone: Phone):
    hrefs = phone.hrefs(BOOK)
    contacts = {id: doc for id, doc in live("io.cozy.contacts").items() if not doc.get("trashed")}
    cards = [phone.ask("GET", href).body.decode() for href in hrefs]
    people = [card for card in cards if "X-ADDRESSBOOKSERVER-KIND" not in card and "KIND:group" not in card]
    assert len(people) == len(contacts)
    assert all(card.startswith("BEGIN:VCARD") and "FN" in card for card in cards)
    groups = {id: doc["name"] for id, doc in live("io.cozy.contacts.groups").items() if not doc.get("trashed")}
    named = {
        id: sorted(groups[one["_id"]] for one in doc.get("relationships", {}).get("groups", {}).get("data", []) if one["_id"] in groups)
        for id, doc in contacts.items()
    }
    assert any(named.values())
    told = {}
    for card in people:
        lines = dict(re.findall(r"^(UID|CATEGORIES):(.*)\r$", card.replace("\r\n ", ""), re.MULTILINE))
        told[lines["UID"].replace("\\", "")] = sorted(lines["CATEGORIES"].split(",")) if "CATEGORIES" in lines else []
    assert told == named


def test_every_live_event_and_task_is_listed_and_has_a_text(phone: Phone):
    hrefs = phone.hrefs(CALENDAR)
    texts = [phone.ask("GET", href).body.decode() for href in hrefs]
    assert all(text.startswith("BEGIN:VCALENDAR") for text in texts)
    wanted = live("io.cozy.calendar.events") | live("io.cozy.calendar.todos")
    assert len(texts) == len(wanted)


def test_an_edit_on_the_phone_shows_in_json_and_the_reverse(used: Served, phone: Phone):
    who = player(used)
    href = next(href for href in phone.hrefs(BOOK) if "Durand" in phone.ask("GET", href).body.decode())
    before = phone.ask("GET", href)
    card = (
        before.body.decode().replace("END:VCARD", "NOTE:from the phone\r\nEND:VCARD")
        if "NOTE" not in before.body.decode()
        else re.sub(r"NOTE[^\r\n]*", "NOTE:from the phone", before.body.decode())
    )
    assert phone.ask("PUT", href, card, **{"Content-Type": "text/vcard", "If-Match": before.headers["etag"]}).status in (201, 204)
    headers = {"Authorization": f"Bearer {who.token}", "Content-Type": "application/json"}
    rows = json.loads(who.ask("GET", "/data/io.cozy.contacts/_all_docs?include_docs=true", headers).body)["rows"]
    doc = next(row["doc"] for row in rows if row["doc"].get("note") == "from the phone")
    known = live("io.cozy.contacts")[doc["_id"]]
    for name in ("fullname", "address", "me", "cozy"):
        assert doc.get(name) == known.get(name)
    body = json.dumps({name: value for name, value in doc.items() if name != "_type"} | {"note": "from an app"}).encode()
    assert who.ask("PUT", f"/data/io.cozy.contacts/{doc['_id']}", headers, body).status == 200
    assert "NOTE:from an app" in phone.ask("GET", href).body.decode()
