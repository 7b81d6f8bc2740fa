"""Files over WebDAV: listings of 5,000, a content of 256 MiB up and down, beside stock WsgiDAV and `cp` of the same run."""

import hashlib
import http.client
import statistics
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import Figure, table, verdict, wait_for
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


def seconds(step: object) -> float:
    """The median time of a call."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        step()  # type: ignore[operator]
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
    fill([theirs])
    yield ("PUT of 1 kB, 4 clients", f"{rate:.0f}/s", ">= 100/s", verdict(rate >= 100))
    for name, body in (("as Nautilus asks", NAUTILUS), ("all properties", ALL)):
        ours = seconds(lambda body=body: mine.ask("PROPFIND", "/many/", body, Depth="1"))
        other = seconds(lambda body=body: theirs.ask("PROPFIND", "/many/", body, Depth="1"))
        yield (f"PROPFIND depth 1 of 5,000, {name}", f"{ours * 1000:.0f} ms", "<= 100 ms", verdict(ours <= 0.1))
        yield ("  stock WsgiDAV", f"{other * 1000:.0f} ms", "", "")


def _contents(server: Served, mine: Client, theirs: Client, folder: Path) -> Iterator[Figure]:
    source, copy = folder / "source.bin", folder / "copy.bin"
    source.write_bytes(bytes(range(256)) * (SIZE // 256))
    floor = SIZE / MIB / seconds(lambda: subprocess.run(["cp", str(source), str(copy)], check=True))

    def put(client: Client) -> None:
        with source.open("rb") as body:
            client.ask("PUT", "/large.bin", body, **{"Content-Length": str(SIZE)})

    yield ("cp of 256 MiB", f"{floor:.0f} MiB/s", "", "")
    hashed = seconds(lambda: hashlib.md5(source.read_bytes(), usedforsecurity=False))
    yield ("MD5 of it, which each content gets", f"{SIZE / MIB / hashed:.0f} MiB/s", "", "")
    before = server.memory()
    up = SIZE / MIB / seconds(lambda: put(mine))
    yield ("PUT of 256 MiB", f"{up:.0f} MiB/s", ">= 200 MiB/s or 0.5 of cp", verdict(up >= min(200, 0.5 * floor)))
    down = SIZE / MIB / seconds(lambda: mine.ask("GET", "/large.bin"))
    yield ("GET of 256 MiB", f"{down:.0f} MiB/s", ">= 500 MiB/s or 0.6 of cp", verdict(down >= min(500, 0.6 * floor)))
    grown = (server.memory() - before) / MIB
    yield ("memory grown meanwhile", f"{grown:.0f} MiB", "<= 32 MiB", verdict(grown <= 32))
    their_up, their_down = SIZE / MIB / seconds(lambda: put(theirs)), SIZE / MIB / seconds(lambda: theirs.ask("GET", "/large.bin"))
    yield ("stock WsgiDAV: PUT and GET of it", f"{their_up:.0f} and {their_down:.0f} MiB/s", "", "")
