"""Polls and listings of 5,000 items over DAV."""

import base64
import http.client
import statistics
import time

from benchmarks.load import table, verdict
from tests.support.serving import Served

ITEMS = 5000
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\nBEGIN:VEVENT\r\nUID:{n}\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:2026{month:02d}{day:02d}T090000Z\r\nDTEND:2026{month:02d}{day:02d}T100000Z\r\nSUMMARY:Event {n}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
POLL = '<propfind xmlns="DAV:" xmlns:CS="http://calendarserver.org/ns/"><prop><CS:getctag/><sync-token/></prop></propfind>'
ETAGS = '<propfind xmlns="DAV:"><prop><getetag/><resourcetype/><getcontenttype/></prop></propfind>'
RCLONE = (
    '<propfind xmlns="DAV:" xmlns:oc="http://owncloud.org/ns"><prop><displayname/><getlastmodified/><getcontentlength/>'
    "<resourcetype/><getcontenttype/><oc:checksums/></prop></propfind>"
)
SYNC = '<sync-collection xmlns="DAV:"><sync-token>{token}</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>'
MONTH = (
    '<C:calendar-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/><C:calendar-data/></prop><C:filter>'
    '<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20260301T000000Z" end="20260401T000000Z"/>'
    "</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"
)


class Client:
    """A keep-alive DAV client."""

    def __init__(self, server: Served) -> None:
        self._connection = http.client.HTTPConnection("localhost", server.port, timeout=60)
        password = server.password(name="bench")
        self._headers = {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}

    def __call__(self, method: str, path: str, body: str | bytes = b"", **headers: str) -> bytes:
        self._connection.request(method, path, body, self._headers | headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return text


def milliseconds(step: object, count: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        step()  # type: ignore[operator]
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def measure(server: Served) -> None:
    """Print the table."""
    client, calendar = Client(server), "/sync/dav/me/calendar/"
    began = time.perf_counter()
    for number in range(ITEMS):
        client("PUT", f"{calendar}{number}.ics", EVENT.format(n=number, month=number % 12 + 1, day=number % 28 + 1))
    events = ITEMS / (time.perf_counter() - began)
    client("MKCOL", "/sync/files/many")
    began = time.perf_counter()
    for number in range(ITEMS):
        client("PUT", f"/sync/files/many/{number}.txt", b"hello")
    files = ITEMS / (time.perf_counter() - began)
    poll = milliseconds(lambda: client("PROPFIND", calendar, POLL, Depth="0"), 200)
    etags = milliseconds(lambda: client("PROPFIND", calendar, ETAGS, Depth="1"), 5)
    month = milliseconds(lambda: client("REPORT", calendar, MONTH, Depth="1"), 5)
    listing = milliseconds(lambda: client("PROPFIND", "/sync/files/many/", RCLONE, Depth="1"), 5)
    token = client("PROPFIND", calendar, POLL, Depth="0").decode().split("sync-token>")[1].removesuffix("</D:")
    client("PUT", f"{calendar}0.ics", EVENT.format(n=0, month=5, day=5))
    sync = milliseconds(lambda: client("REPORT", calendar, SYNC.format(token=token)), 50)
    rows = [
        (f"poll of a calendar of {ITEMS}", f"{poll:.2f} ms", "<= 2 ms", verdict(poll <= 2)),
        (f"PROPFIND depth 1 of {ITEMS} files, rclone's six", f"{listing:.0f} ms", "<= 100 ms", verdict(listing <= 100)),
        (f"PROPFIND depth 1 with ETags of {ITEMS} events", f"{etags:.0f} ms", "", ""),
        ("sync-collection after one change", f"{sync:.2f} ms", "", ""),
        ("calendar-query of a month", f"{month:.0f} ms", "", ""),
        (f"PUT of events, up to {ITEMS}", f"{events:.0f}/s", "", ""),
        (f"PUT of files, up to {ITEMS}", f"{files:.0f}/s", "", ""),
    ]
    table("DAV", rows)
