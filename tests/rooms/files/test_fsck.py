"""fsck: what it names when documents and contents are told apart by hand, and that it mends what it says it can."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Ref, Stored, Write
from cozyd.files import File, Files
from cozyd.files.checkup import Mended, Progress
from cozyd.files.fsck import Entry, Finding, Look, compare, entry_of
from cozyd.files.mending import LOST
from cozyd.files.tree import TRASH_DIR, TRASH_NAME, TRASH_PATH, VERSIONS
from cozyd.instance import Instance
from cozyd.permissions import FILES, ROOT_DIR
from cozyd.stack import Stack
from tests.support.files import content, names, root, write
from tests.support.stack import Clock, open_stack

AT_ONCE = timedelta(seconds=-60)


def findings(alice: Instance, **options: Any) -> list[tuple[str, str]]:
    found = alice.checkup.run(**({"orphan_age": AT_ONCE} | options))
    return sorted((one.type, one.path) for one in found if isinstance(one, Finding))


def mend(alice: Instance, **options: Any) -> tuple[set[str], set[str]]:
    """Types found, and types mended."""
    steps = list(alice.checkup.run(mend=True, **({"orphan_age": AT_ONCE} | options)))
    return {one.type for one in steps if isinstance(one, Finding)}, {one.finding.type for one in steps if isinstance(one, Mended)}


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Instance]:
    """By the clock of the machine, as contents have its times; after each test all is well again."""
    stack = Stack(open_stack_config(tmp_path / "data"))
    alice = stack.create("alice.localhost")
    assert findings(alice) == []
    yield alice
    assert findings(alice) == []
    stack.close()


def open_stack_config(folder: Path) -> Any:
    from cozyd.config import Config, Storage

    return Config(storage=Storage(path=folder))


@pytest.fixture
def files(alice: Instance) -> Files:
    return alice.files


def patch(alice: Instance, id: str, **fields: Any) -> None:
    """Change a document behind the room's back."""
    stored = alice.docs.get(Ref(FILES, id))
    alice.docs.commit([Write(stored.ref, patch=fields, rev=stored.rev)])


def blobs_of(alice: Instance) -> Any:
    return alice._drivers.blobs


def path_of(alice: Instance, file: File) -> Path:
    found: Path = blobs_of(alice)._path(alice.prefix, file.blob.key)
    return found


# -- contents -----------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_named_and_never_made_good(alice: Instance, files: Files):
    file = write(files, root(files), "photo.jpg", b"x" * 50_000)
    path = path_of(alice, file)
    whole = path.read_bytes()
    path.write_bytes(whole[:99] + b"\x79" + whole[100:])
    assert findings(alice) == [("content_mismatch", "photo.jpg")]
    assert findings(alice, contents=False) == []
    assert mend(alice) == ({"content_mismatch"}, set())
    assert files.get(file.id).stored.text == file.stored.text
    path.write_bytes(whole)


@pytest.mark.parametrize("size", [0, 49_999, 50_001])
def test_a_content_of_another_length_is_named_without_being_read(alice: Instance, files: Files, size: int):
    file = write(files, root(files), "cut.bin", b"x" * 50_000)
    path_of(alice, file).write_bytes(b"x" * size)
    [found] = [one for one in alice.checkup.run(contents=False) if isinstance(one, Finding)]
    assert (found.type, found.path) == ("content_mismatch", "/cut.bin")
    assert (found.about["content_mismatch"]["size_index"], found.about["content_mismatch"]["size_file"]) == (50_000, size)
    path_of(alice, file).write_bytes(b"x" * 50_000)


def test_a_content_nobody_names_is_deleted_once_it_is_old(alice: Instance, files: Files):
    with files.new(size=40_000) as upload:
        upload.write(b"lost" * 10_000)
        blob = upload.seal()
    assert findings(alice, orphan_age=timedelta(hours=1)) == []
    assert [one.id for one in alice.checkup.run(orphan_age=AT_ONCE) if isinstance(one, Finding)] == [blob.key]
    assert mend(alice) == ({"index_missing"}, {"index_missing"})
    assert list(blobs_of(alice).list(alice.prefix)) == []


