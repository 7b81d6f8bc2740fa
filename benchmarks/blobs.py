"""Contents of 1 GiB: up beside `cp` and MD5 of the same bytes, down beside bare waitress, and the memory it takes."""

import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import table, verdict, wait_for
from tests.support.client import Client
from tests.support.serving import Served, free_port

SIZE = 1 << 30
PIECE = 1 << 20
ROUNDS = 3
UP, DOWN, GROWTH_MB = 0.5, 0.6, 30
BLOCK = os.urandom(64 << 20)


def measure(server: Served, folder: Path) -> None:
    """Print the table; the server runs."""
    source = folder / "gibibyte"
    with source.open("wb") as file:
        for _ in range(SIZE // len(BLOCK)):
            file.write(BLOCK)
    alice = Client(server, scope=("io.cozy.files",))
    idle = server.memory()
    with _peak(server) as peak, _bare(source) as port:
        rounds = [
            (_copied(source), _sent(alice, source), _received(port, b"GET / HTTP/1.0\r\n\r\n"), _received(server.port, _asking(alice)))
            for _ in range(ROUNDS)
        ]
    copied, sent, floor, received = (statistics.median(column) for column in zip(*rounds, strict=True))
    growth = (peak() - idle) / 1e6
    rows = [
        ("1 GiB up, of cp and MD5", _speed(sent), f"{copied / sent:.2f} >= {UP}", verdict(copied / sent >= UP)),
        ("1 GiB down, of bare waitress", _speed(received), f"{floor / received:.2f} >= {DOWN}", verdict(floor / received >= DOWN)),
        ("memory above idle meanwhile", f"{growth:.0f} MB", f"<= {GROWTH_MB} MB", verdict(growth <= GROWTH_MB)),
    ]
    table("large contents", rows)


def _speed(seconds: float) -> str:
    return f"{SIZE / seconds / 1e6:.0f} MB/s"


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _copied(source: Path) -> float:
    """`cp` and MD5 of the same bytes, one after the other."""
    target = source.with_suffix(".copy")

    def work() -> None:
        subprocess.run(["cp", source, target], check=True)
        subprocess.run(["md5sum", target], check=True, stdout=subprocess.DEVNULL)

    seconds = _timed(work)
    target.unlink()
    return seconds


def _sent(alice: Client, source: Path) -> float:
    """One upload, until it is answered; the one before is erased first."""
    old = alice.api("GET", "/files/metadata?Path=/gibibyte")
    if old.status == 200:
        alice.api("DELETE", f"/files/trash/{old.json['data']['id']}")
    head = (
        f"POST /files/io.cozy.files.root-dir?Type=file&Name=gibibyte HTTP/1.1\r\nHost: {alice.domain}\r\n"
        f"Authorization: Bearer {alice.token}\r\nContent-Type: application/octet-stream\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n"
    )

    def work() -> None:
        with socket.create_connection(("127.0.0.1", alice.served.port)) as connection, source.open("rb") as file:
            connection.sendall(head.encode())
            connection.sendfile(file)
            answer = connection.recv(PIECE)
            assert answer.startswith(b"HTTP/1.1 201"), answer[:300]

    return _timed(work)


def _asking(alice: Client) -> bytes:
    return (
        f"GET /files/download?Path=/gibibyte HTTP/1.1\r\nHost: {alice.domain}\r\n"
        f"Authorization: Bearer {alice.token}\r\nConnection: close\r\n\r\n"
    ).encode()


def _received(port: int, asking: bytes) -> float:
    """One download, read and dropped."""

    def work() -> None:
        buffer, came = bytearray(PIECE), 0
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(asking)
            while count := connection.recv_into(buffer):
                came += count
        assert came > SIZE, came

    return _timed(work)


@contextmanager
def _bare(path: Path) -> Iterator[int]:
    """Bare waitress over the file; its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.filefloor", str(port), str(path)], start_new_session=True)
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _peak(server: Served) -> Iterator[Callable[[], int]]:
    """The largest memory seen, looked at all the time."""
    seen = [server.memory()]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            seen.append(server.memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(seen)
    finally:
        stop.set()
        thread.join()
