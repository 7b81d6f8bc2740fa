"""vdirsyncer between a folder and the server: both ways, deletions, conflicts."""

from pathlib import Path

import pytest

from tests.support.serving import Served
from tests.support.vdirsyncer import Syncer

CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\nX-ODD;X-P=1:keep, me\r\nEND:VCARD\r\n"
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20260301T090000Z\r\nDTEND:20260301T100000Z\r\nSUMMARY:{name}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


@pytest.mark.parametrize(("kind", "form", "field"), [("carddav", CARD, "FN"), ("caldav", EVENT, "SUMMARY")])
def test_it_syncs_both_ways_with_deletions_and_conflicts(fresh: Served, tmp_path: Path, kind: str, form: str, field: str):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    laptop, phone = Syncer(fresh, one, kind), Syncer(fresh, other, kind)
    extension = ".vcf" if kind == "carddav" else ".ics"
    for uid in ("a", "b", "c"):
        (laptop.folder / f"{uid}{extension}").write_bytes(form.format(uid=uid, name=f"Name {uid}").encode())
    laptop("discover")
    laptop("sync")
    phone("discover")
    phone("sync")
    texts = {text for text in phone.files().values() if "Name" in text}
    assert texts == {form.format(uid=uid, name=f"Name {uid}") for uid in "abc"}

    named = {text.split("UID:")[1].split("\r\n")[0]: name for name, text in phone.files().items() if "Name" in text}
    (phone.folder / named["b"]).unlink()
    changed = phone.folder / named["a"]
    changed.write_bytes(changed.read_bytes().replace(b"Name a", b"Changed on the phone"))
    phone("sync")
    laptop("sync")
    assert f"b{extension}" not in laptop.files()
    assert f"{field}:Changed on the phone" in laptop.files()[f"a{extension}"]

    there = phone.folder / named["c"]
    there.write_bytes(there.read_bytes().replace(b"Name c", b"Phone says"))
    phone("sync")
    here = laptop.folder / f"c{extension}"
    here.write_bytes(here.read_bytes().replace(b"Name c", b"Laptop says"))
    laptop("sync")
    assert f"{field}:Phone says" in laptop.files()[f"c{extension}"]
