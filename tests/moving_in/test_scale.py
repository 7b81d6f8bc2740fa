"""A large cozy moves in: the full size by `make soak`, a share of it in each run; what it costs is printed."""

import base64
import hashlib
import json
import os
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.serving import CLI, Served

DOMAIN = "large.example.org"
PREFIX = "cozy" + hashlib.sha256(DOMAIN.encode()).hexdigest()[:32]
IN_A_FOLDER = 500
TIME = "2026-11-01T10:00:00Z"


def line(id: str, **body: object) -> str:
    digest = hashlib.md5(id.encode(), usedforsecurity=False).hexdigest()
    return json.dumps({"_id": id, "_rev": f"1-{digest}", "_revisions": {"start": 1, "ids": [digest]}} | body) + "\n"


def make_dump(folder: Path, documents: int, files: int) -> None:
    """A dump of one instance with so many documents and small files, and its storage tree."""
    (folder / "databases").mkdir(parents=True)
    secret = base64.b64encode(b"s" * 64).decode()
    record = line("large", domain=DOMAIN, prefix=PREFIX, locale="en", session_secret=secret, oauth_secret=secret, cli_secret=secret)
    (folder / "databases" / "global__instances.jsonl").write_text(record)
    with (folder / "databases" / f"{PREFIX}__io-cozy-todos.jsonl").open("w") as out:
        out.writelines(line(f"todo-{number:06}", summary=f"Task {number}", done=number % 3 == 0) for number in range(documents))
    root = {"type": "directory", "created_at": TIME, "updated_at": TIME}
    with (folder / "databases" / f"{PREFIX}__io-cozy-files.jsonl").open("w") as out:
        out.write(line("io.cozy.files.root-dir", path="/", **root))
        out.write(line("io.cozy.files.trash-dir", name=".cozy_trash", dir_id="io.cozy.files.root-dir", path="/.cozy_trash", **root))
        for number in range(files):
            home, name = number // IN_A_FOLDER, f"file-{number}.txt"
            place = folder / "storage" / DOMAIN / f"folder-{home}"
            if number % IN_A_FOLDER == 0:
                place.mkdir(parents=True)
                out.write(line(f"dir{home:029}", name=place.name, dir_id="io.cozy.files.root-dir", path=f"/{place.name}", **root))
            content = f"content {number}".encode()
            (place / name).write_bytes(content)
            md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
            about = {"size": str(len(content)), "md5sum": md5, "mime": "text/plain", "class": "text", "trashed": False, "executable": False}
            times = {"created_at": TIME, "updated_at": TIME}
            out.write(line(uuid.UUID(int=number).hex, type="file", name=name, dir_id=f"dir{home:029}", **about, **times))


def move_in(tmp_path: Path, documents: int, files: int) -> tuple[float, float]:
    """Seconds, and the most memory in MB, that the import took."""
    make_dump(tmp_path / "dump", documents, files)
    server = Served(tmp_path / "data")
    began = time.monotonic()
    command = [*CLI, "import-cozy", str(tmp_path / "dump"), "--storage", str(tmp_path / "dump" / "storage"), "--json"]
    log = tmp_path / "import.log"
    with log.open("wb") as out, subprocess.Popen(command, env=server.environ, stdout=out, stderr=out) as moving:
        _, status, used = os.wait4(moving.pid, 0)
        moving.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - began
    assert moving.returncode == 0, log.read_text()[-4000:]
    usage = json.loads(Command(tmp_path / "data")("files", "usage", DOMAIN, "--json").out)
    assert int(usage["files"]) == sum(len(f"content {number}") for number in range(files))
    return took, used.ru_maxrss / 1024


def test_thousands_of_documents_and_files_move_in(tmp_path: Path):
    move_in(tmp_path, 2_000, 1_000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_documents_and_fifty_thousand_files_move_in(tmp_path: Path):
    took, memory = move_in(tmp_path, 100_000, 50_000)
    print(f"100,000 documents and 50,000 files: {took:.0f} s, {memory:.0f} MB")
    assert took <= 600
    assert memory <= 200
