"""`kill -9` under eight uploading threads and under moves of a tree: nothing acknowledged is lost or altered, no half tree."""

import hashlib
import random
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.raw import Raw
from tests.support.serving import Served, eventually

ROOT = "io.cozy.files.root-dir"
SCOPE = ("io.cozy.files",)
THREADS = 8
FOLDERS, FILES = 200, 800


def quietly(work: Any) -> Any:
    """The result of a request; None when the server died under it."""
    try:
        return work()
    except (OSError, EOFError, ValueError):
        return None
    except Exception as error:
        if type(error).__module__ != "http.client":
            raise
        return None


def fsck(server: Served) -> str:
    return server.cli("fsck", server.domain, "--offline", "--mend")


# -- uploads ------------------------------------------------------------------------------------------------------------


class Uploaders:
    """Eight threads that upload new files and next contents until the server dies, and remember what was acknowledged."""

    def __init__(self, client: Client, seed: int) -> None:
        self.client, self.seed = client, seed
        self.files: dict[str, set[str]] = {}
        self.stop = threading.Event()

    def run(self, seconds: float) -> None:
        threads = [threading.Thread(target=self._until_dead, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)  # the moment of the kill is the random thing here
        self.client.served.kill()
        self.stop.set()
        for thread in threads:
            thread.join()

    def _until_dead(self, number: int) -> None:
        chance = random.Random(self.seed * 100 + number)
        count = 0
        while not self.stop.is_set():
            count += 1
            content = chance.randbytes(chance.choice((10, 5_000, 200_000, 1_500_000, 4_000_000)))
            digest = hashlib.md5(content).hexdigest()
            name = f"{self.seed}-{number}-{count if chance.random() < 0.7 else 0}"
            known = self.files.get(name)
            if known is not None:
                known.add(digest)  # it may be there though nobody said so
            answer = quietly(lambda name=name, content=content: self.client.dav("PUT", f"/sync/files/{name}", content))
            if answer is None:
                return
            assert answer.status in (201, 204), answer.body
            self.files[name] = {digest}

    def check(self) -> int:
        """Every acknowledged file has one of the contents it may have; how many there are."""
        for name, digests in self.files.items():
            found = self.client.dav("GET", f"/sync/files/{name}")
            assert found.status == 200
            assert hashlib.md5(found.body).hexdigest() in digests
        return len(self.files)


def kill_uploads(folder: Path, rounds: int, seed: int) -> int:
    server = Served(folder / "data").add_alice()
    server.start()
    alice = Client(server, scope=SCOPE)
    chance = random.Random(seed)
    acknowledged, slowest = 0, 0.0
    for number in range(rounds):
        uploaders = Uploaders(alice, seed * 10_000 + number)
        uploaders.run(chance.uniform(0.02, 1.2))
        slowest = max(slowest, server.start())
        acknowledged += uploaders.check()
        assert not list((server.folder / "blobs" / "tmp").glob("*/*"))
        if number % 100 == 99:
            print(f"{number + 1} kills, {acknowledged} acknowledged, slowest start {slowest:.2f} s", flush=True)
    server.stop()
    print(f"{rounds} kills, {acknowledged} acknowledged uploads, none lost, slowest start {slowest:.2f} s")
    fsck(server)
    assert "all is well" in server.cli("fsck", server.domain, "--offline")
    return acknowledged


@pytest.mark.timeout(300)
def test_kills_under_uploads_lose_nothing(tmp_path: Path):
    assert kill_uploads(tmp_path, 6, 1) > 10


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_a_thousand_kills_under_uploads_lose_nothing(tmp_path: Path):
    assert kill_uploads(tmp_path, 1000, 2) > 10_000


# -- moves --------------------------------------------------------------------------------------------------------------


def plant(folder: Path) -> None:
    """A tree of a thousand entries in a folder of the machine."""
    for number in range(FOLDERS):
        (folder / "Tree" / f"{number % 10}" / f"{number}").mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        (folder / "Tree" / f"{number % 10}" / f"{(number * 10 + number % 10) % FOLDERS}").mkdir(parents=True, exist_ok=True)
        (folder / "Tree" / f"{number % 10}" / f"{number % FOLDERS}.{number}.txt").write_text(str(number))


class Tree:
    """Moves, trashes and restores a tree until the server dies."""

    def __init__(self, client: Client, id: str, other: str) -> None:
        self.client, self.id, self.other = client, id, other

    def change(self, step: int) -> Any:
        """The next change; None when the server died under it."""
        patch = {"name": f"Tree {step}", "dir_id": self.other if step % 3 else ROOT}
        if step % 4 == 2:
            return quietly(lambda: self.client.api("DELETE", f"/files/{self.id}"))
        if step % 4 == 3:
            return quietly(lambda: self.client.api("POST", f"/files/trash/{self.id}"))
        return quietly(lambda: self.client.api("PATCH", f"/files/{self.id}", {"data": {"id": self.id, "attributes": patch}}))

    def pace(self) -> float:
        """How many seconds a change takes here and now."""
        began = time.monotonic()
        self.client.api("DELETE", f"/files/{self.id}")
        self.client.api("POST", f"/files/trash/{self.id}")
        return (time.monotonic() - began) / 2

    @staticmethod
    def fits(step: int, path: str) -> bool:
        """Whether the tree is where a change puts it."""
        if step % 4 in (2, 3):
            return path.startswith("/.cozy_trash/") == (step % 4 == 2)
        return path == f"{'/Photos' if step % 3 else ''}/Tree {step}"

    def state(self) -> str:
        """Where the top is; every folder's path and every file's flag agree with it."""
        docs = [row["doc"] for row in self.client.api("GET", "/data/io.cozy.files/_all_docs?include_docs=true").json["rows"]]
        nodes = {doc["_id"]: doc for doc in docs if "type" in doc}
        top = nodes[self.id]
        for doc in nodes.values():
            if not doc.get("dir_id"):
                continue
            path = f"{nodes[doc['dir_id']]['path'].rstrip('/')}/{doc['name']}"
            if doc["type"] == "directory":
                assert doc["path"] == path
            else:
                assert doc["trashed"] == path.startswith("/.cozy_trash/")
        path = str(top["path"])
        found = self.client.api("GET", f"/files/download?Path={quote(path)}/1/1.1.txt")
        assert (found.status, found.body) == (200, b"1")
        return path


def kill_moves(folder: Path, rounds: int, seed: int) -> int:
    plant(folder / "source")
    server = Served(folder / "data").add_alice()
    server.cli("files", "import", str(folder / "source"), server.domain)
    server.start()
    alice = Client(server, scope=SCOPE)
    id, other = (alice.api("GET", f"/files/metadata?Path=/{name}").json["data"]["id"] for name in ("Tree", "Photos"))
    tree, chance, step, acknowledged = Tree(alice, id, other), random.Random(seed), 0, 0
    state, one = tree.state(), tree.pace()
    for _ in range(rounds):
        timer = threading.Timer(chance.uniform(0.0, 6 * one), server.kill)
        timer.start()
        before = state
        while (answer := tree.change(step := step + 1)) is not None:
            if answer.status < 300:
                acknowledged += 1
                before = answer.json["data"]["attributes"]["path"]
            else:
                assert answer.status in (400, 409), answer.body
        timer.join()
        server.start()
        state = tree.state()
        assert state == before or tree.fits(step, state), "the old or the new state"
    server.stop()
    assert "all is well" in server.cli("fsck", server.domain, "--offline")
    print(f"{rounds} kills, {acknowledged} changes of a tree of {FOLDERS + FILES} entries, each whole or not at all")
    return acknowledged


@pytest.mark.timeout(300)
def test_kills_under_moves_of_a_tree_leave_the_old_or_the_new_state(tmp_path: Path):
    assert kill_moves(tmp_path, 4, 1) > 1


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_a_thousand_kills_under_moves_leave_the_old_or_the_new_state(tmp_path: Path):
    assert kill_moves(tmp_path, 1000, 2) > 500


# -- cut uploads --------------------------------------------------------------------------------------------------------


def cut(alice: Client, count: int) -> None:
    """Uploads of every kind, cut at every point: no document, no temporary file, the same usage."""
    chance = random.Random(count)
    before = alice.api("GET", "/data/io.cozy.files/_all_docs").json["rows"]
    for number in range(count):
        size = chance.choice((10, 100_000, 300_000, 2_000_000))
        sent = chance.randrange(size)
        length = "Transfer-Encoding: chunked" if number % 3 == 0 else f"Content-Length: {size}"
        line = f"PUT /sync/files/cut-{number}" if number % 2 else f"POST /files/{ROOT}?Type=file&Name=cut-{number}"
        credentials = f"Bearer {alice.token}" if number % 2 == 0 else f"Basic {alice.basic}"
        body = b"x" * sent
        if number % 3 == 0:
            body = b"%x\r\n%s\r\n" % (sent, body) if sent else b""
        with Raw(alice.served.port) as connection:
            connection.send(f"{line} HTTP/1.1\nHost: {alice.domain}\nAuthorization: {credentials}\n{length}\n\n")
            quietly(lambda connection=connection, body=body: connection.send(body))
    temporary = alice.served.folder / "blobs" / "tmp"
    eventually(lambda: list(temporary.glob("*/*")) == [], within=60)
    assert alice.api("GET", "/data/io.cozy.files/_all_docs").json["rows"] == before


def test_cut_uploads_leave_nothing(tmp_path: Path):
    with Served(tmp_path / "data").add_alice() as server:
        alice = Client(server, scope=SCOPE)
        cut(alice, 120)
        usage = server.cli("files", "usage", server.domain, "--json")
        assert '"used":"0"' in usage
        assert "all is well" in server.cli("fsck", server.domain)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_thousand_cut_uploads_leave_nothing(tmp_path: Path):
    with Served(tmp_path / "data").add_alice() as server:
        cut(Client(server, scope=SCOPE), 1000)
        assert '"used":"0"' in server.cli("files", "usage", server.domain, "--json")
