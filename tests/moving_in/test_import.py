"""`cozyd import-cozy`: a lived-in cozy comes in whole; what is broken is named; a cut run goes on."""

import base64
import hashlib
import json
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

import pytest

from cozyd.config import load
from cozyd.stack import Stack
from tests.moving_in.conftest import player
from tests.moving_in.player import ACCESS, FIXTURE, Player
from tests.support.command import Command
from tests.support.serving import CLI, Served

DOMAIN, PREFIX = ACCESS["domain"], ACCESS["prefix"]
DATABASES = json.loads((FIXTURE / "databases.json").read_text())
JSON = {"Content-Type": "application/json"}


def lines_of(database: str) -> list[dict[str, Any]]:
    path = FIXTURE / "databases" / DATABASES[database]["file"]
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def troubles(text: str) -> list[tuple[str, str]]:
    return [(step["kind"], step["name"]) for step in steps(text) if step["step"] == "trouble"]


def get(who: Player, path: str) -> Any:
    return json.loads(who.ask("GET", path, {"Authorization": f"Bearer {who.token}", "Accept": "application/json"}).body)


@pytest.fixture
def copy(tmp_path: Path, storage: Path) -> tuple[Path, Path]:
    """Dump and storage that a test may break."""
    dump, tree = tmp_path / "dump", tmp_path / "storage"
    shutil.copytree(FIXTURE, dump)
    shutil.copytree(storage, tree)
    return dump, tree


def imported(tmp_path: Path, dump: Path, tree: Path, *more: str, **environ: str) -> Any:
    return Command(tmp_path / "data")("import-cozy", str(dump), "--storage", str(tree), "--json", *more, **environ)


# -- whole ----------------------------------------------------------------------------------------------------------


def test_every_leaf_comes_with_its_history_fields_and_attachments(tmp_path: Path, storage: Path):
    assert imported(tmp_path, FIXTURE, storage).status == 0
    stack = Stack.open(load(None, {}, {("storage", "path"): tmp_path / "data"}))
    try:
        docs = stack.instance(DOMAIN).docs
        for database in sorted(name for name in DATABASES if name.startswith(PREFIX)):
            doctype, revs = database.partition("/")[2].replace("-", "."), dict[str, list[str]]()
            wanted = {f"{line['_id']} {line['_rev']}": line for line in lines_of(database)}
            for line in wanted.values():
                revs.setdefault(line["_id"], []).append(line["_rev"])
            found = {f"{doc['_id']} {doc['_rev']}": doc for doc in docs.replicas(doctype, revs)}
            assert found == wanted, doctype
            assert {row.id for row in docs.changes(doctype).rows} == revs.keys(), doctype
    finally:
        stack.close()


def test_a_new_edit_of_a_conflict_grows_from_its_winner(tmp_path: Path, storage: Path, configuration: dict[str, str]):
    server = Served(tmp_path / "data", environ=configuration)
    server.cli("import-cozy", str(FIXTURE), "--storage", str(storage))
    with server:
        who = player(server)
        for id in ("conflict-two", "conflict-three", "conflict-dead", "conflict-roots"):
            doc = get(who, f"/data/io.cozy.contacts/{id}")
            headers = {"Authorization": f"Bearer {who.token}"} | JSON
            body = json.dumps({name: value for name, value in doc.items() if name != "_type"} | {"note": "edited"})
            answer = json.loads(who.ask("PUT", f"/data/io.cozy.contacts/{id}", headers, body.encode()).body)
            assert int(answer["rev"].split("-")[0]) == int(doc["_rev"].split("-")[0]) + 1


def test_every_content_has_the_bytes_its_document_says(moved: Served):
    who = player(moved)
    files = [doc for doc in lines_of(f"{PREFIX}/io-cozy-files") if doc.get("type") == "file" and not doc.get("_deleted")]
    assert len(files) == 94
    for doc in files:
        answer = who.ask("GET", f"/files/download/{doc['_id']}", {"Authorization": f"Bearer {who.token}"})
        assert len(answer.body) == int(doc["size"])
        assert base64.b64encode(hashlib.md5(answer.body, usedforsecurity=False).digest()).decode() == doc["md5sum"]
    versions = [doc for doc in lines_of(f"{PREFIX}/io-cozy-files-versions") if not doc["_id"].startswith("_") and not doc.get("_deleted")]
    assert len(versions) == 9
    for doc in versions:
        answer = who.ask("GET", f"/files/download/{doc['_id']}", {"Authorization": f"Bearer {who.token}"})
        assert base64.b64encode(hashlib.md5(answer.body, usedforsecurity=False).digest()).decode() == doc["md5sum"]


