"""Writers who come too late, whatever lock they believe to hold: the revisions that their commit names refuse them.

A lock is a lease: it ends with its owner, or while its owner sleeps. On SQLite two processes may have one file open; here the
second one reads, sleeps while the first one changes what it read, and goes on.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cozyd.doctypes import LENIENT, PROJECTIONS
from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.store import DocumentStore, Ref, Write
from cozyd.errors import Conflict, Counted, CozyError
from cozyd.files import Dir, Files
from cozyd.files.fsck import Finding
from cozyd.instance import Instance
from cozyd.locks import Held, LocalLocks, Lock
from cozyd.permissions import FILES, ROOT_DIR
from cozyd.stack import Stack
from tests.support.files import everything, root, write
from tests.support.stack import Clock, open_stack

TENANT = "cozytenant"
DIR = {"type": "directory", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
FILE = {
    "type": "file",
    "name": "late.txt",
    "size": "4",
    "md5sum": "x",
    "internal_vfs_id": "1",
    "trashed": False,
    "updated_at": "2026-01-01T00:00:00Z",
}

OTHER = """
import json, sys
from pathlib import Path
from cozyd.doctypes import LENIENT, PROJECTIONS
from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.store import Ref, Write
from cozyd.errors import CozyError

backend = SqliteBackend(Path(sys.argv[1]), PROJECTIONS, lenient=LENIENT, shared=True)
store = backend.open(sys.argv[2])
for line in sys.stdin:
    given = json.loads(line)
    ref = Ref(given["doctype"], given["id"])
    if given["do"] == "read":
        answer = store.get(ref).rev
    else:
        held = [(Ref(given["doctype"], id), rev) for id, rev in given.get("while_at", {}).items()]
        try:
            write = Write(ref, body=given.get("body"), patch=given.get("patch"), rev=given.get("rev"))
            answer = store.commit([write], while_at=held)[0].made.rev
        except CozyError as error:
            answer = type(error).__name__
    print(json.dumps(answer), flush=True)
