"""The file system as a room: what each operation does, what it refuses, and that nothing is lost on the way."""

import io
import threading
from typing import Any

import pytest

from cozyd.errors import BadRequest, Conflict, Invalid, NotFound, PreconditionFailed, QuotaExceeded
from cozyd.files import Dir, File, Files
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.files import TRASH, content, faults, names, root, write
from tests.support.stack import Clock


def test_a_file_is_what_was_written(files: Files):
    file = write(files, root(files), "a.txt", b"hello", tags=["x"], executable=True)
    assert (file.name, file.blob.size, file.blob.md5, file.mime) == ("a.txt", 5, "XUFAKrxLKna5cZ2REBfFkg==", "text/plain")
    assert (file.executable, file.stored.doc["tags"], file.stored.doc["class"]) == (True, ["x"], "text")
    assert content(files, files.at("/a.txt")) == b"hello"
    assert files.path(file) == "/a.txt"
    with files.read(file, start=1, stop=3) as part:
        assert part.read() == b"el"


def test_a_content_nobody_names_is_gone(files: Files, alice: Instance):
    with files.new() as upload:
        upload.write(b"half")
    with files.new() as upload:
        upload.write(b"whole")
        blob = upload.seal()
    files.discard(blob)
    assert faults(alice) == []


def test_names_are_kept_as_sent_and_twins_are_refused(files: Files):
    composed, decomposed = "\u00e9t\u00e9.txt", "e\u0301te\u0301.txt"
    write(files, root(files), decomposed)
    assert files.at("/" + composed).name == decomposed
    with pytest.raises(Conflict):
        write(files, root(files), composed)
    with pytest.raises(Conflict):
        files.mkdir(root(files), composed)
    assert write(files, root(files), composed.upper()).name == composed.upper()


def test_listing_has_folders_first_and_the_reference_s_order(files: Files):
    for name in ("v.txt", "same.txt", "é.txt", "b", "B", "A.txt", "a.txt", "9", "10", "-z", "_z"):
        write(files, files.mkdir_all("/list"), name)
    for name in ("zoo", "Abc"):
        files.mkdir(files.mkdir_all("/list"), name)
    home = files.mkdir_all("/list")
    order = ["Abc", "zoo", "_z", "-z", "10", "9", "a.txt", "A.txt", "b", "B", "é.txt", "same.txt", "v.txt"]
    assert names(files, home) == order
    assert files.count(home) == 13
    rows = files.rows(home, limit=5)
    after = (rows[-1].key, rows[-1].ref.id)
    assert [row.key[2] for row in files.rows(home, after=after, limit=3)] == order[5:8]
    assert [row.key[2] for row in files.rows(home, skip=11)] == order[11:]


def test_the_root_hides_the_trash(files: Files):
    assert TRASH not in [node.id for node in files.children(root(files))]
    assert files.count(root(files)) == len(files.children(root(files))) == len(files.rows(root(files), limit=10))


def test_a_folder_moves_with_all_below(files: Files):
    top = files.mkdir_all("/top/in/deep")
    file = write(files, top, "f.txt")
    moved = files.patch(files.at("/top"), name="Top", dir_id=files.mkdir_all("/home").id)
    assert (moved.name, files.dir(top.id).path) == ("Top", "/home/Top/in/deep")
    assert files.at("/home/Top/in/deep/f.txt").id == file.id
    with pytest.raises(NotFound):
        files.at("/top")


def test_a_folder_does_not_move_into_itself(files: Files):
    files.mkdir_all("/a/b/c")
    for path in ("/a", "/a/b", "/a/b/c"):
        with pytest.raises(PreconditionFailed):
            files.patch(files.at("/a"), dir_id=files.at(path).id)


@pytest.mark.parametrize("change", ["id", "path", "size", "md5sum", "type", "trashed", "created_at"])
def test_what_makes_a_node_is_not_patched(files: Files, change: str):
    file = write(files, root(files), "a.txt")
    changes: dict[str, Any] = {"_id" if change == "id" else change: "x"}
    with pytest.raises(Invalid):
        files.patch(file, **changes)


def test_root_and_trash_stay_as_they_are(files: Files):
    for id in ("io.cozy.files.root-dir", TRASH):
        with pytest.raises(BadRequest):
            files.patch(files.get(id), name="x")
        with pytest.raises(BadRequest):
            files.trash(files.get(id))
        with pytest.raises(BadRequest):
            files.erase(files.get(id))
        with pytest.raises(BadRequest):
            files.restore(files.get(id))


def test_a_new_extension_is_a_new_type(files: Files):
    file = write(files, root(files), "a.txt")
    renamed = files.patch(file, name="a.png")
    assert isinstance(renamed, File)
    assert (renamed.mime, renamed.stored.doc["class"]) == ("image/png", "image")


