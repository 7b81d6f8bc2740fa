"""Many devices at once, and one large calendar: what `docs/performance.md` calls the load of DAV."""

import threading
import time

from benchmarks.load import table, verdict
from benchmarks.pim import CALDAV, PROPS, SYNC, Client, milliseconds
from tests.support import davload
from tests.support.serving import Served

CLIENTS, SECONDS, ITEMS, STEP = 64, 120, 10_000, 100


def measure(server: Served) -> None:
    """Print the tables."""
    password = server.password(name="devices")
    client = Client(server.port, password)
    for name in ("crowd", "large"):
        client("MKCALENDAR", davload.CALENDAR.format(name))
    alone = davload.run(server.port, password, "crowd", clients=CLIENTS, seconds=SECONDS)
    ended = 0.0

    def add() -> None:
        nonlocal ended
        client("POST", davload.CALENDAR.format("large"), davload.many_events(ITEMS), Content_Type="text/calendar")
        ended = time.monotonic()

    adding = threading.Thread(target=add)
    adding.start()
    beside = davload.run(server.port, password, "crowd", clients=CLIENTS, seconds=SECONDS / 2)
    adding.join()
    before, meanwhile = alone.percentile(0.99), beside.percentile(0.99, until=ended)
    rows = [
        (f"{len(alone.times)} requests, p99", f"{before:.0f} ms", "<= 500 ms", verdict(before <= 500)),
        (f"while {ITEMS} events are imported, p99", f"{meanwhile:.0f} ms", "<= twice that", verdict(meanwhile <= 2 * before)),
        ("errors", str(len(alone.errors) + len(beside.errors)), "0", verdict(not alone.errors and not beside.errors)),
    ]
    table(f"{CLIENTS} devices that poll and sync for {SECONDS} s", rows)
    _large(client)


def _large(client: Client) -> None:
    path = davload.CALENDAR.format("large")
    began = time.perf_counter()
    text = client("REPORT", path, SYNC.format(token=""))
    hrefs = list(davload.entries(text))
    for start in range(0, len(hrefs), STEP):
        inner = "".join(f"<href>{href}</href>" for href in hrefs[start : start + STEP])
        client(
            "REPORT", path, f"<C:calendar-multiget {PROPS} {CALDAV}><prop><getetag/><C:calendar-data/></prop>{inner}</C:calendar-multiget>"
        )
    whole = time.perf_counter() - began
    token = text.rpartition("<D:sync-token>")[2].partition("<")[0]
    client("PUT", f"{path}one-more.ics", davload.EVENT.format(uid="one-more", month=1, day=1, text="x"), Content_Type="text/calendar")
    sync = milliseconds(lambda: client("REPORT", path, SYNC.format(token=token)), 20)
    rows = [
        (f"first sync of {len(hrefs)} events, {STEP} by {STEP}", f"{whole:.1f} s", "<= 60 s", verdict(whole <= 60)),
        ("sync after one change", f"{sync:.1f} ms", "<= 50 ms", verdict(sync <= 50)),
    ]
    table("a large calendar", rows)