def test_a_file_whose_content_is_gone_gets_its_newest_version(alice: Instance, files: Files):
    file = write(files, root(files), "letter.txt", b"third" * 10_000)
    for number, text in (("0" * 16, b"first"), ("1" * 16, b"second")):
        with blobs_of(alice).new(alice.prefix, f"{file.id}/{number}", size=len(text)) as new:
            new.write(text)
            blob = new.seal()
        body = {"size": str(blob.size), "md5sum": blob.md5, "updated_at": f"2026-01-0{1 + int(number[0])}T00:00:00Z", "tags": None}
        alice.docs.commit([Write(Ref(VERSIONS, blob.key), body=body)])
    assert findings(alice) == []
    path_of(alice, file).unlink()
    assert findings(alice) == [("filesystem_missing", "/letter.txt")]
    assert mend(alice) == ({"filesystem_missing"}, {"filesystem_missing"})
    assert content(files, files.at("/letter.txt")) == b"second"
    assert [stored.ref.id[-16:] for stored in alice.docs.all(VERSIONS).rows] == ["0" * 16]


def test_a_file_whose_only_content_is_gone_is_none(alice: Instance, files: Files):
    file = write(files, root(files), "gone.txt", b"only" * 10_000)
    write(files, root(files), "stays.txt", b"this")
    path_of(alice, file).unlink()
    before = files.usage()[0]
    [found] = [one for one in alice.checkup.run() if isinstance(one, Finding)]
    assert found.about == {"size": 40_000, "md5sum": file.blob.md5}
    assert mend(alice) == ({"filesystem_missing"}, {"filesystem_missing"})
    assert "gone.txt" not in names(files, root(files))
    assert files.usage()[0] == before - 40_000


def test_a_version_without_its_file_goes_with_its_content(alice: Instance):
    key = f"{'e' * 32}/{'0' * 16}"
    with blobs_of(alice).new(alice.prefix, key) as new:
        new.write(b"old")
        blob = new.seal()
    alice.docs.commit([Write(Ref(VERSIONS, key), body={"size": "3", "md5sum": blob.md5, "updated_at": "2026-01-01T00:00:00Z"})])
    assert mend(alice) == ({"file_missing"}, {"file_missing"})
    assert list(blobs_of(alice).list(alice.prefix)) == []


# -- the tree -----------------------------------------------------------------------------------------------------------


def test_wrong_paths_are_set_right_with_all_below(alice: Instance, files: Files):
    top = files.mkdir(root(files), "Top")
    below = files.mkdir(files.mkdir(top, "Middle"), "Below")
    write(files, below, "file.txt")
    patch(alice, top.id, path="/Elsewhere")
    patch(alice, below.id, path="/Top/Below")
    assert findings(alice) == [("index_bad_fullpath", "/Elsewhere"), ("index_bad_fullpath", "/Top/Below")]
    mend(alice)
    assert files.at("/Top/Middle/Below/file.txt").name == "file.txt"
    assert files.dir(below.id).path == "/Top/Middle/Below"


def test_flags_of_the_trash_are_set_right(alice: Instance, files: Files):
    outside, inside = write(files, root(files), "outside.txt"), write(files, root(files), "inside.txt")
    files.trash(inside)
    patch(alice, outside.id, trashed=True)
    patch(alice, inside.id, trashed=False)
    assert findings(alice) == [("not_trashed_in_trash", "/.cozy_trash/inside.txt"), ("trashed_not_in_trash", "/outside.txt")]
    mend(alice)


def test_a_file_has_no_path(alice: Instance, files: Files):
    patch(alice, write(files, root(files), "file.txt").id, path="/file.txt")
    assert mend(alice) == ({"index_file_with_path"}, {"index_file_with_path"})


def test_what_hangs_on_nothing_is_found_again(alice: Instance, files: Files):
    home = files.mkdir(root(files), "Home")
    inside = files.mkdir(home, "Inside")
    write(files, inside, "deep.txt", b"deep")
    write(files, home, "loose.txt", b"loose")
    alice.docs.commit([Write(home.stored.ref, rev=home.rev, deleted=True)])
    assert {type for type, _ in findings(alice)} == {"index_orphan_tree"}
    mend(alice)
    assert content(files, files.at(f"/{LOST}/Inside/deep.txt")) == b"deep"
    assert content(files, files.at(f"/{LOST}/loose.txt")) == b"loose"


def test_a_ring_of_folders_is_opened(alice: Instance, files: Files):
    one = files.mkdir(root(files), "One")
    two = files.mkdir(one, "Two")
    write(files, two, "in the ring.txt", b"x")
    patch(alice, one.id, dir_id=two.id)
    assert {type for type, _ in findings(alice)} == {"index_orphan_tree"}
    mend(alice)
    assert {type for type, _ in findings(alice)} == set()
    assert any(stored.doc.get("name") == "in the ring.txt" for stored in alice.docs.all(FILES).rows)


