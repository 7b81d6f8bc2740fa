"""Files over JSON: uploads, metadata, listings, and changes of a large tree, beside the floor of the same run."""

import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.load import Figure, floor, medians, table, verdict, wrk
from tests.support.serving import Served

BODY = b"x" * 10_000
UPLOADS, UPLOAD_SECONDS = 400, 5
FOLDERS, FILES_EACH = 1_000, 9
LISTED = 5_000
FLAT = (100, 10_000, 100_000)


class Caller:
    """One connection that stays."""

    def __init__(self, server: Served, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        self._head = {"Host": server.domain, "Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        data = self.take(method, path, body)
        return json.loads(data)["data"] if data else None

    def take(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self._connection.request(method, f"/files{path}", body, self._head)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:200]!r}")
        return data

    def mkdir(self, into: str, name: str) -> str:
        id: str = self.ask("POST", f"/{into}?Type=directory&Name={quote(name)}")["id"]
        return id


def measure(server: Served, *, scale: bool = False) -> None:
    """Print the figures of files.

    :param scale: how a create costs in folders of up to 100,000 files instead, which takes some minutes.
    """
    token = server.token("io.cozy.files")
    caller = Caller(server, token)
    home = caller.mkdir("io.cozy.files.root-dir", f"bench-{time.time_ns()}")
    parts: list[Iterator[Figure]] = [
        _uploads(server, token, home),
        _metadata(server, token, caller, home),
        _listing(caller, home),
        _tree(server, token, caller, home),
    ]
    table("files over JSON", chain.from_iterable([_flat(caller, home)] if scale else parts))


def _uploads(server: Served, token: str, home: str) -> Iterator[Figure]:
    yield ("10 kB written, synced, renamed (the disk alone)", f"{_disk(server.folder):.0f}/s", "", "")
    for clients, name, bar in ((1, "one client", 400), (8, "eight clients", 800)):
        rate, cpu = _upload_rate(server, token, home, clients)
        yield (f"upload of 10 kB, {name}", f"{rate:.0f}/s, {cpu * 1e6:.0f} us of CPU", f">= {bar}/s", verdict(rate >= bar))


def _upload_rate(server: Served, token: str, home: str, clients: int) -> tuple[float, float]:
    """Uploads a second, and the processor time of one; sent by `wrk`, as a client in Python would take half of the machine."""
    into = Caller(server, token).mkdir(home, f"uploads-{clients}")
    script = (
        f'local number, body = 0, string.rep("x", {len(BODY)})\n'
        f'local head = {{["Host"] = "{server.domain}", ["Authorization"] = "Bearer {token}"}}\n'
        "function request()\n  number = number + 1\n"
        f'  return wrk.format("POST", "/files/{into}?Type=file&Name=" .. number, head, body)\nend\n'
    )
    before = server.cpu()
    rate = wrk(f"http://127.0.0.1:{server.port}", script, clients, UPLOAD_SECONDS)
    return rate, (server.cpu() - before) / (rate * UPLOAD_SECONDS)


def _disk(folder: Path) -> float:
    import os

    began = time.perf_counter()
    for number in range(UPLOADS):
        path = folder / f"bench-{number}"
        with path.open("wb") as file:
            file.write(BODY)
            os.fsync(file.fileno())
        path.rename(folder / f"bench-{number}.done")
    rate = UPLOADS / (time.perf_counter() - began)
    for number in range(UPLOADS):
        (folder / f"bench-{number}.done").unlink()
    return rate


def _metadata(server: Served, token: str, caller: Caller, home: str) -> Iterator[Figure]:
    file = caller.ask("POST", f"/{home}?Type=file&Name=metadata.txt", BODY)["id"]
    size = len(json.dumps(caller.ask("GET", f"/{file}")))
    head = f'wrk.headers["Host"] = "{server.domain}"; wrk.headers["Authorization"] = "Bearer {token}"'
    with floor(size) as bare:
        address = f"http://127.0.0.1:{server.port}/files/{file}"
        ours, least = medians(lambda: wrk(address, head, 8, 3), lambda: wrk(f"{bare}/data/x/y", "", 8, 3))
    yield ("file metadata", f"{ours:.0f}/s, {ours / least:.2f}", f">= 0.6 of {least:.0f}/s", verdict(ours >= 0.6 * least))


def _listing(caller: Caller, home: str) -> Iterator[Figure]:
    into = caller.mkdir(home, "listed")
    for number in range(LISTED):
        caller.ask("POST", f"/{into}?Type=file&Name={number:05d}.txt", b"")
    page = _milliseconds(lambda: caller.take("GET", f"/{into}/relationships/contents?page[limit]=100"))
    whole = _milliseconds(lambda: caller.take("GET", f"/{into}/relationships/contents?page[limit]={LISTED}"), 5)
    yield (f"page of 100 among {LISTED}", f"{page:.1f} ms", "<= 10 ms", verdict(page <= 10))
    yield (f"all {LISTED}", f"{whole:.0f} ms", "<= 150 ms", verdict(whole <= 150))


def _milliseconds(step: Callable[[], object], rounds: int = 21) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        step()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def _tree(server: Served, token: str, caller: Caller, home: str) -> Iterator[Figure]:
    top = caller.mkdir(home, "tree")
    for number in range(FOLDERS):
        into = caller.mkdir(top, f"d{number}")
        for file in range(FILES_EACH):
            caller.ask("POST", f"/{into}?Type=file&Name={file}", b"")
    body = json.dumps({"data": {"id": top, "attributes": {"name": "renamed"}}}).encode()
    name = f"a tree of {FOLDERS} folders and {FOLDERS * FILES_EACH} files"
    steps = (
        ("rename", 0.15, lambda: caller.ask("PATCH", f"/{top}", body)),
        ("trash", 0.6, lambda: caller.ask("DELETE", f"/{top}")),
    )
    for what, bar, step in steps:
        taken, waited = _beside_others(server, token, home, step)
        yield (f"{what} of {name}", f"{taken:.2f} s, others wait {waited:.2f} s", f"<= {bar} s", verdict(max(taken, waited) <= bar))


def _beside_others(server: Served, token: str, home: str, step: Callable[[], object]) -> tuple[float, float]:
    """How long a step takes, and the longest that somebody else's upload takes meanwhile, in seconds."""
    other, done, longest = Caller(server, token), threading.Event(), [0.0]
    into = other.mkdir(home, f"beside-{time.time_ns()}")

    def others() -> None:
        number = 0
        while not done.is_set():
            began = time.perf_counter()
            other.ask("POST", f"/{into}?Type=file&Name={number}", b"")
            longest[0] = max(longest[0], time.perf_counter() - began)
            number += 1

    thread = threading.Thread(target=others)
    thread.start()
    began = time.perf_counter()
    step()
    taken = time.perf_counter() - began
    done.set()
    thread.join()
    return taken, longest[0]


def _flat(caller: Caller, home: str) -> Iterator[Figure]:
    into, made, figures = caller.mkdir(home, "flat"), 0, []
    for size in FLAT:
        while made < size:
            caller.ask("POST", f"/{into}?Type=file&Name={made}", b"")
            made += 1
        figures.append(_milliseconds(lambda: caller.ask("POST", f"/{into}?Type=file&Name=next-{time.time_ns()}", b""), 101))
    text = ", ".join(f"{figure:.1f} ms at {size}" for figure, size in zip(figures, FLAT, strict=True))
    yield ("create in one folder", text, "flat", verdict(figures[-1] <= 1.5 * figures[0]))
