"""Clients that list a folder all the time, in a process of their own, and how long they waited."""

import http.client
import json
import subprocess
import sys
import threading
import time
from typing import IO, Self, cast

from tests.support.serving import Served

PAUSE = 0.2
ADDRESS = "/files/io.cozy.files.root-dir"


class Busy:
    """So many clients, while it is entered.

    :ivar waits: seconds of each request, once it is left.
    :ivar failures: statuses other than 200.
    """

    def __init__(self, served: Served, count: int) -> None:
        token = served.token("io.cozy.files")
        self._command = [sys.executable, "-m", "tests.support.busy", str(served.port), served.domain, token, str(count)]
        self.waits: list[float] = []
        self.failures: list[int] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        out, _err = self._process.communicate(timeout=60)
        self.waits, self.failures = json.loads(out)

    def during(self, seconds: float) -> list[float]:
        """Their waits over a while."""
        with self:
            threading.Event().wait(seconds)
        return self.waits


def _work(port: int, host: str, token: str, stop: threading.Event, waits: list[float], failures: list[int]) -> None:
    headers = {"Host": host, "Authorization": f"Bearer {token}", "Accept": "application/vnd.api+json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not stop.is_set():
        began = time.monotonic()
        connection.request("GET", ADDRESS, headers=headers)
        answer = connection.getresponse()
        answer.read()
        waits.append(time.monotonic() - began)
        failures += [answer.status] if answer.status != 200 else []
        stop.wait(PAUSE)
    connection.close()


def main(port: str, host: str, token: str, count: str) -> None:
    """Work until standard input ends; then tell the waits and failures as JSON."""
    stop, waits, failures = threading.Event(), cast(list[float], []), cast(list[int], [])
    threads = [threading.Thread(target=_work, args=(int(port), host, token, stop, waits, failures)) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    asked: IO[bytes] = sys.stdin.buffer
    asked.read()
    stop.set()
    for thread in threads:
        thread.join()
    json.dump([waits, failures], sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
