"""Bulk writes, queries, feeds and lists of `/data` among many documents."""

import http.client
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.load import table, verdict
from tests.support.serving import Served

MANY = "io.cozy.benchmarks.many"
FEW = "io.cozy.benchmarks.few"
PLAIN = "io.cozy.benchmarks.bulk"


class Client:
    """A keep-alive JSON client."""

    def __init__(self, server: Served) -> None:
        self._connection = http.client.HTTPConnection("localhost", server.port, timeout=300)
        self._headers = {"Authorization": f"Bearer {server.token(MANY, FEW, PLAIN)}", "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body: Any = None) -> bytes:
        self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return text


def documents(first: int, count: int) -> list[dict[str, Any]]:
    """About 900 bytes each."""
    return [{"_id": f"d{number:08}", "n": number, "group": number % 4000, "text": "x" * 840} for number in range(first, first + count)]


def median(step: Callable[[], object], count: int) -> float:
    """The median time of a call, in milliseconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        step()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def fill(client: Client, doctype: str, count: int, first: int = 0) -> list[float]:
    """Write documents by a thousand; how long each thousand took, in milliseconds."""
    times = []
    for start in range(first, first + count, 1000):
        docs = documents(start, min(1000, first + count - start))
        began = time.perf_counter()
        client("POST", f"/data/{doctype}/_bulk_docs", {"docs": docs})
        times.append((time.perf_counter() - began) * 1000)
    return times


def measure(server: Served, *, many: int = 100_000) -> None:
    """Print the table."""
    client = Client(server)
    bulk = statistics.median(fill(client, PLAIN, 10_000))
    changes = median(lambda: client("GET", f"/data/{PLAIN}/_changes"), 7)
    listing = median(lambda: client("GET", f"/data/{PLAIN}/_all_docs?include_docs=true&limit=5000"), 7)
    finds = {}
    for doctype, count in ((FEW, 1000), (MANY, many)):
        fill(client, doctype, count)
        client("POST", f"/data/{doctype}/_index", {"index": {"fields": ["n"]}})
        query = {"selector": {"n": {"$gte": 500}}, "sort": [{"n": "asc"}], "limit": 25}
        finds[doctype] = median(lambda doctype=doctype, query=query: client("POST", f"/data/{doctype}/_find", query), 100)  # type: ignore[misc]
    since = json.loads(client("GET", f"/data/{MANY}/_changes?limit=1&descending=true"))["last_seq"]
    client("PUT", f"/data/{MANY}/one-more", {"n": -1})
    one = median(lambda: client("GET", f"/data/{MANY}/_changes?since={since}"), 50)
    rows = [
        ("_bulk_docs of 1,000", f"{bulk:.0f} ms", "<= 60 ms", verdict(bulk <= 60)),
        ("_changes of 10,000 without bodies", f"{changes:.0f} ms", "<= 60 ms", verdict(changes <= 60)),
        ("_all_docs with 5,000 bodies", f"{listing:.0f} ms", "<= 50 ms", verdict(listing <= 50)),
        (f"indexed _find of 25 among {many:,}", f"{finds[MANY]:.2f} ms", "<= 1.2 ms", verdict(finds[MANY] <= 1.2)),
        ("indexed _find of 25 among 1,000", f"{finds[FEW]:.2f} ms", "", ""),
        (f"one change after {many:,}", f"{one:.2f} ms", "<= 2 ms", verdict(one <= 2)),
    ]
    table("queries and feeds", rows)


def scale(server: Served) -> None:
    """Print what a thousand writes cost as a doctype grows to a million documents."""
    client, rows, written = Client(server), [], 0
    for size in (1_000, 10_000, 100_000, 1_000_000):
        times = fill(client, MANY, size - written, first=written)[-20:]
        written = size
        single = median(lambda: client("POST", f"/data/{MANY}/", {"n": 1, "text": "x" * 840}), 100)
        rows.append(
            (f"at {size:,} documents", f"{statistics.median(times):.0f} ms for _bulk_docs of 1,000", f"{single:.2f} ms for one", "")
        )
    table("cost of a write", rows)
