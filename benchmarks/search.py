"""Full text among 100,000 documents: reading them into the index, queries, and how soon a write is found."""

import json
import random
import time
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

from benchmarks.load import table, verdict
from cozyd.documents.store import Ref, Write
from cozyd.search import Search
from tests.support.serving import Served
from tests.support.stack import Clock, open_stack

COUNT, QUERIES = 100_000, 400
MARKS = "io.cozy.bookmarks"
WORDS = 20_000


def _vocabulary() -> tuple[list[str], list[float]]:
    """Words, and how often each is used: as in a language, the first ones most (Zipf)."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(WORDS)]
    return words, [1 / (place + 5) for place in range(WORDS)]


def _asked(chance: random.Random) -> list[str]:
    """One to three words, as often as they are used; three of ten end in the middle of a word."""
    words, weights = _vocabulary()
    found = []
    for _ in range(QUERIES):
        query = " ".join(chance.choices(words, weights, k=chance.choice((1, 1, 2, 3))))
        found.append(query[:-2] if chance.random() < 0.3 else query)
    return found


def measure(server: Served, folder: Path) -> None:
    """Print the table."""
    words, weights = _vocabulary()
    chance = random.Random(2)
    stack = open_stack(folder / "search", Clock())
    docs = stack.create("alice.localhost").docs
    for start in range(0, COUNT, 1000):
        bodies = [(number, chance.choices(words, weights, k=30)) for number in range(start, start + 1000)]
        docs.commit(
            [Write(Ref(MARKS, f"m{at}"), body={"title": " ".join(one[:5]), "description": " ".join(one[5:])}) for at, one in bodies]
        )
    search = Search(docs, folder / "search.sqlite")
    began = time.perf_counter()
    search.update([MARKS])
    rate = COUNT / (time.perf_counter() - began)
    waits = []
    for query in _asked(chance):
        began = time.perf_counter()
        search.find(query, [MARKS])
        waits.append(time.perf_counter() - began)
    p95 = sorted(waits)[int(len(waits) * 0.95)] * 1000
    search.close()
    stack.close()
    seen = _seen_after(server) * 1000
    rows = [
        ("documents read into the index", f"{rate:.0f}/s", ">= 5,000/s", verdict(rate >= 5000)),
        (f"query among {COUNT:,}, p95", f"{p95:.1f} ms", "<= 20 ms", verdict(p95 <= 20)),
        ("a write until it is found, over HTTP", f"{seen:.0f} ms", "<= 1,000 ms", verdict(seen <= 1000)),
    ]
    table("search", rows)


def _seen_after(server: Served) -> float:
    """The longest of ten, in seconds."""
    headers = {"Authorization": f"Bearer {server.token(MARKS)}", "Content-Type": "application/json"}
    base, longest = f"http://localhost:{server.port}", 0.0
    for number in range(10):
        title = f"benchmark{number}x{time.time_ns()}"
        began = time.perf_counter()
        urlopen(Request(f"{base}/data/{MARKS}/", json.dumps({"title": title}).encode(), headers)).close()
        while not json.load(urlopen(Request(f"{base}/search?q={quote(title)}", headers=headers)))["data"]:
            time.sleep(0.005)
        longest = max(longest, time.perf_counter() - began)
    return longest
