"""The reference's local storage beside its documents: every content finds its file, every earlier one its version."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Ref, Write
from cozyd.files import File
from cozyd.files.adoption import Adoption
from cozyd.files.folders import Import
from cozyd.files.tree import TRASH_DIR, VERSIONS
from cozyd.instance import Instance
from cozyd.permissions import FILES, ROOT_DIR
from tests.support.files import content, faults
from tests.support.stack import Clock, open_stack

NOW = "2024-01-01T00:00:00Z"
SMALL, LARGE = b"small", b"large" * 20_000


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Instance]:
    stack = open_stack(tmp_path / "data", Clock())
    yield stack.create("alice.localhost")
    stack.close()


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    folder = tmp_path / "alice.cozy.example"
    (folder / ".cozy_trash").mkdir(parents=True)
    return folder


def about(data: bytes) -> dict[str, Any]:
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return {"size": str(len(data)), "md5sum": md5, "updated_at": NOW}


def foreign(alice: Instance, id: str, name: str, data: bytes, *, parent: str = ROOT_DIR, trashed: bool = False) -> None:
    """A file's document as the reference has it with local storage."""
    body = {"type": "file", "name": name, "dir_id": parent, "created_at": NOW, "mime": "text/plain", "class": "text"}
    flags = {"executable": False, "encrypted": False, "trashed": trashed}
    alice.docs.commit([Write(Ref(FILES, id), body={**body, **flags, **about(data)})])


def put(storage: Path, path: str, data: bytes) -> None:
    (storage / path).parent.mkdir(parents=True, exist_ok=True)
    (storage / path).write_bytes(data)


def run(alice: Instance, storage: Path) -> list[dict[str, Any]]:
    adoption = Adoption(alice.files, alice.docs, alice.contents)
    return list(Import(alice.files, adoption).run(storage, "/"))


def file(alice: Instance, id: str) -> File:
    return alice.files.file(id)


def test_files_trash_and_versions_find_their_documents(alice: Instance, storage: Path):
    docs = alice.files.mkdir(alice.files.dir(ROOT_DIR), "Docs")
    ids = {"a" * 32: ("a.txt", SMALL), "b" * 32: ("b.bin", LARGE)}
    for id, (name, data) in ids.items():
        foreign(alice, id, name, data, parent=docs.id)
        put(storage, f"Docs/{name}", data)
        alice.docs.commit([Write(Ref(VERSIONS, f"{id}/3-abc"), body={**about(data[1:]), "tags": None, "cozyMetadata": {"createdAt": NOW}})])
        put(storage, f".cozy_versions/{id[:4]}/{id[4:]}/3-abc", data[1:])
    foreign(alice, "c" * 32, "thrown.txt", b"away", parent=TRASH_DIR, trashed=True)
    put(storage, ".cozy_trash/thrown.txt", b"away")
    steps = run(alice, storage)
    assert [step for step in steps if step["step"] == "skipped"] == []
    assert steps[-1]["files"] == 5
    for id, (_, data) in ids.items():
        assert content(alice.files, file(alice, id)) == data
        (version,) = alice.files.versions.of(id)
        with alice.files.open(version.blob) as stream:
            assert stream.read() == data[1:]
        assert content(alice.files, alice.files.versions.revert(file(alice, id), version)) == data[1:]
    assert content(alice.files, file(alice, "c" * 32)) == b"away"
    assert faults(alice) == []


def test_running_it_again_changes_nothing(alice: Instance, storage: Path):
    foreign(alice, "a" * 32, "a.txt", SMALL)
    foreign(alice, "c" * 32, "thrown.txt", b"away", parent=TRASH_DIR, trashed=True)
    put(storage, "a.txt", SMALL)
    put(storage, ".cozy_trash/thrown.txt", b"away")
    run(alice, storage)
    before = alice.docs.info(FILES)
    assert run(alice, storage)[-1]["files"] == 0
    assert alice.docs.info(FILES) == before


def test_what_is_not_what_its_document_says_is_told(alice: Instance, storage: Path):
    for number, (name, data) in enumerate((("missing", None), ("other", b"SMALL"), ("longer", b"small!"))):
        foreign(alice, f"{number}" * 32, name, SMALL)
        if data is not None:
            put(storage, name, data)
    (storage / "link").symlink_to("/etc/passwd")
    size = len(Path("/etc/passwd").read_bytes())
    foreign(alice, "d" * 32, "link", b"x" * size)
    told = [Path(step["path"]).name for step in run(alice, storage) if step["step"] == "skipped"]
    assert {"missing", "other", "longer", "link"} <= set(told)
    assert not any(alice.contents.is_there(file(alice, id).blob.key) for id in ("0" * 32, "d" * 32))