def test_the_old_storage_is_left_as_it_was_and_costs_no_second_copy(tmp_path: Path, copy: tuple[Path, Path]):
    dump, tree = copy
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in tree.rglob("*") if path.is_file()}
    assert imported(tmp_path, dump, tree).status == 0
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in tree.rglob("*") if path.is_file()} == before
    here = {path.stat().st_ino for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file()}
    assert {inode for inode, _ in before.values()} <= here


def test_both_spellings_of_a_name_stay_apart(moved: Served):
    who = player(moved)
    names = ("Caf%C3%A9%20cr%C3%A8me.txt", "Cafe%CC%81%20cre%CC%80me.txt")
    found = [get(who, f"/files/metadata?Path=/Documents/{name}")["data"] for name in names]
    assert [one["attributes"]["name"] for one in found] == [unquote(name) for name in names]
    assert found[0]["id"] != found[1]["id"]


def test_secrets_of_accounts_are_hidden_from_people_and_open_for_konnectors(moved: Served):
    token = moved.cli("token", DOMAIN, "io.cozy.accounts", "--app", "home").strip().splitlines()[-1]
    who = Player(moved.port, token)
    for id, clear in ACCESS["accounts"]["plain"].items():
        shown = who.ask("GET", f"/data/io.cozy.accounts/{id}?include=credentials", {"Authorization": f"Bearer {token}"})
        doc = json.loads(shown.body)
        for path, value in clear.items():
            *parents, name = path.split(".")
            at: Mapping[str, Any] = doc
            for parent in parents:
                at = at[parent]
            assert (at["login"], at["password"]) == tuple(value) if name == "credentials" else at[name] == value


def test_a_dry_run_says_what_would_come_and_writes_nothing(tmp_path: Path, storage: Path):
    done = imported(tmp_path, FIXTURE, storage, "--dry-run")
    assert (done.status, troubles(done.out)) == (0, [])
    moved = next(step for step in steps(done.out) if step["step"] == "moved")
    assert (moved["domain"], moved["revisions"]) == (
        DOMAIN,
        sum(one["leaves"] for name, one in DATABASES.items() if name.startswith(PREFIX)),
    )
    assert Command(tmp_path / "data")("instances", "list").out.strip() == ""
    assert not [path for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file()]


def test_it_can_be_run_again_and_brings_what_is_new(tmp_path: Path, copy: tuple[Path, Path]):
    dump, tree = copy
    assert imported(tmp_path, dump, tree).status == 0
    bookmarks = dump / "databases" / f"{PREFIX}__io-cozy-bookmarks.jsonl"
    line = json.loads(bookmarks.read_text().splitlines()[0])
    ids = ["f" * 32, *line["_revisions"]["ids"]]
    newer = line | {"_rev": f"2-{ids[0]}", "_revisions": {"start": 2, "ids": ids}, "note": "written later"}
    bookmarks.write_text(json.dumps(newer) + "\n")
    done = imported(tmp_path, dump, tree)
    assert (done.status, troubles(done.out)) == (0, [])


# -- broken ---------------------------------------------------------------------------------------------------------


def test_a_truncated_dump_is_named_and_the_rest_comes(tmp_path: Path, copy: tuple[Path, Path]):
    dump, tree = copy
    path = dump / "databases" / f"{PREFIX}__io-cozy-todos.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    (dump / "databases" / f"{PREFIX}__io-cozy-bookmarks.jsonl").unlink()
    done = imported(tmp_path, dump, tree)
    assert done.status == 1
    count = DATABASES[f"{PREFIX}/io-cozy-todos"]["leaves"]
    assert troubles(done.out)[:3] == [
        ("missing_file", f"{PREFIX}/io-cozy-bookmarks"),
        ("damaged_line", f"{PREFIX}/io-cozy-todos line {count}"),
        ("missing_lines", f"{PREFIX}/io-cozy-todos"),
    ]
    assert DOMAIN in Command(tmp_path / "data")("instances", "list").out


