"""Photos of 24 megapixels while others work: how long these wait, what a picture costs, and the child's memory."""

import itertools
import json
import time
from urllib.request import Request, urlopen

from benchmarks.load import table, verdict
from tests.support.busy import Busy
from tests.support.pictures import photo
from tests.support.serving import Served

PHOTOS, CLIENTS, IDLE = 60, 20, 8.0
FILES, JOBS = "io.cozy.files", "io.cozy.jobs"


def p99(waits: list[float]) -> float:
    """Milliseconds."""
    return sorted(waits)[int(len(waits) * 0.99)] * 1000


def measure(server: Served) -> None:
    """Print the table."""
    contents = [photo(orientation, width=6000, height=4000) for orientation in (6, 3, 1, 8)]
    token = server.token(FILES, JOBS)
    busy = Busy(server, CLIENTS)
    idle = p99(busy.during(IDLE))
    memory, before, began = 0, server.cpu(), time.perf_counter()
    with busy:
        for number, content in zip(range(PHOTOS), itertools.cycle(contents), strict=False):
            _upload(server, token, f"{time.time_ns()}-{number}.jpg", content)
            memory = max(memory, server.largest_child())
        while _open(server, token):
            memory = max(memory, server.largest_child())
            time.sleep(0.2)
    took, used = time.perf_counter() - began, server.cpu() - before
    ratio = p99(busy.waits) / idle
    rows = [
        (f"p99 of {CLIENTS} clients, nothing else done", f"{idle:.1f} ms", "", ""),
        ("the same while photos come", f"{p99(busy.waits):.1f} ms, {ratio:.1f} times", "<= 2 times", verdict(ratio <= 2)),
        ("photos with their four pictures", f"{PHOTOS / took:.1f}/s", "", ""),
        ("processor time of the server itself", f"{used / PHOTOS * 1000:.0f} ms a photo, clients included", "", ""),
        ("memory of the child", f"{memory / 1e6:.0f} MB", "<= 300 MB", verdict(memory <= 300e6)),
    ]
    table("photos", rows)


def _upload(server: Served, token: str, name: str, content: bytes) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/jpeg"}
    address = f"http://localhost:{server.port}/files/{FILES}.root-dir?Type=file&Name={name}"
    urlopen(Request(address, content, headers)).close()


def _open(server: Served, token: str) -> int:
    """How many thumbnails are still to be made."""
    headers = {"Authorization": f"Bearer {token}"}
    with urlopen(Request(f"http://localhost:{server.port}/jobs/queue/thumbnail", headers=headers)) as answer:
        return len(json.load(answer)["data"])
