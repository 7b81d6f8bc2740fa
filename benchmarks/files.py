"""Files over WebDAV: listings of 5,000, a content of 256 MiB up and down, beside stock WsgiDAV and `cp` of the same run."""

import hashlib
import http.client
import statistics
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.load import Figure, line, table, wait_for
from tests.support.serving import Served, free_port

ITEMS = 5_000
MIB = 1 << 20
SIZE = 256 * MIB
PIECE = MIB
ROUNDS = 3
NAUTILUS = (
    '<propfind xmlns="DAV:"><prop><creationdate/><displayname/><getcontentlength/><getcontenttype/><getetag/><getlastmodified/>'
    "<resourcetype/></prop></propfind>"
)
RCLONE = (
    '<propfind xmlns="DAV:" xmlns:oc="http://owncloud.org/ns"><prop><displayname/><getlastmodified/><getcontentlength/>'
    "<resourcetype/><getcontenttype/><oc:checksums/></prop></propfind>"
)
ALL = '<propfind xmlns="DAV:"><allprop/></propfind>'


class Client:
    """A keep-alive WebDAV client."""

    def __init__(self, port: int, prefix: str, password: str = "") -> None:
        self._connection = http.client.HTTPConnection("localhost", port, timeout=600, blocksize=PIECE)
        self._prefix = prefix
        self._headers = {"Authorization": "Basic " + b64encode(f"me:{password}".encode()).decode()} if password else {}

    def ask(self, method: str, path: str, body: object = b"", **headers: str) -> int:
        """The bytes of the answer; they are not kept."""
        self._connection.request(method, self._prefix + path, body, self._headers | headers)  # type: ignore[arg-type]
        answer = self._connection.getresponse()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.read(300)!r}")
        piece, count = bytearray(PIECE), 0
        while size := answer.readinto(piece):
            count += size
        return count


def seconds(step: Callable[[], object]) -> float:
    """The median time of a call."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


@contextmanager
def stock(folder: Path) -> Iterator[Client]:
    """Stock WsgiDAV over a folder."""
    port = free_port()
    folder.mkdir()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.stock_webdav", str(port), str(folder)], start_new_session=True)
    try:
        wait_for(port)
        yield Client(port, "")
    finally:
        process.terminate()
        process.wait()


def fill(clients: list[Client]) -> float:
    """5,000 files of 1 kB; files a second."""
    clients[0].ask("MKCOL", "/many")
    began = time.perf_counter()

    def work(number: int, client: Client) -> None:
        for index in range(number, ITEMS, len(clients)):
            client.ask("PUT", f"/many/file%20{index:05}.txt", b"x" * 1000)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ITEMS / (time.perf_counter() - began)


def measure(server: Served, folder: Path) -> None:
    """Print the tables."""
    password = server.password("--files", name="bench files")
    with stock(folder / "stock") as theirs:
        mine = Client(server.port, "/sync/files", password)
        table("listings of files", _listings(server, mine, theirs, password))
        table("contents of files", _contents(server, mine, theirs, folder))


def _listings(server: Served, mine: Client, theirs: Client, password: str) -> Iterator[Figure]:
    rate = fill([mine, *(Client(server.port, "/sync/files", password) for _ in range(3))])
    yield line("PUT of 1 kB, 4 clients", f"{rate:.0f}/s", ">= 100/s", holds=rate >= 100)
    yield line("  stock WsgiDAV, 1 client", f"{fill([theirs]):.0f}/s")
    for name, body in (("as Nautilus asks", NAUTILUS), ("as rclone asks", RCLONE), ("all properties", ALL)):
        ours = seconds(partial(mine.ask, "PROPFIND", "/many/", body, Depth="1"))
        yield line(f"PROPFIND depth 1 of 5,000, {name}", f"{ours * 1000:.0f} ms", "<= 100 ms", holds=ours <= 0.1)
        other = seconds(partial(theirs.ask, "PROPFIND", "/many/", body, Depth="1"))
        yield line("  stock WsgiDAV", f"{other * 1000:.0f} ms")


def _contents(server: Served, mine: Client, theirs: Client, folder: Path) -> Iterator[Figure]:
    source, copy = folder / "source.bin", folder / "copy.bin"
    source.write_bytes(bytes(range(256)) * (SIZE // 256))

    def rate(step: Callable[[], object]) -> float:
        return SIZE / MIB / seconds(step)

    def put(client: Client) -> None:
        with source.open("rb") as body:
            client.ask("PUT", "/large.bin", body, **{"Content-Length": str(SIZE)})

    floor = rate(lambda: subprocess.run(["cp", str(source), str(copy)], check=True))
    yield line("cp of 256 MiB", f"{floor:.0f} MiB/s")
    hashed = rate(lambda: hashlib.md5(source.read_bytes(), usedforsecurity=False))
    yield line("MD5 of it, which each content gets", f"{hashed:.0f} MiB/s")
    before = server.memory()
    up = rate(lambda: put(mine))
    yield line("PUT of 256 MiB", f"{up:.0f} MiB/s", ">= 200 MiB/s or 0.5 of cp", holds=up >= min(200, 0.5 * floor))
    yield line("  stock WsgiDAV", f"{rate(lambda: put(theirs)):.0f} MiB/s")
    down = rate(lambda: mine.ask("GET", "/large.bin"))
    yield line("GET of 256 MiB", f"{down:.0f} MiB/s", ">= 500 MiB/s or 0.6 of cp", holds=down >= min(500, 0.6 * floor))
    yield line("  stock WsgiDAV", f"{rate(lambda: theirs.ask('GET', '/large.bin')):.0f} MiB/s")
    grown = (server.memory() - before) / MIB
    yield line("memory grown meanwhile", f"{grown:.0f} MiB", "<= 32 MiB", holds=grown <= 32)