def test_root_and_trash_are_made_again(alice: Instance, files: Files):
    for id in (ROOT_DIR, TRASH_DIR):
        stored = alice.docs.get(Ref(FILES, id))
        alice.docs.commit([Write(stored.ref, rev=stored.rev, deleted=True)])
    found, mended = mend(alice)
    assert {"index_missing_root", "index_missing_trash"} <= found & mended
    assert files.dir(TRASH_DIR).path == TRASH_PATH
    assert files.at("/Photos").name == "Photos"


def test_conflicting_revisions_end(alice: Instance, files: Files):
    file = write(files, root(files), "file.txt", b"content")
    lost = {key: value for key, value in file.stored.doc.items() if not key.startswith("_")} | {"tags": ["other"]}
    lost |= {"_id": file.id, "_rev": "1-" + "0" * 32, "_revisions": {"start": 1, "ids": ["0" * 32]}}
    alice.docs.graft(FILES, [lost])
    assert findings(alice) == [("conflict_in_index", "/file.txt")]
    assert mend(alice) == ({"conflict_in_index"}, {"conflict_in_index"})
    assert files.get(file.id).stored.text == file.stored.text


def test_twins_are_all_but_the_first_and_by_their_composed_form():
    tops = [Entry(ROOT_DIR, "1", "directory", path="/"), Entry(TRASH_DIR, "1", "directory", ROOT_DIR, TRASH_NAME, TRASH_PATH)]
    twins = [Entry(id, "1", "directory", ROOT_DIR, name, f"/{name}") for id, name in (("a", "é"), ("b", "é"), ("c", "e"))]
    found = compare(look(*tops, *twins))
    assert [(one.type, one.id) for one in found] == [("index_duplicate_name", "b")]


def look(*entries: Entry) -> Look:
    return Look({entry.id: entry for entry in entries}, {}, [], {}, (0, 0), datetime.now(UTC))


@pytest.mark.parametrize("text", [b"{}", b'{"type":"file"}', b'{"type":"file","size":"x"}', b'{"type":"directory"}', b'{"type":3}'])
def test_a_document_that_is_neither_file_nor_folder_is_told_from_them(text: bytes):
    assert entry_of(Stored(Ref(FILES, "x"), "1-x", text)) is None


def test_a_document_that_is_nothing_is_named_and_left_alone(alice: Instance):
    [odd] = alice.docs.commit([Write(Ref(FILES, "odd"), body={"odd": True})])
    assert mend(alice) == ({"index_bad_document"}, set())
    alice.docs.commit([Write(Ref(FILES, "odd"), rev=odd.made.rev, deleted=True)])


# -- the store ----------------------------------------------------------------------------------------------------------


def test_wrong_totals_are_counted_again(tmp_path: Path, clock: Clock):
    stack = open_stack(tmp_path / "data", clock)
    alice = stack.create("alice.localhost")
    write(alice.files, root(alice.files), "a.txt", b"12345")
    stack.close()
    database = tmp_path / "data" / "documents" / f"{alice.prefix}.sqlite"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE total SET sum = sum + 1000 WHERE sum > 0")
    connection.close()
    stack = open_stack(tmp_path / "data", clock)
    alice = stack.instance("alice.localhost")
    assert alice.files.usage()[0] != 5
    found, mended = mend(alice)
    assert {"wrong_usage", "document_store"} <= found & mended
    assert alice.files.usage()[0] == 5
    assert findings(alice) == []
    stack.close()


# -- while it is used ---------------------------------------------------------------------------------------------------


def test_nothing_is_found_while_others_write_move_and_delete(alice: Instance, files: Files):
    stop = threading.Event()
    homes = [files.mkdir(root(files), f"Home {number}") for number in range(3)]

    def work(number: int) -> None:
        step = 0
        while not stop.is_set():
            step += 1
            file = write(files, homes[number], f"{step}.bin", os.urandom(100))
            moved = files.patch(file, name=f"moved {step}.bin")
            if step % 2:
                files.erase(files.trash(moved))
            else:
                files.patch(files.dir(homes[number].id), name=f"Home {number} {step}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert findings(alice, orphan_age=timedelta(minutes=5)) == []
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)


def test_progress_leads_to_the_end(alice: Instance, files: Files):
    for number in range(3):
        write(files, root(files), f"{number}.bin", b"x" * 1000)
    told = [one for one in alice.checkup.run() if isinstance(one, Progress)]
    assert [(one.done, one.of) for one in told if one.step == "bytes"] == [(1000, 3000), (2000, 3000), (3000, 3000)]
