"""Calendars and address books over DAV, each figure beside Radicale's stock server in the same run."""

import base64
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.load import Figure, line, table
from tests.support.serving import Served, eventually, free_port

ITEMS = 5_000
SIZES = (100, 20_000, 50_000)
PROPS, CALDAV, CARDDAV = 'xmlns="DAV:"', 'xmlns:C="urn:ietf:params:xml:ns:caldav"', 'xmlns:C="urn:ietf:params:xml:ns:carddav"'
ZONE = (
    "BEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\n"
    "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\nBEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nTZOFFSETFROM:+0100\r\n"
    "TZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"
)
POLL = f'<propfind {PROPS} xmlns:CS="http://calendarserver.org/ns/"><prop><CS:getctag/><sync-token/></prop></propfind>'
ETAGS = f"<propfind {PROPS}><prop><getetag/></prop></propfind>"
SYNC = f"<sync-collection {PROPS}><sync-token>{{token}}</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>"
MONTH = (
    f'<C:calendar-query {PROPS} {CALDAV}><prop><getetag/><C:calendar-data/></prop><C:filter><C:comp-filter name="VCALENDAR">'
    '<C:comp-filter name="VEVENT"><C:time-range start="20260301T000000Z" end="20260401T000000Z"/>'
    "</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"
)
NAMED = (
    f"<C:addressbook-query {PROPS} {CARDDAV}><prop><getetag/><C:address-data/></prop><C:filter>"
    '<C:prop-filter name="FN"><C:text-match match-type="contains">person 42</C:text-match></C:prop-filter></C:filter></C:addressbook-query>'
)


