"""A CouchDB that is killed under load or hangs: nothing acknowledged is lost, every answer comes in time, and it goes on by itself.

The killed one is started by the command in `COZYD_TEST_COUCHDB_COMMAND`, in the foreground, on the port in `PORT` over the folder
in `DATA`, with the administrator admin:admin.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.client import Client
from tests.support.couchdb import URL, empty_server, needs_couchdb
from tests.support.faultproxy import FaultProxy
from tests.support.serving import Served, eventually, free_port

THINGS = "io.cozy.things"
COMMAND = os.environ.get("COZYD_TEST_COUCHDB_COMMAND", "")
LATEST, TOLD, BACK = 10.0, 2.0, 5.0
"""Seconds: the latest answer while it hangs, an error once it is dead, answers once it is back."""


class Couch:
    """A CouchDB of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://admin:admin@127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environ = os.environ | {"PORT": str(self.port), "DATA": str(self.folder)}
        self.process = subprocess.Popen(
            COMMAND, shell=True, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        eventually(self._answers, within=30)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/_up", timeout=1).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@pytest.fixture
def couch(tmp_path: Path) -> Iterator[Couch]:
    if not COMMAND:
        pytest.skip("COZYD_TEST_COUCHDB_COMMAND is not set: no CouchDB to kill")
    made = Couch(tmp_path / "couch")
    made.start()
    yield made
    made.kill()


@pytest.mark.timeout(180)
def test_a_couchdb_killed_under_load_loses_nothing_and_is_used_again(couch: Couch, tmp_path: Path):
    environ = {"COZYD_STORAGE_DOCUMENTS": couch.url}
    with Served(tmp_path / "data", environ=environ).add_alice() as served:
        alice = Client(served, scope=(THINGS,))
        kept: dict[str, str] = {}
        stop = threading.Event()

        def write(thread: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                answer = alice.api("PUT", f"/data/{THINGS}/{thread}-{number}", {"n": number})
                if answer.status in (200, 201):
                    kept[f"{thread}-{number}"] = answer.json["rev"]

        for _ in range(2):
            stop.clear()
            threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
            for thread in threads:
                thread.start()
            enough = len(kept) + 40
            eventually(lambda enough=enough: len(kept) > enough, within=40)  # type: ignore[misc]
            couch.kill()
            began = time.monotonic()
            answer = alice.api("GET", f"/data/{THINGS}/0-1")
            assert answer.status == 503
            assert answer.headers["Retry-After"], answer.body
            assert time.monotonic() - began < TOLD
            assert alice.ask("GET", "/status").status == 502
            stop.set()
            for thread in threads:
                thread.join(30)
            couch.start()
            began = time.monotonic()
            eventually(lambda: alice.api("GET", f"/data/{THINGS}/0-1").status == 200, within=BACK)
            assert time.monotonic() - began < BACK
            assert alice.api("POST", f"/data/{THINGS}/", {"n": 0}).status == 201
        for id, rev in kept.items():
            assert alice.api("GET", f"/data/{THINGS}/{id}").json["_rev"] == rev


@needs_couchdb
@pytest.mark.timeout(120)
def test_while_couchdb_hangs_every_answer_comes_in_time(tmp_path: Path):
    port = urlsplit(URL).port or 5984
    with empty_server() as url, FaultProxy(port) as proxy:
        environ = {"COZYD_STORAGE_DOCUMENTS": url.replace(f":{port}", f":{proxy.port}")}
        with Served(tmp_path / "data", environ=environ).add_alice() as served:
            alice = Client(served, scope=(THINGS,))
            assert alice.api("PUT", f"/data/{THINGS}/a", {"n": 1}).status == 200
            proxy.hangs = True
            answers: list[tuple[int, float]] = []

            def ask() -> None:
                for method in ("GET", "PUT"):
                    began = time.monotonic()
                    answer = alice.api(method, f"/data/{THINGS}/a", {"n": 2} if method == "PUT" else None)
                    answers.append((answer.status, time.monotonic() - began))

            threads = [threading.Thread(target=ask) for _ in range(16)]
            for thread in threads:
                thread.start()
            for _ in range(5):
                began = time.monotonic()
                assert alice.ask("GET", "/status").status == 502
                assert alice.ask("GET", "/version").status == 200
                assert time.monotonic() - began < 2  # three looks, 0.4 s each
            for thread in threads:
                thread.join(60)
            assert len(answers) == 32
            assert {status for status, _ in answers} == {503}
            assert max(took for _, took in answers) <= LATEST
            proxy.heal()
            eventually(lambda: alice.api("GET", f"/data/{THINGS}/a").status == 200, within=10)
            assert alice.ask("GET", "/status").status == 200
