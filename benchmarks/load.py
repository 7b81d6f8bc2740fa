"""wrk runs, floors and tables."""

import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.serving import free_port

SECONDS = 4
ROUNDS = 3


def wrk(url: str, script: str, connections: int, seconds: int = SECONDS) -> float:
    """Requests a second; an answer that is no 2xx is an error."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", file.name, url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    if failed:
        raise RuntimeError(f"{failed.group(1)} requests failed: {done.stdout}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found.group(1))


def medians(*runs: Callable[[], float]) -> list[float]:
    """Each run's median of several rounds, alternating."""
    rounds = [[run() for run in runs] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


@contextmanager
def floor(size: int) -> Iterator[str]:
    """The bare Flask server; its address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.floor", str(port), str(size)], start_new_session=True)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    """Until something listens."""
    import socket

    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)


def bare_commits(folder: Path, size: int, seconds: float = 3) -> float:
    """FULL commits a second of one row of this size into a bare SQLite file."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS doc (num INTEGER PRIMARY KEY, text BLOB)")
    text, count, began = b"x" * size, 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        connection.execute("INSERT INTO doc (text) VALUES (?)", (text,))
        count += 1
    connection.close()
    return count / (time.perf_counter() - began)


Figure = tuple[str, str, str, str]
"""Name, figure, bar, verdict."""
WIDTHS = (58, 30, 26)
"""Of rows that are printed before the last is known."""


def table(title: str, rows: Iterable[Figure]) -> None:
    """Print what was measured; rows that are measured as they are asked for are printed one by one."""
    print(f"\n{title}", flush=True)
    widths = [max(len(row[column]) for row in rows) for column in range(3)] if isinstance(rows, Sequence) else WIDTHS
    for row in rows:
        print("  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]).rstrip(), flush=True)


def line(name: str, figure: str, bar: str = "", *, holds: bool | None = None) -> Figure:
    """One row of a table; without a bar it is there to be compared with."""
    return name, figure, bar, "" if holds is None else verdict(holds)


def verdict(holds: bool) -> str:
    """For the last column."""
    return "holds" if holds else "MISSED"


def need(program: str) -> None:
    """:raises SystemExit: a program is missing."""
    if shutil.which(program) is None:
        raise SystemExit(f"{program} is missing: run scripts/install-debian.sh")
