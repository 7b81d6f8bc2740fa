"""Disks that are full, read-only, or out of descriptors: what needs room is refused, all else goes on, nothing needs a restart."""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, Client
from tests.support.raw import Raw
from tests.support.serving import Served, eventually

ROOT = "/files/io.cozy.files.root-dir"
DISK = 16 << 20
BIG = os.urandom(3_000_000)
SMALL = b"small" * 8000
"""As much as the server keeps in memory, and not so little that it lies beside the documents."""
TINY = b"tiny"


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    def fill(self, *, leave: int = 0) -> None:
        """Leave so many bytes."""
        with contextlib.suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as file:
            while shutil.disk_usage(self.folder).free > leave:
                file.write(b"\0" * min(1 << 16, max(4096, shutil.disk_usage(self.folder).free - leave)))

    def empty(self) -> None:
        """Give the room back."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", self.folder], check=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", self.folder], check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.close()


def served_on(disk: Disk, part: str, folder: Path) -> Served:
    """A server of which one part of the data folder lies on the small disk."""
    (folder / "data").mkdir()
    (disk.folder / part).mkdir()
    (folder / "data" / part).symlink_to(disk.folder / part)
    return Served(folder / "data", environ={"TMPDIR": str(folder)}).add_alice()


def upload(alice: Client, name: str, content: bytes, **headers: str) -> Answer:
    return alice.api("POST", f"{ROOT}?Type=file&Name={name}", content, **headers)


def document(alice: Client, name: str, size: int = 10) -> int:
    return alice.api("PUT", f"/data/io.cozy.things/{name}", {"text": "x" * size}).status


def download(alice: Client, name: str) -> Answer:
    return alice.api("GET", f"/files/download?Path=/{name}")


def erase(alice: Client, name: str) -> int:
    id = alice.api("GET", f"/files/metadata?Path=/{name}").json["data"]["id"]
    return alice.api("DELETE", f"/files/trash/{id}").status


def left_over(server: Served) -> list[Path]:
    return list((server.folder / "blobs" / "tmp").glob("*/*"))


def is_well(server: Served) -> bool:
    return "all is well" in server.cli("fsck", server.domain)


# -- full ---------------------------------------------------------------------------------------------------------------


def test_a_full_disk_of_contents(disk: Disk, tmp_path: Path):
    with served_on(disk, "blobs", tmp_path) as server:
        alice = Client(server, scope=("io.cozy.files", "io.cozy.things"))
        assert upload(alice, "before", BIG).status == 201
        disk.fill()
        assert upload(alice, "small", SMALL).status == 507
        assert upload(alice, "tiny", TINY).status == 201, "it lies beside the documents"
        assert upload(alice, "big", BIG).status == 507
        assert alice.dav("PUT", "/sync/files/dav", BIG).status == 507
        assert alice.dav("PUT", "/sync/files/dav", SMALL).status == 507
        assert download(alice, "before").body == BIG
        assert document(alice, "meanwhile") == 200
        assert alice.api("GET", "/files/metadata?Path=/small").status == 404
        assert left_over(server) == []
        assert alice.dav("DELETE", "/sync/files/before").status == 204
        assert alice.api("DELETE", "/files/trash").status == 204
        disk.empty()
        assert upload(alice, "big", BIG).status == 201
        assert download(alice, "big").body == BIG
        assert is_well(server)


def test_a_disk_that_fills_while_a_body_comes(disk: Disk, tmp_path: Path):
    with served_on(disk, "blobs", tmp_path) as server:
        alice = Client(server, scope=("io.cozy.files",))
        head = (
            f"POST {ROOT}?Type=file&Name=filling HTTP/1.1\nHost: {alice.domain}\nAuthorization: Bearer {alice.token}\n"
            f"Content-Length: {len(BIG)}\n\n"
        )
        with Raw(server.port, timeout=20) as connection:
            connection.send(head).send(BIG[:1_500_000])
            eventually(lambda: any(path.stat().st_size > 1_000_000 for path in left_over(server)))
            disk.fill()
            with contextlib.suppress(OSError):
                connection.send(BIG[1_500_000:])
            assert connection.reply().status == 507
        eventually(lambda: left_over(server) == [])
        disk.empty()
        assert upload(alice, "filling", BIG).status == 201
        assert is_well(server)


def test_a_full_disk_of_resumable_uploads(disk: Disk, tmp_path: Path):
    with served_on(disk, "uploads", tmp_path) as server:
        alice = Client(server, scope=("io.cozy.files",))
        tus = {"Tus_Resumable": "1.0.0"}
        began = alice.api("POST", "/files/uploads", **tus, Upload_Length=str(len(BIG)), Upload_Metadata="filename cGFydHM=")
        path = began.headers["Location"].split(str(server.port), 1)[1]
        disk.fill(leave=1 << 20)
        body: dict[str, Any] = tus | {"Content_Type": "application/offset+octet-stream"}
        assert alice.api("PATCH", path, BIG, Upload_Offset="0", **body).status == 507
        came = int(alice.api("HEAD", path, **tus).headers["Upload-Offset"])
        assert came <= 1 << 20
        disk.empty()
        assert alice.api("PATCH", path, BIG[came:], Upload_Offset=str(came), **body).status == 204
        assert download(alice, "parts").body == BIG


def test_a_full_disk_of_documents(disk: Disk, tmp_path: Path):
    with served_on(disk, "documents", tmp_path) as server:
        alice = Client(server, scope=("io.cozy.files", "io.cozy.things"))
        assert upload(alice, "before", SMALL).status == 201
        disk.fill()
        statuses = {document(alice, f"full-{number}", 200_000) for number in range(5)} | {
            upload(alice, "full", content).status for content in (SMALL, TINY)
        }
        assert statuses <= {507, 503}
        assert download(alice, "before").body == SMALL
        assert alice.api("GET", "/files/metadata?Path=/full").status == 404
        assert list((server.folder / "blobs").glob("cozy*/*/*/*")) == [
            path for path in (server.folder / "blobs").glob("cozy*/*/*/*") if path.read_bytes() == SMALL
        ]
        disk.empty()
        assert document(alice, "full-0", 200_000) == 200
        assert upload(alice, "full", SMALL).status == 201
        assert erase(alice, "before") == 204
        assert is_well(server)


def test_a_full_disk_of_the_systems_temporary_files(disk: Disk, tmp_path: Path):
    with Served(tmp_path / "data", environ={"TMPDIR": str(disk.folder)}).add_alice() as server:
        alice = Client(server, scope=("io.cozy.files", "io.cozy.things"))
        disk.fill()
        assert upload(alice, "big", BIG).status == 201, "contents do not go there"
        assert upload(alice, "middle", BIG[:500_000]).status == 201
        assert document(alice, "large", 600_000) in (200, 507)
        assert download(alice, "big").body == BIG
        assert alice.ask("GET", "/status").status == 200
        disk.empty()
        assert document(alice, "larger", 600_000) == 200


# -- read-only, out of descriptors --------------------------------------------------------------------------------------


def test_a_disk_that_has_become_read_only(disk: Disk, tmp_path: Path):
    with served_on(disk, "blobs", tmp_path) as server:
        alice = Client(server, scope=("io.cozy.files", "io.cozy.things"))
        assert upload(alice, "before", BIG).status == 201
        disk.remount("ro")
        for content in (SMALL, BIG):
            refused = upload(alice, "refused", content)
            assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (503, True)
        assert alice.dav("PUT", "/sync/files/refused", BIG).status == 503
        assert download(alice, "before").body == BIG
        assert document(alice, "meanwhile") == 200
        assert alice.ask("GET", "/status").status == 502
        assert "Read-only file system" in server.log()
        disk.remount("rw")
        assert upload(alice, "refused", BIG).status == 201
        assert alice.ask("GET", "/status").status == 200
        assert is_well(server)


def test_a_process_out_of_descriptors_answers_and_recovers(tmp_path: Path):
    with Served(tmp_path / "data").add_alice() as server:
        alice = Client(server, scope=("io.cozy.files", "io.cozy.things"))
        assert upload(alice, "before", BIG).status == 201
        assert server.process is not None
        pid = server.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{pid}/fd"))
        with contextlib.ExitStack() as opened:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, before[1]))
            statuses = {upload(alice, f"few-{number}", BIG).status for number in range(5)}
            assert statuses <= {201, 503, 507}
            for _ in range(12):  # more connections than descriptors
                opened.enter_context(Raw(server.port))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        eventually(lambda: alice.ask("GET", "/status").status == 200)
        assert upload(alice, "after", BIG).status == 201
        assert download(alice, "before").body == BIG
        eventually(lambda: left_over(server) == [])
        assert is_well(server)
