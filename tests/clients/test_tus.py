"""tus-js-client, unmodified, sends files to `/files/uploads`: whole, in chunks, cut, killed, given up (docs/http/uploads.md)."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.faultproxy import FaultProxy
from tests.support.serving import Served, eventually

pytestmark = pytest.mark.tool

HERE = Path(__file__).parent / "tus"
CONTENT = os.urandom(8_000_000)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
        pytest.skip("tus-js-client is not installed: `make test` does it where node and npm are")
    with Served(tmp_path_factory.mktemp("tus") / "data", environ={"COZYD_SERVER_BODY_TIMEOUT": "3"}).add_alice() as server:
        yield server


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=("io.cozy.files",))


@pytest.fixture
def proxy(served: Served) -> Iterator[FaultProxy]:
    """Between client and server; the server knows its address as an alias."""
    with FaultProxy(served.port) as running:
        served.cli("instances", "set", served.domain, "--alias", f"localhost:{served.port}", "--alias", f"localhost:{running.port}")
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "content.bin"
    path.write_bytes(CONTENT)
    return path


def start(alice: Client, file: Path, name: str, *, port: int = 0, **options: Any) -> subprocess.Popen[str]:
    metadata = {"filename": name, "filetype": "video/mp4", "updatedAt": "2024-05-06T07:08:09Z"}
    endpoint = f"http://localhost:{port or alice.served.port}/files/uploads"
    given = {"file": str(file), "endpoint": endpoint, "token": alice.token, "metadata": metadata} | options
    return subprocess.Popen(["node", "upload.js", json.dumps(given)], cwd=HERE, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """What it said."""
    out, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in out.splitlines()]


def content(alice: Client, name: str) -> bytes:
    return alice.api("GET", f"/files/download?Path=/{name}").body


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunkSize": 1_000_000},
        {"chunkSize": 700_000, "overridePatchMethod": True},
        {"uploadDataDuringCreation": True, "chunkSize": 3_000_000},
    ],
    ids=["at once", "in chunks", "by POST", "with the beginning"],
)
def test_a_file_arrives(alice: Client, file: Path, options: dict[str, Any], request: pytest.FixtureRequest):
    name = f"é {request.node.callspec.id}.mp4"
    said = ended(start(alice, file, name, **options))
    id = said[-1]["done"].rpartition("/")[2]
    attributes = alice.api("GET", f"/files/{id}").json["data"]["attributes"]
    assert (attributes["name"], attributes["mime"], attributes["updated_at"]) == (name, "video/mp4", "2024-05-06T07:08:09Z")
    assert alice.api("GET", f"/files/download/{id}").body == CONTENT


def test_an_empty_file_arrives(alice: Client, tmp_path: Path):
    (tmp_path / "empty").write_bytes(b"")
    assert "done" in ended(start(alice, tmp_path / "empty", "empty.mp4"))[-1]
    assert content(alice, "empty.mp4") == b""


def test_a_connection_that_breaks_again_and_again_costs_only_what_was_on_its_way(alice: Client, file: Path, proxy: FaultProxy):
    proxy.cut_up_after = 1_500_000
    said = ended(start(alice, file, "broken.mp4", port=proxy.port))
    assert said[-1]["retries"] >= 3
    assert content(alice, "broken.mp4") == CONTENT


def test_a_server_that_is_killed_and_comes_back_is_gone_on_with(alice: Client, file: Path, proxy: FaultProxy):
    proxy.delay = 0.01
    process = start(alice, file, "killed.mp4", port=proxy.port, chunkSize=500_000)
    eventually(lambda: any(part.stat().st_size for part in (alice.served.folder / "uploads").glob("*/*/part")), within=30)
    alice.served.kill()
    alice.served.start()
    said = ended(process)
    assert said[-1]["retries"] >= 1
    assert content(alice, "killed.mp4") == CONTENT


def test_another_process_goes_on_where_the_first_one_stopped(alice: Client, file: Path):
    said = ended(start(alice, file, "later.mp4", chunkSize=1_000_000, abortAfter=3_000_000))
    url = next(line["url"] for line in said if "url" in line)
    assert alice.api("GET", "/files/metadata?Path=/later.mp4").status == 404
    assert "done" in ended(start(alice, file, "later.mp4", uploadUrl=url, chunkSize=1_000_000))[-1]
    assert content(alice, "later.mp4") == CONTENT


def test_one_that_is_given_up_leaves_nothing(alice: Client, file: Path):
    before = sorted((alice.served.folder / "uploads").glob("*/*"))
    said = ended(start(alice, file, "given-up.mp4", chunkSize=1_000_000, abortAfter=3_000_000, terminate=True))
    assert "aborted" in said[-1]
    eventually(lambda: sorted((alice.served.folder / "uploads").glob("*/*")) == before)


def test_a_name_that_is_taken_is_told(alice: Client, file: Path):
    said = ended(start(alice, file, "Photos", retryDelays=[]))
    assert said[-1]["status"] == 409


def test_two_at_once_are_apart(alice: Client, file: Path, tmp_path: Path):
    other = tmp_path / "other.bin"
    other.write_bytes(CONTENT[::-1])
    said: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda one=one, name=name: said.append(ended(start(alice, one, name, chunkSize=900_000))[-1]))
        for one, name in ((file, "one.mp4"), (other, "two.mp4"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all("done" in line for line in said)
    assert (content(alice, "one.mp4"), content(alice, "two.mp4")) == (CONTENT, CONTENT[::-1])
