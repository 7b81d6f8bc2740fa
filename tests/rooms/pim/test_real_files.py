"""Every .ics and .vcf that libraries ship goes in and comes out byte for byte, or is refused for a reason.

Installed files of icalendar and recurring-ical-events; the source distributions of vobject 0.9.8 and khard 0.21, fetched
by pip once a session; the package of ical.js 1.0.0, by npm: the last one that has its files.
"""

import re
import subprocess
import sys
import sysconfig
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest

from cozyd.errors import Invalid
from cozyd.pim import Collection, Pim, ical, resource, split
from tests.conftest import needs
from tests.support.stack import Clock, open_stack

SITE = Path(sysconfig.get_paths()["purelib"])
NO_CLIENT_COULD_USE = {
    r"valid-calendar-data: A \w+ stands where a VCALENDAR is expected": "a part, which parsers are tested with (RFC 4791, 4.1)",
    r"valid-calendar-data: There are \d+ objects where one VCALENDAR is expected": "several such parts in one file",
    r"valid-calendar-data: An event needs a DTSTART": "no time to show it at (RFC 5545, 3.6.1)",
    r"valid-calendar-data: DTSTART is no time": "the same",
    r"valid-calendar-data: (VCALENDAR|V|\0) has no end|.*: END:\w+ does not end BEGIN:\w+": "cut off or misspelt",
    r"valid-calendar-data: A line (has no colon|has no property name|stands outside of any object).*": "no content line (RFC 5545, 3.1)",
    r"valid-calendar-object-resource: The object has two masters": "two events of one UID (RFC 4791, 4.1)",
    r"valid-calendar-object-resource: There is no event, todo or journal in it": "nothing in it",
    r"supported-calendar-component: (VFREEBUSY|VAVAILABILITY|DAYLIGHT|(X-)?UNKNOWN) is not stored here": "told, not kept; or nobody's",
    r"valid-address-data: .*(VCARD|stands outside).*": "no whole card",
}
"""Why objects are refused; anything else fails the test."""
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


@pytest.fixture
def pim(tmp_path: Path) -> Iterator[Pim]:
    stack = open_stack(tmp_path / "data", Clock())
    yield stack.create("alice.localhost:1").pim
    stack.close()


def objects(raw: bytes, kind: Literal["book", "calendar"]) -> Sequence[bytes]:
    """What a client sends: each object by itself, invitations without their METHOD; a file that cannot be cut, or has none, as it is."""
    try:
        return list(split.objects(raw, kind)) or [raw]
    except Invalid:
        return [raw]


def refusal(pim: Pim, collection: Collection, raw: bytes, number: int) -> str:
    """Store a text, see that it is listed and comes back byte for byte, and remove it; else why it is refused."""
    href = f"{number}.ics"
    try:
        row = pim.put(collection, href, raw, match="")
    except Invalid as error:
        if error.source not in REASONS:
            pytest.fail(f"refused without a reason: {error}")
        assert not pim.rows(collection, hrefs=[href])
        return f"{error.source}: {re.sub(chr(39) + '.*', '', error.detail)}"
    assert [one.key[1] for one in pim.rows(collection)] == [href]
    served = pim.texts([row])[href]
    assert served == raw or (collection.kind == "book" and b"UID" not in raw)
    assert row.value["etag"] == resource.etag(served)
    assert pim.words(collection).keys() == {href}
    pim.exported([collection])
    pim.delete(collection, href, match=row.value["etag"])
    return ""


def play(pim: Pim, title: str, paths: list[Path], kind: Literal["book", "calendar"]) -> tuple[int, Counter[str]]:
    """Store what is in files; how many objects were taken, and why others were not."""
    collection = pim.make(kind, {"components": " ".join(ical.COMPONENTS)} if kind == "calendar" else {}, id=f"real-{kind}")
    refused: Counter[str] = Counter()
    taken = 0
    for path in paths:
        for number, raw in enumerate(objects(path.read_bytes(), kind)):
            reason = refusal(pim, collection, raw, number)
            refused[reason] += bool(reason)
            taken += not reason
    print(f"\n{title}: {taken} objects kept byte for byte and listed, {refused.total()} refused")
    for reason, count in refused.most_common():
        print(f"  {count:3} {reason}")
    return taken, +refused


def unexpected(refused: Counter[str]) -> set[str]:
    return {reason for reason in refused if not any(re.fullmatch(one, reason, re.DOTALL) for one in NO_CLIENT_COULD_USE)}


def test_installed_calendars_are_kept_or_refused_with_a_reason(pim: Pim):
    paths = installed()
    taken, refused = play(pim, "installed .ics", paths, "calendar")
    assert len(paths) >= 150
    assert taken >= 1_000
    assert not unexpected(refused)


@pytest.mark.timeout(180)
def test_vobject_s_calendars_and_khard_s_cards_are_kept_or_refused(pim: Pim, fetched: Path):
    taken, refused = play(pim, "vobject's and khard's .ics", sorted(fetched.rglob("*.ics")), "calendar")
    assert taken >= 12
    assert not unexpected(refused)
    taken, refused = play(pim, "vobject's and khard's .vcf", sorted(fetched.rglob("*.vcf")), "book")
    assert taken >= 25
    assert not unexpected(refused)


@pytest.mark.timeout(180)
def test_the_files_of_ical_js_are_kept_or_refused(pim: Pim, tmp_path: Path):
    needs("npm")
    done = subprocess.run(["npm", "pack", "--silent", "ical.js@1.0.0"], cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot fetch ical.js: {done.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(tmp_path / done.stdout.strip()) as opened:
        opened.extractall(tmp_path, filter="data")
    paths = sorted((tmp_path / "package").rglob("*.ics"))
    taken, refused = play(pim, "ical.js's .ics", paths, "calendar")
    assert len(paths) >= 40
    assert taken >= 16
    assert not unexpected(refused)
    taken, refused = play(pim, "ical.js's .vcf", sorted((tmp_path / "package").rglob("*.vcf")), "book")
    assert taken >= 2
    assert not unexpected(refused)
