"""What a storm of wrong log-ins costs the others: a reader's 99th percentile beside the same reader's in peace.

The storm comes from ever other addresses to several accounts, in clear, which costs most; the server has one process.
"""

import http.client
import multiprocessing
import os
import secrets
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.load import ROUNDS, table, verdict
from tests.support.serving import PASSPHRASE, Served

ACCOUNTS, ATTACKERS, READS, PAUSE = 6, 12, 400, 0.005
WORSE = 2.0
"""How many times the 99th percentile may be what it is in peace."""


def measure(folder: Path) -> None:
    """Print the table: medians of several rounds, peace and storm alternating."""
    server = Served(folder / "storm", environ={"COZYD_SERVER_TRUSTED_PROXY": "127.0.0.1"}).add_alice()
    victims = [f"victim{number}.localhost:{server.port}" for number in range(ACCOUNTS)]
    for domain in victims:
        server.cli("instances", "add", domain, "--passphrase", PASSPHRASE)
    with server:
        token = server.token("io.cozy.files")
        rounds, answers = [], Counter[int]()
        for _ in range(ROUNDS):
            peace = _percentile(server, token)
            with _storm(server, victims) as counted:
                time.sleep(1)
                rounds.append((peace, _percentile(server, token)))
            answers.update(counted)
        peace, storm = (statistics.median(column) for column in zip(*rounds, strict=True))
    told = ", ".join(f"{count} × {status}" for status, count in sorted(answers.items()))
    bar = f"<= {WORSE * peace:.1f} ms ({WORSE:.0f} × {peace:.1f})"
    table(
        f"a reader in a storm of log-ins ({told})", [("99th percentile of a read", f"{storm:.1f} ms", bar, verdict(storm <= WORSE * peace))]
    )


def _percentile(server: Served, token: str) -> float:
    """The 99th percentile of a read by one client, in ms."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Host": server.domain, "Authorization": f"Bearer {token}"}
    found = []
    for _ in range(READS):
        began = time.perf_counter()
        connection.request("GET", "/files/io.cozy.files.root-dir", headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        found.append((time.perf_counter() - began) * 1000)
        time.sleep(PAUSE)
    connection.close()
    return statistics.quantiles(found, n=100)[98]


@contextmanager
def _storm(server: Served, victims: list[str]) -> Iterator[Counter[int]]:
    """Wrong log-ins as fast as they are answered; how many had which status.

    They come from a process of their own, as the reader must not wait for its interpreter, and of a lower priority: attackers are
    machines elsewhere, these here share the processors with the server.
    """
    counted = Counter[int]()
    spawn = multiprocessing.get_context("spawn")
    stop, told = spawn.Event(), spawn.SimpleQueue()
    attackers = spawn.Process(target=_attack, args=(server.port, victims, stop, told), daemon=True)
    attackers.start()
    try:
        yield counted
    finally:
        stop.set()
        counted.update(told.get())
        attackers.join()


def _attack(port: int, victims: list[str], stop: Event, told: "SimpleQueue[Counter[int]]") -> None:
    os.nice(10)
    counted, lock = Counter[int](), threading.Lock()

    def attack(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = urlencode({"passphrase": "wrong", "clear": "1", "csrf_token": "t"})
        while not stop.is_set():
            address = ".".join(str(secrets.randbelow(254) + 1) for _ in range(4))
            headers = {
                "Host": victims[number % len(victims)],
                "Cookie": "_csrf=t",
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
                "X-Forwarded-For": address,
            }
            connection.request("POST", "/auth/login", body, headers)
            answer = connection.getresponse()
            answer.read()
            with lock:
                counted[answer.status] += 1
            time.sleep(0.02)

    threads = [threading.Thread(target=attack, args=(number,)) for number in range(ATTACKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put(counted)