def event(number: int) -> str:
    """An event of 2020-2027 with a time zone; every tenth recurs weekly."""
    year, month, day = 2020 + number % 8, number // 8 % 12 + 1, number % 28 + 1
    rule = "RRULE:FREQ=WEEKLY;COUNT=20\r\n" if number % 10 == 0 else ""
    return (
        f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\n{ZONE}BEGIN:VEVENT\r\nUID:event-{number}\r\nDTSTAMP:20260101T000000Z\r\n"
        f"DTSTART;TZID=Europe/Paris:{year}{month:02d}{day:02d}T090000\r\nDTEND;TZID=Europe/Paris:{year}{month:02d}{day:02d}T100000\r\n{rule}"
        f"SUMMARY:Event {number}\r\nLOCATION:Room {number % 50}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )


def card(number: int) -> str:
    """A card with the usual fields."""
    return (
        f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:card-{number}\r\nFN:Person {number}\r\nN:{number};Person;;;\r\n"
        f"EMAIL;TYPE=HOME:person{number}@example.org\r\nTEL;TYPE=CELL:+33 6 {number:08d}\r\nORG:Company {number % 100}\r\nEND:VCARD\r\n"
    )


class Client:
    """A keep-alive DAV client."""

    def __init__(self, port: int, password: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        basic = base64.b64encode(f"me:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {basic}", "Host": f"localhost:{port}", "Content-Type": "application/xml"}

    def __call__(self, method: str, path: str, body: str = "", **headers: str) -> str:
        self._connection.request(
            method, path, body.encode(), self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return text.decode()


def milliseconds(step: Callable[[], object], count: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        step()
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)[count // 2]


def _multiget(path: str, name: str) -> str:
    hrefs = "".join(f"<href>{path}{name.format(number)}</href>" for number in range(100))
    return f"<C:calendar-multiget {PROPS} {CALDAV}><prop><getetag/><C:calendar-data/></prop>{hrefs}</C:calendar-multiget>"


def _token(client: Client, calendar: str) -> str:
    return client("PROPFIND", calendar, POLL, Depth="0").split("sync-token>")[1].split("<")[0]


def _after_one_change(client: Client, calendar: str) -> str:
    """A token that one change has come after."""
    token = _token(client, calendar)
    client("PUT", f"{calendar}1.ics", event(1).replace("Event", "Changed"), Content_Type="text/calendar")
    return token


ASKED: Mapping[str, tuple[float, Callable[[Client, str, str], Callable[[], object]]]] = {
    "poll: ctag and sync-token": (2, lambda client, calendar, _: lambda: client("PROPFIND", calendar, POLL, Depth="0")),
    "PROPFIND depth 1, ETags": (100, lambda client, calendar, _: lambda: client("PROPFIND", calendar, ETAGS, Depth="1")),
    "sync-collection from nothing, ETags": (100, lambda client, calendar, _: lambda: client("REPORT", calendar, SYNC.format(token=""))),
    "calendar-query of a month, with data": (40, lambda client, calendar, _: lambda: client("REPORT", calendar, MONTH, Depth="1")),
    "multiget of 100": (15, lambda client, calendar, _: lambda: client("REPORT", calendar, _multiget(calendar, "{}.ics"))),
    "addressbook-query by name": (40, lambda client, _, book: lambda: client("REPORT", book, NAMED, Depth="1")),
    "sync-collection after one change": (
        5,
        lambda client, calendar, _: partial(client, "REPORT", calendar, SYNC.format(token=_after_one_change(client, calendar))),
    ),
}
"""What devices ask of a filled calendar and book: its bar in milliseconds, and the step that asks it."""


def _puts(client: Client, calendar: str, count: int) -> float:
    """New events a second."""
    began = time.perf_counter()
    for number in range(count):
        client("PUT", f"{calendar}new-{number}.ics", event(900_000 + number), Content_Type="text/calendar")
    return count / (time.perf_counter() - began)


def _fill(client: Client, path: str, make: Callable[[int], str], numbers: range, end: str) -> float:
    began = time.perf_counter()
    media = "text/calendar" if end == ".ics" else "text/vcard"
    for number in numbers:
        client("PUT", f"{path}{number}{end}", make(number), Content_Type=media)
    return len(numbers) / (time.perf_counter() - began)


class Radicale:
    """Radicale's own server over its file storage, filled on the disk beforehand."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        root = folder / "radicale" / "collection-root" / "me"
        for name, tag, make, end in (("calendar", "VCALENDAR", event, ".ics"), ("contacts", "VADDRESSBOOK", card, ".vcf")):
            (root / name).mkdir(parents=True)
            (root / name / ".Radicale.props").write_text(json.dumps({"tag": tag}))
            for number in range(ITEMS):
                (root / name / f"{number}{end}").write_bytes(make(number).encode())
        options = ["--server-hosts", f"127.0.0.1:{self.port}", "--storage-filesystem-folder", str(folder / "radicale")]
        command = [sys.executable, "-m", "radicale", "--config", "", *options, "--auth-type", "none", "--logging-level", "error"]
        self.process = subprocess.Popen(command)
        eventually(self._answers, within=20)

    def _answers(self) -> bool:
        try:
            Client(self.port, "x")("OPTIONS", "/")
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)


def measure(server: Served, folder: Path) -> None:
    """Print the table."""
    stock = Radicale(folder)
    try:
        table(f"calendars and contacts of {ITEMS}", _compared(Client(server.port, server.password(name="bench")), Client(stock.port, "x")))
    finally:
        stock.stop()


def _compared(mine: Client, theirs: Client) -> Iterator[Figure]:
    calendar, book = "/sync/dav/me/calendar/", "/sync/dav/me/contacts/"
    first = _fill(mine, calendar, event, range(100), ".ics")
    _fill(mine, calendar, event, range(100, ITEMS), ".ics")
    _fill(mine, book, card, range(ITEMS), ".vcf")
    for name, (bar, step) in ASKED.items():
        ours = milliseconds(step(mine, calendar, book), 100 if bar < 10 else 9)
        yield line(name, f"{ours:.1f} ms", f"<= {bar:g} ms", holds=ours <= bar)
        yield line("  stock Radicale", f"{milliseconds(step(theirs, '/me/calendar/', '/me/contacts/'), 2):.0f} ms")
    rate = _puts(mine, calendar, 200)
    yield line(f"PUT of new events at {ITEMS}; at 100: {first:.0f}/s", f"{rate:.0f}/s", ">= 100/s", holds=rate >= 100)
    yield line("  stock Radicale", f"{_puts(theirs, '/me/calendar/', 3):.1f}/s")


def sizes(server: Served) -> None:
    """Print polls and writes at 100, 20,000 and 50,000 items, in a calendar of each size."""
    table("calendars of other sizes", _sizes(Client(server.port, server.password(name="sizes"))))


def _sizes(client: Client) -> Iterator[Figure]:
    path = "/sync/dav/me/sizes/"
    client("MKCALENDAR", path)
    known = 0
    for size in SIZES:
        many = "".join(event(number).split("END:VTIMEZONE\r\n")[1].removesuffix("END:VCALENDAR\r\n") for number in range(known, size))
        began = time.perf_counter()
        while many:
            cut = many.rfind("BEGIN:VEVENT", 0, 4_000_000) if len(many) > 4_000_000 else len(many)
            client("POST", path, f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{ZONE}{many[:cut]}END:VCALENDAR\r\n", Content_Type="text/calendar")
            many = many[cut:]
        yield line(f"import up to {size:,}", f"{(size - known) / (time.perf_counter() - began):.0f}/s")
        known = size
        poll = milliseconds(lambda: client("PROPFIND", path, POLL, Depth="0"), 100)
        yield line(f"poll at {size:,}", f"{poll:.2f} ms", "<= 2 ms", holds=poll <= 2)
        begin = 10_000_000 + size * 10
        rate = _fill(client, path, event, range(begin, begin + 100), ".ics")
        yield line(f"PUT at {size:,}", f"{rate:.0f}/s", ">= 100/s", holds=rate >= 100)
        month = milliseconds(lambda: client("REPORT", path, MONTH, Depth="1"), 5)
        yield line(f"calendar-query of a month at {size:,}", f"{month:.0f} ms")
