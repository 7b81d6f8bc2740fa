"""Many devices at once, and one large calendar: what `docs/performance.md` calls the load of DAV."""

import threading
import time
from collections.abc import Iterator

from benchmarks.load import Figure, line, table
from benchmarks.pim import CALDAV, PROPS, SYNC, Client, milliseconds
from tests.support import davload
from tests.support.serving import Served

CLIENTS, SECONDS, ITEMS, STEP = 64, 60, 10_000, 100
"""Of the two minutes that `tests/faults/test_dav_load.py` takes, one."""


def measure(server: Served) -> None:
    """Print the tables."""
    password = server.password(name="devices")
    client = Client(server.port, password)
    for name in ("crowd", "large"):
        client("MKCALENDAR", davload.CALENDAR.format(name))
    table(f"{CLIENTS} devices that poll and sync for {SECONDS} s", _crowd(server, client, password))
    table("a large calendar", _large(client))


def _crowd(server: Served, client: Client, password: str) -> Iterator[Figure]:
    alone = davload.run(server.port, password, "crowd", clients=CLIENTS, seconds=SECONDS)
    before = alone.percentile(0.99)
    yield line(f"{len(alone.times)} requests, p99", f"{before:.0f} ms", "<= 500 ms", holds=before <= 500)
    ended = 0.0

    def add() -> None:
        nonlocal ended
        client("POST", davload.CALENDAR.format("large"), davload.many_events(ITEMS), Content_Type="text/calendar")
        ended = time.monotonic()

    adding, began = threading.Thread(target=add), time.monotonic()
    adding.start()
    beside = davload.run(server.port, password, "crowd", clients=CLIENTS, seconds=SECONDS / 2)
    adding.join()
    meanwhile = beside.percentile(0.99, until=ended)
    yield line(f"while {ITEMS:,} events are imported, p99", f"{meanwhile:.0f} ms", "<= twice that", holds=meanwhile <= 2 * before)
    yield line("the import", f"{ended - began:.0f} s")
    errors = len(alone.errors) + len(beside.errors)
    yield line("errors", str(errors), "0", holds=not errors)


def _large(client: Client) -> Iterator[Figure]:
    path = davload.CALENDAR.format("large")
    began = time.perf_counter()
    text = client("REPORT", path, SYNC.format(token=""))
    hrefs = list(davload.entries(text))
    for start in range(0, len(hrefs), STEP):
        inner = "".join(f"<href>{href}</href>" for href in hrefs[start : start + STEP])
        asked = f"<prop><getetag/><C:calendar-data/></prop>{inner}"
        client("REPORT", path, f"<C:calendar-multiget {PROPS} {CALDAV}>{asked}</C:calendar-multiget>")
    whole = time.perf_counter() - began
    yield line(f"first sync of {len(hrefs):,} events, {STEP} by {STEP}", f"{whole:.1f} s", "<= 60 s", holds=whole <= 60)
    token = text.rpartition("<D:sync-token>")[2].partition("<")[0]
    client("PUT", f"{path}one-more.ics", davload.EVENT.format(uid="one-more", month=1, day=1, text="x"), Content_Type="text/calendar")
    sync = milliseconds(lambda: client("REPORT", path, SYNC.format(token=token)), 20)
    yield line("sync after one change", f"{sync:.1f} ms", "<= 50 ms", holds=sync <= 50)
