"""An export of the old node.js cozy comes into an instance: files, contacts, calendars, albums; what has no place is listed."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.support.command import Command, Done

CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada Lovelace\r\nN:Lovelace;Ada;;;\r\nTEL;TYPE=CELL:+33 6 00\r\nEND:VCARD\r\n"
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x\r\nBEGIN:VEVENT\r\nUID:e1\r\nDTSTAMP:20160101T000000Z\r\nDTSTART:20160501T100000Z\r\n"
    "SUMMARY:Picnic\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
DOMAIN = "ada.example.org"


@pytest.fixture
def run(tmp_path: Path) -> Command:
    command = Command(tmp_path / "data")
    assert command("instances", "add", DOMAIN, "--passphrase", "correct horse battery").status == 0
    return command


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    for name, text in {
        "files/Photos/été.jpg": "picture",
        "files/letter.txt": "Dear",
        "contacts/Ada.vcf": CARD,
        "contacts/broken.vcf": "no card",
        "calendars/Home.ics": EVENT,
        "albums/albums.json": json.dumps({"_id": "a1", "type": "io.cozy.photos.albums", "name": "Summer"}) + "\n",
        "albums/references.json": json.dumps({"albumid": "a1", "filepath": "/Photos/été.jpg"}) + "\n",
        "notes/1.json": "{}",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, newline="")
    return folder


def troubles(done: Done) -> list[tuple[str, str]]:
    return [(step["kind"], step["name"]) for step in map(json.loads, done.out.splitlines()) if step["step"] == "trouble"]


def moved(done: Done) -> dict[str, int]:
    found = next(step for step in map(json.loads, done.out.splitlines()) if step["step"] == "moved")
    return {name: count for name, count in found.items() if name not in ("step", "domain")}


WHOLE = {"files": 2, "contacts": 1, "calendar_objects": 1, "albums": 1}
LEFT = [("not_brought", "contacts/broken.vcf"), ("not_brought", "notes/1.json")]


def test_an_export_comes_in_and_what_cannot_is_listed(run: Command, export: Path, tmp_path: Path):
    done = run("import-cozy", str(export), "--domain", DOMAIN, "--json")
    assert (done.status, moved(done), troubles(done)) == (1, WHOLE, LEFT)
    again = run("import-cozy", str(export), "--domain", DOMAIN, "--json")
    assert (moved(again), troubles(again)) == (WHOLE, LEFT)
    assert run("files", "export", DOMAIN, str(tmp_path / "out")).status == 0
    assert (tmp_path / "out" / "letter.txt").read_text() == "Dear"
    assert (tmp_path / "out" / "Photos" / "été.jpg").read_text() == "picture"


def test_a_tar_file_is_taken_as_its_folder_is(run: Command, export: Path, tmp_path: Path):
    packed = tmp_path / "cozy.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        for path in sorted(export.iterdir()):
            tar.add(path, path.name)
    done = run("import-cozy", str(packed), "--domain", DOMAIN, "--json")
    assert (moved(done), troubles(done)) == (WHOLE, LEFT)
    packed.write_bytes(packed.read_bytes()[:200])
    assert "no whole tar file" in run("import-cozy", str(packed), "--domain", DOMAIN).err


def test_a_dry_run_counts_and_writes_nothing(run: Command, export: Path, tmp_path: Path):
    done = run("import-cozy", str(export), "--domain", DOMAIN, "--dry-run", "--json")
    assert moved(done) == WHOLE
    assert run("files", "export", DOMAIN, str(tmp_path / "out")).status == 0
    assert not (tmp_path / "out" / "letter.txt").exists()


def test_it_needs_an_instance_to_go_into(run: Command, export: Path):
    assert "which instance" in run("import-cozy", str(export)).err
    assert run("import-cozy", str(export), "--domain", "nobody.example.org").status == 1