"""


class Other:
    """Another process with the same file open."""

    def __init__(self, folder: Path, tenant: str = TENANT) -> None:
        command = [sys.executable, "-c", OTHER, str(folder), tenant]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, do: str, id: str, **given: Any) -> str:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps({"do": do, "doctype": FILES, "id": id} | given) + "\n")
        self._child.stdin.flush()
        return str(json.loads(self._child.stdout.readline()))

    def close(self) -> None:
        for stream in (self._child.stdin, self._child.stdout):
            assert stream is not None
            stream.close()
        self._child.wait(10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocumentStore]:
    backend = SqliteBackend(tmp_path, PROJECTIONS, lenient=LENIENT, shared=True)
    store = backend.create(TENANT)
    store.commit([Write(Ref(FILES, "home"), body=DIR | {"path": "/home", "name": "home", "dir_id": "root"})])
    yield store
    backend.close()


@pytest.fixture
def other(store: DocumentStore, tmp_path: Path) -> Iterator[Other]:
    made = Other(tmp_path)
    yield made
    made.close()


def change(store: DocumentStore, id: str, **patch: Any) -> str:
    stored = store.get(Ref(FILES, id))
    return store.commit([Write(stored.ref, patch=patch, rev=stored.rev)])[0].made.rev


def test_who_puts_a_file_into_a_folder_that_was_trashed_meanwhile_is_refused(store: DocumentStore, other: Other):
    home = other.ask("read", "home")
    change(store, "home", path="/.cozy_trash/home", dir_id="trash")
    assert other.ask("commit", "late", body=FILE | {"dir_id": "home"}, while_at={"home": home}) == "Conflict"
    with pytest.raises(CozyError):
        store.get(Ref(FILES, "late"))
    fresh = other.ask("read", "home")
    assert other.ask("commit", "late", body=FILE | {"dir_id": "home"}, while_at={"home": fresh}).startswith("1-")


def test_who_changes_a_file_that_was_changed_meanwhile_is_refused(store: DocumentStore, other: Other):
    store.commit([Write(Ref(FILES, "file"), body=FILE | {"dir_id": "home"})])
    late = other.ask("read", "file")
    change(store, "file", name="renamed.txt")
    assert other.ask("commit", "file", patch={"trashed": True}, rev=late) == "Conflict"
    assert store.get(Ref(FILES, "file")).doc["name"] == "renamed.txt"
    assert store.get(Ref(FILES, "file")).doc["trashed"] is False


def test_who_takes_a_name_that_was_taken_meanwhile_is_refused(store: DocumentStore, other: Other):
    home = other.ask("read", "home")
    store.commit([Write(Ref(FILES, "first"), body=FILE | {"dir_id": "home"})])
    assert other.ask("commit", "second", body=FILE | {"dir_id": "home"}, while_at={"home": home}) == "Conflict"


def test_of_two_processes_that_write_one_document_each_revision_is_of_one(store: DocumentStore, other: Other):
    store.commit([Write(Ref(FILES, "count"), body=FILE | {"name": "count", "dir_id": "home", "n": 0})])
    done = {"here": 0, "there": 0}

    def here() -> None:
        for _ in range(60):
            stored = store.get(Ref(FILES, "count"))
            try:
                store.commit([Write(stored.ref, patch={"n": stored.doc["n"] + 1}, rev=stored.rev)])
                done["here"] += 1
            except Conflict:
                continue

    thread = threading.Thread(target=here)
    thread.start()
    for number in range(60):
        rev = other.ask("read", "count")
        done["there"] += other.ask("commit", "count", patch={"m": number}, rev=rev) != "Conflict"
    thread.join(30)
    final = store.get(Ref(FILES, "count"))
    assert int(final.rev.split("-")[0]) == 1 + done["here"] + done["there"]
    assert final.doc["n"] == done["here"], "no write of the one was undone by the other"
    assert store.tree(final.ref).conflicts == []


# -- no lock at all -----------------------------------------------------------------------------------------------------


class NoLocks(LocalLocks):
    """Locks that everybody believes to hold."""

    @contextmanager
    def hold(self, name: str, *, wait: float = 10, ttl: float = 30, strict: bool = False) -> Iterator[Lock]:
        yield Held()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = open_stack(tmp_path / "data", Clock())
    yield stack
    stack.close()


def test_with_no_lock_no_two_files_have_one_name_and_no_folder_is_in_itself(stack: Stack):
    alice = stack.create("alice.localhost")
    unlocked = Instance(lambda: alice.doc, alice._store, replace(stack.drivers, locks=NoLocks()), alice.amend)
    files: Files = unlocked.files
    folders = [files.mkdir(root(files), f"folder {number}") for number in range(4)]
    refused: list[CozyError] = []

    def work(number: int) -> None:
        for step in range(40):
            one, two = folders[(number + step) % 4], folders[(number * 3 + step * 7 + 1) % 4]
            try:
                if step % 3 == 0:
                    write(files, files.dir(ROOT_DIR), f"same {step}", b"x")
                elif step % 3 == 1:
                    files.patch(files.get(one.id), dir_id=two.id)
                else:
                    files.patch(files.get(one.id), dir_id=ROOT_DIR, name=f"moved {step}")
            except CozyError as error:
                refused.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = [one for one in alice.checkup.run() if isinstance(one, Finding)]
    assert found == []
    assert refused, "some came too late"


# -- what comes into a folder while it moves ----------------------------------------------------------------------------


@pytest.fixture
def alice(stack: Stack) -> Instance:
    """An instance whose writers all believe to hold the lock."""
    alice = stack.create("alice.localhost")
    return Instance(lambda: alice.doc, alice._store, replace(stack.drivers, locks=NoLocks()), alice.amend)


@pytest.fixture
def deep(alice: Instance) -> Dir:
    """`/top/a/b`."""
    found = alice.files.mkdir_all("/top/a/b")
    write(alice.files, found, "old.txt")
    return found


STEPS: dict[str, Callable[[Files], Any]] = {
    "trash": lambda files: files.trash(files.at("/top")),
    "erase": lambda files: files.erase(files.at("/top")),
    "rename": lambda files: files.patch(files.at("/top"), name="other"),
    "move": lambda files: files.patch(files.at("/top/a"), dir_id=ROOT_DIR),
}


def interrupted(alice: Instance, monkeypatch: pytest.MonkeyPatch, step: Callable[[Files], Any], late: Callable[[], object]) -> None:
    """A step that another one comes before, after all was read and before it is written; its commit is refused, and it is done again."""
    commit = alice.docs.commit
    refused: list[Counted] = []

    def watched(*arguments: Any, **options: Any) -> Any:
        try:
            return commit(*arguments, **options)
        except Counted as error:
            refused.append(error)
            raise

    def slow(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(alice.docs, "commit", watched)
        late()
        return watched(*arguments, **options)

    monkeypatch.setattr(alice.docs, "commit", slow)
    step(alice.files)
    assert len(refused) == 1


@pytest.mark.parametrize("name", STEPS)
def test_a_folder_that_is_made_below_one_that_moves_goes_with_it(alice: Instance, deep: Dir, monkeypatch: pytest.MonkeyPatch, name: str):
    interrupted(alice, monkeypatch, STEPS[name], lambda: alice.files.mkdir(deep, "late"))
    assert findings(alice) == []
    there = [doc["path"] for doc in everything(alice) if doc.get("name") == "late"]
    assert there == {"trash": ["/.cozy_trash/top/a/b/late"], "erase": [], "rename": ["/other/a/b/late"], "move": ["/a/b/late"]}[name]


@pytest.mark.parametrize("name", ["trash", "erase"])
def test_a_file_that_is_made_below_a_folder_that_goes_goes_with_it(alice: Instance, deep: Dir, monkeypatch: pytest.MonkeyPatch, name: str):
    interrupted(alice, monkeypatch, STEPS[name], lambda: write(alice.files, deep, "late.txt"))
    assert findings(alice) == []
    assert all(doc["trashed"] for doc in everything(alice) if doc["type"] == "file")


def test_a_file_that_moves_into_a_folder_that_goes_goes_with_it(alice: Instance, deep: Dir, monkeypatch: pytest.MonkeyPatch):
    file = write(alice.files, alice.files.dir(ROOT_DIR), "moving.txt")
    interrupted(alice, monkeypatch, STEPS["trash"], lambda: alice.files.patch(file, dir_id=deep.id))
    assert findings(alice) == []
    assert alice.files.file(file.id).trashed


def test_of_two_processes_one_makes_a_file_while_the_other_moves_its_folder_to_the_trash(
    stack: Stack, alice: Instance, deep: Dir, monkeypatch: pytest.MonkeyPatch
):
    other = Other(stack.config.storage.path / "documents", alice.prefix)
    late = FILE | {"dir_id": deep.id, "mime": "text/plain"}
    interrupted(alice, monkeypatch, STEPS["trash"], lambda: other.ask("commit", "late", body=late, while_at={deep.id: deep.rev}))
    assert alice.files.file("late").trashed
    assert other.ask("commit", "later", body=late | {"name": "later"}, while_at={deep.id: deep.rev}) == "Conflict"
    other.close()


def test_files_made_while_their_folders_come_and_go_are_where_their_folders_are(alice: Instance, deep: Dir):
    files, top = alice.files, alice.files.at("/top").id
    stop = threading.Event()
    made: list[str] = []

    def make(number: int) -> None:
        step = 0
        while not stop.wait(0.01):  # with no lock at all, who looks through a folder needs a moment in which nothing comes
            step += 1
            with suppress(CozyError):
                made.append(write(files, files.dir(deep.id), f"{number}-{step}").id)

    makers = [threading.Thread(target=make, args=(number,)) for number in range(3)]
    for maker in makers:
        maker.start()
    moved = 0
    try:
        for _ in range(2000):
            with suppress(CozyError):
                node = files.get(top)
                files.restore(node) if node.trashed else files.trash(node)
                moved += 1
            if moved >= 30 and len(made) >= 30:
                break
    finally:
        stop.set()
        for maker in makers:
            maker.join(60)
    assert moved >= 30, "as often as it was tried again, it went"
    assert findings(alice) == []
    trashed = files.get(top).trashed
    assert {files.file(id).trashed for id in made} == {trashed}


def findings(alice: Instance) -> list[str]:
    return [f"{one.type} {one.path}" for one in alice.checkup.run() if isinstance(one, Finding)]
