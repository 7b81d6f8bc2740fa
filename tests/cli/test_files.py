"""`cozyd files` and `cozyd fsck`: folders in and out, what files take, whether all is well; with a server running and without."""

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.command import Command, Done
from tests.support.serving import Served

DOMAIN = "alice.localhost:8080"
ODD_NAMES = [
    "plain.txt",
    "UPPER.txt",
    "upper.txt",
    " leading and trailing ",
    "trailing dot.",
    "CON",
    "-rf",
    "a\\b",
    "tab\there",
    "\x01\x7f",
    'quote"s',
    "percent%20",
    "emoji 😀.txt",
    "עברית.txt",
    "\u202ereversed.txt",
    "e\u0301 decomposed.txt",
    "é composed.txt",
    "x" * 255,
    "é" * 127,
    "...",
    "~",
    "#?&;",
    "$(touch x)",
    "nul" + "․" + "txt",
]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    run = Command(tmp_path / "data")
    assert run("instances", "add", DOMAIN).status == 0
    return run


def tree_of(folder: Path) -> dict[str, bytes | None]:
    """Relative path -> content; None: a folder."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def lines(done: Done) -> list[Any]:
    return [json.loads(line) for line in done.out.splitlines()]


def blobs(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "blobs").glob("cozy*/*/*/*") if path.is_file())


# -- in and out ---------------------------------------------------------------------------------------------------------


def test_a_folder_comes_back_as_it_went_in(command: Command, tmp_path: Path):
    source = tmp_path / "source"
    deep = source / "Documents" / "Deep" / "Deeper"
    deep.mkdir(parents=True)
    (source / "Empty").mkdir()
    for number, name in enumerate(ODD_NAMES):
        (source / name).write_bytes(os.urandom(number * 37))
    (deep / "big.bin").write_bytes(os.urandom(3_000_000))
    (deep / "run.sh").write_text("#!/bin/sh")
    (deep / "run.sh").chmod(0o755)
    os.utime(deep / "run.sh", (1_000_000_000, 1_000_000_000))
    done = command("files", "import", str(source), DOMAIN)
    assert (done.status, done.err) == (0, "")
    assert f"{len(ODD_NAMES) + 2} files" in done.last_line
    out = command("files", "export", DOMAIN, str(tmp_path / "out"))
    assert (out.status, out.err) == (0, "")
    expected = tree_of(source) | {"Administrative": None, "Photos": None}
    assert tree_of(tmp_path / "out") == expected
    back = tmp_path / "out" / "Documents" / "Deep" / "Deeper" / "run.sh"
    assert (back.stat().st_mtime, bool(back.stat().st_mode & 0o100)) == (1_000_000_000, True)
    assert command("fsck", DOMAIN).status == 0


def test_an_import_can_be_run_again(command: Command, tmp_path: Path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "same.txt").write_text("same")
    (source / "sub" / "changes.txt").write_text("before")
    assert lines(command("files", "import", str(source), DOMAIN, "/Photos", "--json"))[-1]["files"] == 2
    (source / "sub" / "changes.txt").write_text("after")
    (source / "sub" / "new.txt").write_text("new")
    last = lines(command("files", "import", str(source), DOMAIN, "/Photos", "--json"))[-1]
    assert (last["step"], last["files"], last["folders"], last["same"]) == ("done", 2, 0, 1)
    command("files", "export", DOMAIN, "/Photos", str(tmp_path / "out"))
    assert tree_of(tmp_path / "out") == tree_of(source)


def test_what_is_no_file_is_told_and_the_rest_is_taken(command: Command, tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    (source / "line\nend").write_text("x")
    (source / os.fsdecode(b"latin-\xe9")).write_text("x")
    (source / "good").write_text("x")
    done = command("files", "import", str(source), DOMAIN)
    assert "1 files" in done.last_line
    assert "4 skipped" in done.last_line
    for name in ("link", "pipe"):
        assert f"{source / name}: it is neither file nor folder" in done.err
    assert done.err.count("its name cannot be one here") == 2


def test_twins_of_a_disk_get_names_of_their_own(command: Command, tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    (source / composed).write_text("composed")
    (source / decomposed).write_text("decomposed")
    command("files", "import", str(source), DOMAIN, "/Photos")
    command("files", "export", DOMAIN, "/Photos", str(tmp_path / "out"))
    assert sorted(content for content in tree_of(tmp_path / "out").values() if content) == [b"composed", b"decomposed"]


def test_the_references_local_storage_is_taken_with_its_trash(command: Command, tmp_path: Path):
    storage = tmp_path / "cozy.localhost:8080"
    for folder in ("Photos", ".cozy_trash/Old folder", ".cozy_versions/0123/4567", ".thumbs/0123", ".cozy_apps/drive/1.0.0"):
        (storage / folder).mkdir(parents=True)
    (storage / "Photos" / "a.jpg").write_bytes(b"jpeg")
    (storage / ".cozy_trash" / "thrown away.txt").write_bytes(b"trash")
    (storage / ".cozy_trash" / "Old folder" / "in it.txt").write_bytes(b"deep trash")
    (storage / ".cozy_versions" / "0123" / "4567" / "3-abc").write_bytes(b"old")
    (storage / ".thumbs" / "0123" / "small.jpg").write_bytes(b"thumb")
    (storage / ".cozy_apps" / "drive" / "1.0.0" / "index.html.br").write_bytes(b"app")
    done = command("files", "import", str(storage), DOMAIN)
    assert done.status == 0
    assert "1 old contents" in done.err
    command("files", "export", DOMAIN, str(tmp_path / "out"))
    assert tree_of(tmp_path / "out") == {"Administrative": None, "Photos": None, "Photos/a.jpg": b"jpeg"}
    command("files", "export", DOMAIN, "/.cozy_trash", str(tmp_path / "trash"))
    assert tree_of(tmp_path / "trash") == {"thrown away.txt": b"trash", "Old folder": None, "Old folder/in it.txt": b"deep trash"}
    assert json.loads(command("files", "usage", DOMAIN, "--json").out)["trashed"] == "15"
    assert command("fsck", DOMAIN, "--offline").status == 0


def test_an_altered_content_is_never_exported(command: Command, tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "photo.jpg").write_bytes(b"x" * 50_000)
    (source / "other.jpg").write_bytes(b"y" * 1000)
    command("files", "import", str(source), DOMAIN, "/Photos")
    [photo] = [path for path in blobs(command.folder) if path.read_bytes()[:1] == b"x"]
    photo.write_bytes(b"x" * 49_999 + b"z")
    done = command("files", "export", DOMAIN, "/Photos", str(tmp_path / "out"))
    assert (done.status, done.err) == (1, "/Photos/photo.jpg: its content was altered\n")
    assert tree_of(tmp_path / "out") == {"other.jpg": b"y" * 1000}
    photo.unlink()
    done = command("files", "export", DOMAIN, "/Photos", str(tmp_path / "again"))
    assert (done.status, done.err) == (1, "/Photos/photo.jpg: its content is gone\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", DOMAIN, "{full}"), "is not empty"),
        (("export", DOMAIN, "/none", "{new}"), "file does not exist"),
        (("export", DOMAIN, "relative", "{new}"), "Path must be absolute"),
        (("export", "nobody.localhost", "{new}"), "Instance not found"),
        (("import", "{full}", "nobody.localhost"), "Instance not found"),
        (("import", "{full}", DOMAIN, "../up"), "Path must be absolute"),
        (("import", "{full}", DOMAIN, "/a/../../up"), "The path climbs"),
        (("usage", "nobody.localhost"), "Instance not found"),
    ],
)
def test_mistakes_are_one_sentence(command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    named = [one.format(full=tmp_path / "full", new=tmp_path / "new") for one in arguments]
    done = command("files", *named)
    assert done.status == 1
    assert done.err.startswith("Error: ")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_full_quota_ends_an_import_and_what_came_before_stays(command: Command, tmp_path: Path):
    command("instances", "set", DOMAIN, "--quota", "5000")
    source = tmp_path / "source"
    source.mkdir()
    for name in "abc":
        (source / name).write_bytes(b"x" * 2000)
    done = command("files", "import", str(source), DOMAIN)
    assert (done.status, done.err) == (1, "Error: The file is too big and exceeds the disk quota\n")
    usage = json.loads(command("files", "usage", DOMAIN, "--json").out)
    assert (usage["files"], usage["used"], usage["quota"], usage["versions_count"]) == ("4000", "4000", "5000", "0")
    assert "4,000 bytes" in command("files", "usage", DOMAIN).out
    assert command("fsck", DOMAIN, "--offline").status == 0


# -- fsck ---------------------------------------------------------------------------------------------------------------


def test_fsck_tells_what_it_finds_and_mends(command: Command, tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("kept", "lost", "bad"):
        (source / name).write_bytes(name.encode() * 20_000)
    command("files", "import", str(source), DOMAIN)
    assert command("fsck", DOMAIN, "--offline").out == f"{DOMAIN}: all is well\n"
    found = {path.read_bytes()[:3]: path for path in blobs(command.folder)}
    orphan = found[b"kep"].parent / ("f" * 16)
    orphan.write_bytes(b"nobody's")
    found[b"los"].unlink()
    found[b"bad"].write_bytes(b"BAD" * (len(found[b"bad"].read_bytes()) // 3))
    young = command("fsck", DOMAIN)
    assert young.status == 1
    assert "index_missing " not in young.out, "it may be on its way to a document"
    done = command("fsck", "--all", "--offline", "--mend")
    assert done.status == 1
    assert f"{DOMAIN}: filesystem_missing /lost" in done.out
    assert f"{DOMAIN}: mended filesystem_missing /lost" in done.out
    assert "mended index_missing" in done.out
    assert "content_mismatch bad" in done.out
    assert done.last_line == f"{DOMAIN}: 3 findings, 2 of them mended"
    assert not orphan.exists()
    left = lines(command("fsck", DOMAIN, "--json"))
    assert [one["type"] for one in left if "type" in one] == ["content_mismatch"]
    mismatch = next(one for one in left if "type" in one)
    assert mismatch["content_mismatch"]["md5sum_index"] != mismatch["content_mismatch"]["md5sum_file"]
    assert (mismatch["domain"], mismatch["is_file"], mismatch["mendable"]) == (DOMAIN, True, False)
    assert {"step": "bytes", "domain": DOMAIN, "done": 140_000, "of": 140_000} in left
    assert command("fsck", DOMAIN, "--no-contents").status == 0


@pytest.mark.parametrize("arguments", [(), (DOMAIN, "--all")])
def test_fsck_wants_one_instance_or_all(command: Command, arguments: tuple[str, ...]):
    assert command("fsck", *arguments).status == 2


def test_while_a_server_runs_commands_work_by_way_of_it(fresh: Served, tmp_path: Path):
    alice = Client(fresh, scope=("io.cozy.files",))
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("by way of the server")
    run = Command(fresh.folder)
    assert run("files", "import", str(source), fresh.domain, "/Photos").status == 0
    assert alice.api("GET", "/files/download?Path=/Photos/a.txt").body == b"by way of the server"
    assert run("files", "export", fresh.domain, "/Photos", str(tmp_path / "out")).status == 0
    assert tree_of(tmp_path / "out") == {"a.txt": b"by way of the server"}
    assert run("fsck", "--all").out == f"{fresh.domain}: all is well\n"
    offline = run("fsck", "--all", "--offline")
    assert (offline.status, "stop it first" in offline.err) == (1, True)
