"""`kill -9` at a random point under uploads, DAV PUTs and JSON writes: nothing acknowledged is lost, nothing half written shows."""

import hashlib
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.serving import Served

CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{uid}\r\nN:;{uid};;;\r\nNOTE:{note}\r\nEND:VCARD\r\n"
DOCTYPE = "io.cozy.things"
RESTART_WITHIN = 3
"""Seconds, of the processor's time: what else runs on the machine does not count."""


class Writers:
    """Threads that write until the server dies, and remember what it acknowledged."""

    def __init__(self, client: Client, seed: int) -> None:
        self.client = client
        self.random = random.Random(seed)
        self.documents: dict[str, tuple[str, str]] = {}
        self.cards: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self._stop = threading.Event()

    def run(self, seconds: float, kill: Callable[[], None]) -> None:
        threads = [
            threading.Thread(target=self._until_dead, args=(step, number))
            for step in (self._document, self._card, self._file)
            for number in (1, 2)
        ]
        for thread in threads:
            thread.start()
        self._stop.wait(seconds)
        kill()
        self._stop.set()
        for thread in threads:
            thread.join()

    def _until_dead(self, step: Callable[[str, random.Random], None], number: int) -> None:
        chance = random.Random(self.random.random())
        count = 0
        while not self._stop.is_set():
            count += 1
            try:
                step(f"{number}-{id(self) % 9973}-{count}", chance)
            except (OSError, ValueError, EOFError):
                return
            except Exception as error:
                if type(error).__module__ != "http.client":
                    raise
                return

    def _document(self, name: str, chance: random.Random) -> None:
        value = chance.randbytes(300).hex()
        made = self.client.api("PUT", f"/data/{DOCTYPE}/{name}", {"value": value})
        if made.status == 200:
            self.documents[name] = (made.json["rev"], value)
            second = self.client.api("PUT", f"/data/{DOCTYPE}/{name}", {"_id": name, "_rev": made.json["rev"], "value": value + "2"})
            if second.status == 200:
                self.documents[name] = (second.json["rev"], value + "2")

    def _card(self, name: str, chance: random.Random) -> None:
        text = CARD.format(uid=name, note=chance.randbytes(200).hex())
        if self.client.dav("PUT", f"/sync/dav/me/contacts/{name}.vcf", text).status in (201, 204):
            self.cards[name] = text

    def _file(self, name: str, chance: random.Random) -> None:
        content = chance.randbytes(chance.choice((10, 5_000, 1_500_000)))
        if self.client.dav("PUT", f"/sync/files/{name}.bin", content).status in (201, 204):
            self.files[name] = hashlib.md5(content).hexdigest()

    def check(self) -> int:
        """Compare what is there with what was acknowledged; how much that was."""
        for name, (rev, value) in self.documents.items():
            found = self.client.api("GET", f"/data/{DOCTYPE}/{name}").json
            number, known = int(found["_rev"].split("-")[0]), int(rev.split("-")[0])
            assert number in (known, known + 1)
            assert found["value"] in (value, value + "2")
            assert number > known or found["_rev"] == rev
        for name, text in self.cards.items():
            assert self.client.dav("GET", f"/sync/dav/me/contacts/{name}.vcf").body == text.encode()
        for name, digest in self.files.items():
            assert hashlib.md5(self.client.dav("GET", f"/sync/files/{name}.bin").body).hexdigest() == digest
        return len(self.documents) + len(self.cards) + len(self.files)


def check_whole(client: Client, folder: Path) -> None:
    """Whatever is visible is whole: every listed file has its bytes, every listed card its text, the counts are right."""
    rows = client.api("GET", "/data/io.cozy.files/_all_docs?include_docs=true").json["rows"]
    for doc in (row["doc"] for row in rows):
        if doc.get("type") == "file":
            content = client.api("GET", f"/files/download/{doc['_id']}").body
            assert len(content) == int(doc["size"])
    listing = client.dav(
        "PROPFIND", "/sync/dav/me/contacts/", '<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>', Depth="1"
    ).body.decode()
    hrefs = [part.split("</D:href>")[0] for part in listing.split("<D:href>")[1:] if part.split("</D:href>")[0].endswith(".vcf")]
    for href in hrefs:
        assert client.dav("GET", href).body.endswith(b"END:VCARD\r\n")
    assert list((folder / "blobs" / "tmp").glob("*/*")) == []


def crash(folder: Path, rounds: int, seed: int) -> int:
    server = Served(folder / "data").add_alice()
    server.start()
    acknowledged = 0
    client = Client(server, scope=(DOCTYPE, "io.cozy.files"))
    chance = random.Random(seed)
    for number in range(rounds):
        writers = Writers(client, seed + number)
        writers.run(chance.uniform(0.05, 0.9), server.kill)
        server.start()
        assert server.cpu() < RESTART_WITHIN
        acknowledged += writers.check()
    check_whole(client, server.folder)
    server.stop()
    findings = server.cli("instances", "show", server.domain)
    assert "domain" in findings
    return acknowledged


def test_five_kills_lose_nothing(tmp_path: Path):
    assert crash(tmp_path, 5, 1) > 30


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_fifty_kills_lose_nothing(tmp_path: Path):
    acknowledged = crash(tmp_path, 50, 2)
    print(f"50 kills, {acknowledged} acknowledged writes, none lost")
    assert acknowledged > 400