def test_a_missing_and_an_altered_content_are_named_and_the_rest_comes(tmp_path: Path, copy: tuple[Path, Path]):
    dump, tree = copy
    files = sorted(path for path in (tree / DOMAIN / "Many").iterdir() if path.is_file())
    gone, altered = files[:2]
    gone.unlink()
    altered.write_bytes(b"x" * altered.stat().st_size)
    done = imported(tmp_path, dump, tree)
    assert done.status == 1
    assert sorted(troubles(done.out)) == [("missing_content", f"/Many/{gone.name}"), ("wrong_md5", f"/Many/{altered.name}")]
    found = Command(tmp_path / "data")("fsck", DOMAIN, "--json")
    kinds = {step["type"] for step in steps(found.out) if "type" in step and step["type"] != "index_duplicate_name"}
    assert {"filesystem_missing", "content_mismatch"} <= kinds


def test_two_instances_of_one_domain_are_named_and_the_first_comes(tmp_path: Path, copy: tuple[Path, Path]):
    dump, tree = copy
    path = dump / "databases" / "global__instances.jsonl"
    record = json.loads(path.read_text().splitlines()[-1])
    other = record | {"_id": "other", "prefix": "cozy" + "0" * 32}
    other.pop("_revisions")
    path.write_text(path.read_text() + json.dumps(other | {"_rev": "1-" + "a" * 32}) + "\n")
    (dump / "databases" / f"cozy{'0' * 32}__io-cozy-files.jsonl").touch()
    (dump / "databases.json").unlink()
    done = imported(tmp_path, dump, tree)
    assert (done.status, troubles(done.out)) == (1, [("same_domain", DOMAIN)])
    assert DOMAIN in Command(tmp_path / "data")("instances", "list").out


def test_without_its_storage_the_documents_come_and_it_is_said(tmp_path: Path):
    done = Command(tmp_path / "data")("import-cozy", str(FIXTURE), "--json")
    assert (done.status, troubles(done.out)) == (1, [("missing_storage", DOMAIN)])


def test_what_is_no_source_is_refused(tmp_path: Path):
    run = Command(tmp_path / "data")
    assert "has no dump" in run("import-cozy", str(tmp_path)).err
    assert run("import-cozy", str(FIXTURE), "--domain", "nobody.example.org").status == 1
    assert run("import-cozy").status == 2


# -- cut ------------------------------------------------------------------------------------------------------------


def cut_and_ended(folder: Path, dump: Path, tree: Path, times: int, random: Random) -> None:
    """Kill an import at random moments, then let it end."""
    server = Served(folder / "data")
    command = [*CLI, "import-cozy", str(dump), "--storage", str(tree), "--json"]
    for _ in range(times):
        with subprocess.Popen(command, env=server.environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(random.randrange(1, 90)):
                if not process.stdout.readline():
                    break
            process.send_signal(signal.SIGKILL)
    server.cli("import-cozy", str(dump), "--storage", str(tree))


def check_whole(folder: Path) -> None:
    run = Command(folder / "data")
    found = [step for step in steps(run("fsck", DOMAIN, "--json").out) if "type" in step]
    assert {step["type"] for step in found} <= {"index_duplicate_name", "document_store"}
    usage = json.loads(run("files", "usage", DOMAIN, "--json").out)
    assert (usage["files"], usage["versions"]) == ("107057", "40058")


def test_an_import_that_is_killed_ends_whole_when_it_is_run_again(tmp_path: Path, storage: Path):
    cut_and_ended(tmp_path, FIXTURE, storage, 4, Random(1))
    check_whole(tmp_path)
    with Served(tmp_path / "data") as server:
        who = player(server)
        found = get(who, "/data/io.cozy.contacts/_all_docs")
        live = {line["_id"] for line in lines_of(f"{PREFIX}/io-cozy-contacts")}
        assert {row["id"] for row in found["rows"]} <= live
        assert len(found["rows"]) == DATABASES[f"{PREFIX}/io-cozy-contacts"]["documents"] - 1  # its JavaScript view


@pytest.mark.soak
def test_an_import_killed_twenty_times_ends_whole(tmp_path: Path, storage: Path):
    cut_and_ended(tmp_path, FIXTURE, storage, 20, Random(20))
    check_whole(tmp_path)
