"""Listings and writes of 5,000 files over WebDAV; calendars and address books are in `pim.py`."""

import base64
import http.client
import statistics
import time

from benchmarks.load import table, verdict
from tests.support.serving import Served

ITEMS = 5000
RCLONE = (
    '<propfind xmlns="DAV:" xmlns:oc="http://owncloud.org/ns"><prop><displayname/><getlastmodified/><getcontentlength/>'
    "<resourcetype/><getcontenttype/><oc:checksums/></prop></propfind>"
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
    client = Client(server)
    client("MKCOL", "/sync/files/many")
    began = time.perf_counter()
    for number in range(ITEMS):
        client("PUT", f"/sync/files/many/{number}.txt", b"hello")
    files = ITEMS / (time.perf_counter() - began)
    listing = milliseconds(lambda: client("PROPFIND", "/sync/files/many/", RCLONE, Depth="1"), 5)
    rows = [
        (f"PROPFIND depth 1 of {ITEMS} files, rclone's six", f"{listing:.0f} ms", "<= 100 ms", verdict(listing <= 100)),
        (f"PUT of files, up to {ITEMS}", f"{files:.0f}/s", "", ""),
    ]
    table("DAV", rows)
