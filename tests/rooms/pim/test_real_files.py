"""Every .ics and .vcf that libraries ship goes in and comes out byte for byte, or is refused for a reason.

Installed files of icalendar and recurring-ical-events; the source distributions of vobject 0.9.8 and khard 0.21, fetched
by pip once a session.
"""

import re
import subprocess
import sys
import sysconfig
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd import jsons
from cozyd.documents.store import Ref, Stored
from cozyd.errors import Invalid
from cozyd.pim import ical, resource, vcard
from cozyd.pim.content import Component, Line, tree

SITE = Path(sysconfig.get_paths()["purelib"])
REASONS = {
    "valid-calendar-data",
    "valid-calendar-object-resource",
    "supported-calendar-component",
    "valid-address-data",
    "max-resource-size",
    "max-instances",
}


def installed() -> list[Path]:
    return sorted(path for name in ("icalendar", "recurring_ical_events", "vobject") for path in (SITE / name).rglob("*.ics"))


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdists")
    for name in ("vobject==0.9.8", "khard==0.21.0"):
        source_only = ("--no-deps", "--no-binary", ":all:", "-d", str(folder))
        command = [sys.executable, "-m", "pip", "download", "-q", *source_only, name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and not list(folder.glob(f"{name.split('=')[0]}*")):
            pytest.skip(f"pip cannot fetch {name}: {done.stderr.strip().splitlines()[-1:]}")
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as opened:
            opened.extractall(folder / "unpacked", filter="data")
    return folder / "unpacked"


def _is_of(one: Component | Line, uid: str | None) -> bool:
    return not isinstance(one, Component) or one.name == "VTIMEZONE" or one.value("UID") == uid


def objects(raw: bytes) -> Iterator[bytes]:
    """What a client would send: one object for each UID; a file of one object as it is."""
    try:
        calendar = tree(raw, "VCALENDAR")
    except Invalid:
        yield raw
        return
    uids = {one.value("UID") for one in calendar.components(*ical.COMPONENTS)}
    if len(uids) < 2:
        yield raw
        return
    for uid in sorted(uids):
        inner = b"".join(one.render() if isinstance(one, Component) else one.raw for one in calendar.children if _is_of(one, uid))
        assert calendar.end is not None
        yield calendar.begin.raw + inner + calendar.end.raw


def check(raw: bytes, *, card: bool) -> str:
    """Empty when the text survives; else why it is refused."""
    try:
        parsed = vcard.parse(raw) if card else ical.parse(raw)
    except Invalid as error:
        return f"{error.source}: {error.detail}" if error.source in REASONS else pytest.fail(f"refused without a reason: {error}")
    kind = "VCARD" if card else ical.kind_of(parsed)
    fields = (vcard if card else ical).read(parsed)
    doc = (vcard if card else ical).apply(parsed, {})
    record = resource.new_record(kind, "x", "uid", raw, fields, "2026-01-01T00:00:00Z")
    doctype = next(name for name, known in resource.KIND_OF.items() if known == kind)
    stored = Stored(Ref(doctype, "id"), "1-a", jsons.dump(doc), private=jsons.dump({"dav": record}))
    assert resource.text(stored) == raw
    edited = Stored(
        Ref(doctype, "id"),
        "2-a",
        jsons.dump(doc | {"note" if card else "location": "Edited; here, now"}),
        private=jsons.dump({"dav": record}),
    )
    if not doc.get("orphan"):
        again = resource.text(edited)
        assert (b"NOTE" if card else b"LOCATION") in again
        read = (vcard.read(vcard.parse(again)) if card else ical.read(ical.parse(again)))["note" if card else "location"]
        assert read == "Edited; here, now"
    return ""


def report(title: str, refused: Counter[str], taken: int) -> None:
    print(f"\n{title}: {taken} objects kept byte for byte, {refused.total()} refused")
    for reason, count in refused.most_common():
        print(f"  {count:3} {reason}")


def test_installed_calendars_survive_or_are_refused_with_a_reason():
    refused: Counter[str] = Counter()
    taken = 0
    paths = installed()
    for path in paths:
        for raw in objects(path.read_bytes()):
            reason = check(raw, card=False)
            refused[re.sub(r"'.*", "", reason)] += bool(reason)
            taken += not reason
    report("installed .ics", +refused, taken)
    assert len(paths) >= 150
    assert taken >= 60


@pytest.mark.timeout(180)
def test_vobject_s_calendars_and_khard_s_cards_survive_or_are_refused(fetched: Path):
    for pattern, card, least in (("*.ics", False, 5), ("*.vcf", True, 10)):
        refused: Counter[str] = Counter()
        taken = 0
        for path in sorted(fetched.rglob(pattern)):
            for raw in [path.read_bytes()] if card else objects(path.read_bytes()):
                reason = check(raw, card=card)
                refused[re.sub(r"'.*", "", reason)] += bool(reason)
                taken += not reason
        report(pattern, +refused, taken)
        assert taken >= least
