"""Eight large contents at once, up and down: whole, in ranges, and in little memory."""

import hashlib
import http.client
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.client import Client
from tests.support.serving import Served

AT_ONCE = 8
BLOCK = os.urandom(1 << 20)
MOST_MEMORY = 200 << 20


class Large:
    """A content of so many blocks, no two of eight alike."""

    def __init__(self, number: int, blocks: int) -> None:
        self.number, self.blocks = number, blocks
        self.size = blocks << 20

    def pieces(self) -> Iterator[bytes]:
        for block in range(self.blocks):
            yield b"%08d%08d" % (self.number, block) + BLOCK[16:]

    def digest(self) -> str:
        md5 = hashlib.md5(usedforsecurity=False)
        for piece in self.pieces():
            md5.update(piece)
        return md5.hexdigest()


@contextmanager
def connected(client: Client) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", client.served.port, timeout=600, blocksize=1 << 20)
    yield connection
    connection.close()


def head(client: Client, **more: str) -> dict[str, str]:
    return {"Host": client.domain, "Authorization": f"Bearer {client.token}"} | {
        name.replace("_", "-"): value for name, value in more.items()
    }


def send(client: Client, large: Large) -> None:
    with connected(client) as connection:
        path = f"/files/io.cozy.files.root-dir?Type=file&Name=large-{large.number}"
        headers = head(client, Content_Length=str(large.size), Content_Type="application/octet-stream")
        connection.request("POST", path, large.pieces(), headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:1]) == (201, b"{")


def fetch(client: Client, large: Large) -> None:
    with connected(client) as connection:
        connection.request("GET", f"/files/download?Path=/large-{large.number}", headers=head(client))
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(large.size))
        md5, buffer = hashlib.md5(usedforsecurity=False), bytearray(1 << 20)
        while count := answer.readinto(buffer):
            md5.update(memoryview(buffer)[:count])
        assert md5.hexdigest() == large.digest()
        etag = answer.headers["ETag"]
    middle = large.size // 2 + 8
    for condition, status in ((etag, 206), ('"another"', 200)):
        with connected(client) as connection:
            headers = head(client, Range=f"bytes={middle}-{middle + 7}", If_Range=condition)
            connection.request("GET", f"/files/download?Path=/large-{large.number}", headers=headers)
            answer = connection.getresponse()
            assert answer.status == status
            if status == 206:
                assert answer.read() == b"%08d" % (large.blocks // 2)


@contextmanager
def watched(server: Served) -> Iterator[Callable[[], int]]:
    """The most memory the server had meanwhile."""
    seen, stop = [server.memory()], threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            seen.append(server.memory())

    thread = threading.Thread(target=look)
    thread.start()
    yield lambda: max(seen)
    stop.set()
    thread.join()


class Passage(NamedTuple):
    """What eight contents at once took."""

    memory: int
    """Bytes, at most."""
    up: float
    down: float
    """MiB a second; the client makes, and hashes, what it sends and gets on the same cores."""


def eight_at_once(folder: Path, blocks: int) -> Passage:
    with Served(folder / "data").add_alice() as server, watched(server) as most, ThreadPoolExecutor(AT_ONCE) as pool:
        client = Client(server, scope=("io.cozy.files",))
        contents = [Large(number, blocks) for number in range(AT_ONCE)]
        rates = []
        for step in (send, fetch):
            began = time.monotonic()
            for done in [pool.submit(step, client, content) for content in contents]:
                done.result()
            rates.append(AT_ONCE * blocks / (time.monotonic() - began))
        assert not list((server.folder / "blobs" / "tmp").glob("*/*"))
        return Passage(most(), *rates)


def copied(folder: Path, blocks: int) -> float:
    """MiB a second that `cp` makes of one such content, synced."""
    source, target = folder / "source", folder / "target"
    with source.open("wb") as file:
        file.writelines(Large(0, blocks).pieces())
    began = time.monotonic()
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    rate = blocks / (time.monotonic() - began)
    source.unlink()
    target.unlink()
    return rate


def test_eight_at_once_take_little_memory(tmp_path: Path):
    assert eight_at_once(tmp_path, 24).memory <= MOST_MEMORY


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_eight_of_five_gigabytes_at_once_take_little_memory(tmp_path: Path):
    alone = copied(tmp_path, 5000)
    passage = eight_at_once(tmp_path, 5000)
    rates = f"up {passage.up:.0f}, down {passage.down:.0f}, one of them copied {alone:.0f} MiB/s"
    print(f"8 x 5 GB: {passage.memory >> 20} MiB at most; {rates}")
    assert passage.memory <= MOST_MEMORY
