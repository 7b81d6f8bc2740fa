"""khal and khard, a calendar and an address book for the terminal, over folders that vdirsyncer keeps equal with the server.

khal comes from PyPI, khard from Debian (0.18): on PyPI khard is a source whose build needs more than a locked set of wheels.
"""

import sys
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.support.client import Client
from tests.support.serving import Served, run
from tests.support.vdirsyncer import Syncer

CALENDAR, BOOK = "/sync/dav/me/calendar/", "/sync/dav/me/contacts/"
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:phone\r\nFN:Marie Curie\r\nN:Curie;Marie;;;\r\nTEL;TYPE=CELL:+33 1\r\nEND:VCARD\r\n"


@pytest.fixture
def phone(fresh: Served) -> Client:
    return Client(fresh, host=f"localhost:{fresh.port}")


def test_khal_adds_and_shows_events(fresh: Served, phone: Client, tmp_path: Path):
    syncer = Syncer(fresh, tmp_path, "caldav")
    config = tmp_path / "khal"
    config.write_text(
        f"[calendars]\n[[alice]]\npath = {syncer.folder}\n[sqlite]\npath = {tmp_path}/khal.db\n[locale]\ndefault_timezone = Europe/Paris\n"
        "local_timezone = Europe/Paris\ntimeformat = %H:%M\ndateformat = %Y-%m-%d\nlongdateformat = %Y-%m-%d\n"
        "datetimeformat = %Y-%m-%d %H:%M\nlongdatetimeformat = %Y-%m-%d %H:%M\n"
    )

    def khal(*arguments: str) -> str:
        done = run([str(Path(sys.executable).parent / "khal"), "-c", str(config), *arguments], timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    syncer("discover")
    syncer("sync")
    khal("new", "-a", "alice", "-r", "weekly", "-u", "2026-03-30", "2026-03-10", "09:00", "10:00", "Choir")
    syncer("sync")
    text = phone.dav("GET", CALENDAR).body.decode()
    assert "SUMMARY:Choir" in text
    assert "DTSTART;TZID=Europe/Paris:20260310T090000" in text
    query = (
        '<C:calendar-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/></prop><C:filter>'
        '<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20260324T000000Z" end="20260325T000000Z"/>'
        "</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"
    )
    listed = phone.dav("REPORT", CALENDAR, query, Depth="1")
    href = listed.body.decode().split("<D:href>")[1].split("<")[0]
    kept = phone.dav("GET", href)
    changed = kept.body.replace(b"SUMMARY:Choir", b"SUMMARY:Choir and cake")
    assert phone.dav("PUT", href, changed, If_Match=kept.etag, Content_Type="text/calendar").status == 204
    syncer("sync")
    assert "09:00-10:00 Choir and cake" in khal("list", "2026-03-24", "1d")


@pytest.mark.tool
def test_khard_adds_and_shows_cards(fresh: Served, phone: Client, tmp_path: Path):
    needs("khard")
    syncer = Syncer(fresh, tmp_path, "carddav")
    config, new = tmp_path / "khard.conf", tmp_path / "new.yaml"
    config.write_text(f"[addressbooks]\n[[alice]]\npath = {syncer.folder}\n[general]\neditor = true\nmerge_editor = true\n")
    new.write_text('First name: Ada\nLast name: Lovelace\nEmail:\n    home: ada@example.org\nPhone:\n    cell: "+44 1"\n')

    def khard(*arguments: str) -> str:
        done = run(["khard", "-c", str(config), *arguments], timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    syncer("discover")
    syncer("sync")
    khard("new", "-a", "alice", "-i", str(new))
    syncer("sync")
    text = phone.dav("GET", BOOK).body.decode()
    assert "FN:Ada Lovelace" in text
    assert "ada@example.org" in text
    assert phone.dav("PUT", f"{BOOK}phone.vcf", CARD, If_None_Match="*", Content_Type="text/vcard").status == 201
    syncer("sync")
    assert "Marie Curie" in khard("list")
    assert "+33 1" in khard("show", "--format", "yaml", "Marie Curie")