def test_trash_and_back(files: Files, clock: Clock):
    deep = files.mkdir_all("/docs/deep")
    file = write(files, deep, "f.txt")
    gone = files.trash(files.at("/docs"), by={"kind": "member"})
    assert isinstance(gone, Dir)
    assert (gone.path, gone.stored.doc["restore_path"]) == ("/.cozy_trash/docs", "/")
    assert gone.stored.doc["cozyMetadata"]["trashedBy"] == {"kind": "member"}
    inside = files.get(file.id)
    assert inside.trashed
    assert "restore_path" not in inside.stored.doc
    with pytest.raises(BadRequest):
        files.trash(files.get(file.id))
    with pytest.raises(NotFound):
        write(files, files.dir(deep.id), "new.txt")
    back = files.restore(files.get(gone.id))
    assert isinstance(back, Dir)
    assert (back.path, files.get(file.id).trashed, files.path(files.get(file.id))) == ("/docs", False, "/docs/deep/f.txt")
    with pytest.raises(BadRequest):
        files.restore(back)


def test_twins_in_the_trash_get_another_name_and_the_old_one_back(files: Files):
    ids = []
    for _ in range(3):
        file = write(files, root(files), "same.txt")
        ids.append(files.trash(file).id)
    trashed = names(files, files.dir(TRASH))
    assert len(set(trashed)) == 3
    assert all(name.startswith("same.txt") for name in trashed)
    for id in ids:
        files.restore(files.get(id))
    assert files.at("/same.txt").id == ids[0]
    assert len([name for name in names(files, root(files)) if name.startswith("same.txt")]) == 3


def test_one_file_comes_back_out_of_a_trashed_folder(files: Files):
    file = write(files, files.mkdir_all("/docs/deep"), "f.txt")
    files.trash(files.at("/docs"))
    back = files.restore(files.get(file.id))
    assert files.path(back) == "/docs/deep/f.txt"
    assert names(files, files.dir(TRASH)) == ["docs"]


def test_erasing_takes_contents_too(files: Files):
    write(files, files.mkdir_all("/docs/deep"), "f.txt", b"x" * 100)
    write(files, root(files), "g.txt", b"x" * 10)
    files.trash(files.at("/docs"))
    assert files.usage() == (110, None)
    files.clear_trash()
    assert files.usage() == (10, None)
    files.erase(files.at("/g.txt"))
    assert files.usage() == (0, None)


def test_a_copy_is_a_file_of_its_own(files: Files):
    source = write(files, files.mkdir_all("/a/b"), "f.txt", b"one", tags=["t"])
    copy = files.copy(files.at("/a"), root(files), "copied")
    assert content(files, files.at("/copied/b/f.txt")) == b"one"
    assert files.at("/copied/b/f.txt").stored.doc["tags"] == ["t"]
    files.erase(source)
    assert content(files, files.at("/copied/b/f.txt")) == b"one"
    assert isinstance(copy, Dir)
    shallow = files.copy(copy, root(files), "flat", deep=False)
    assert isinstance(shallow, Dir)
    assert names(files, shallow) == []


def test_the_quota_is_kept_at_every_door_of_the_room(stack: Stack):
    bob = stack.create("bob.localhost", quota=100)
    files = bob.files
    file = write(files, root(files), "a", b"x" * 60)
    with pytest.raises(QuotaExceeded):
        files.new(size=41)
    with pytest.raises(QuotaExceeded), files.new() as upload:
        upload.fill(io.BytesIO(b"x" * 41))
    with pytest.raises(QuotaExceeded):
        files.copy(file, root(files), "b")
    files.trash(file)
    with pytest.raises(QuotaExceeded):
        write(files, root(files), "b", b"x" * 41)
    files.clear_trash()
    write(files, root(files), "b", b"x" * 100)
    assert files.usage() == (100, 100)
    assert faults(bob) == []


def test_of_many_who_take_a_name_one_gets_it(files: Files):
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def take(number: int) -> None:
        start.wait()
        try:
            outcomes.append(write(files, root(files), "same", b"%d" % number).id)
        except Conflict:
            outcomes.append("taken")

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("taken") == 7


@pytest.mark.parametrize(
    ("locale", "expected"), [("en", ["Administrative", "Photos"]), ("fr", ["Administratif", "Photos"]), ("de", ["Fotos", "Verwaltung"])]
)
def test_a_new_tenant_has_folders_in_her_language(stack: Stack, locale: str, expected: list[str]):
    new = stack.create("new.localhost", locale=locale)
    assert names(new.files, root(new.files)) == expected
    administrative = next(node for node in new.files.children(root(new.files)) if node.name != "Photos" and node.name != "Fotos")
    assert administrative.stored.doc["referenced_by"] == [{"type": "io.cozy.apps", "id": "io.cozy.apps/administrative"}]
