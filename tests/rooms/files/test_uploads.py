"""Uploads in several requests, at the moments a process may end: whatever was done is gone on with, nothing is done twice."""

import os
from pathlib import Path
from typing import Any

import pytest

from cozyd.errors import Conflict, Locked, NotFound, TooLarge
from cozyd.files import File, Files
from cozyd.files.parts import Part, collect
from cozyd.files.uploads import Uploads
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.files import content, names, root, write

BYTES = os.urandom(300_000)


@pytest.fixture
def uploads(alice: Instance) -> Uploads:
    return alice.uploads


def again(alice: Instance) -> Uploads:
    """As another process has them: nothing in memory."""
    drivers = alice._drivers
    return Uploads(alice.files, alice.contents, drivers.uploads / alice.prefix, drivers.now, drivers.new_id)


def begun(uploads: Uploads, files: Files, name: str = "file.bin", *, sent: int = len(BYTES), replaces: File | None = None) -> str:
    """An upload of which some bytes came; its id."""
    with uploads.begin(root(files), name, len(BYTES), replaces=replaces, fields={"mime": "text/plain"}) as part:
        part.append(BYTES[:sent])
        part.accept()
        return part.info.id


def finished(uploads: Uploads, files: Files, id: str) -> File:
    with uploads.parts.open(id) as part:
        return uploads.finish(part, files.author())


def test_another_process_goes_on_and_has_the_same_digest(alice: Instance, uploads: Uploads, files: Files):
    id = begun(uploads, files, sent=100_000)
    other = again(alice)
    with other.parts.open(id) as part:
        assert part.size == 100_000
        part.append(BYTES[100_000:])
        part.accept()
        file = other.finish(part, files.author())
    assert content(files, file) == BYTES
    assert file.blob.md5 == write(files, root(files), "same.bin", BYTES).blob.md5


def test_one_that_was_sealed_and_not_committed_is_committed(alice: Instance, uploads: Uploads, files: Files):
    id = begun(uploads, files)
    with uploads.parts.open(id) as part:
        uploads._sealed(part)
    assert "file.bin" not in names(files, root(files))
    assert content(files, finished(again(alice), files, id)) == BYTES


def test_one_that_was_committed_and_not_noted_is_the_same_file(
    alice: Instance, uploads: Uploads, files: Files, monkeypatch: pytest.MonkeyPatch
):
    id = begun(uploads, files)
    save = Part.save

    def ends_before_its_last(part: Part, **changes: str) -> None:
        if "file" in changes:
            raise InterruptedError
        save(part, **changes)

    with monkeypatch.context() as patched:
        patched.setattr(Part, "save", ends_before_its_last)
        with pytest.raises(InterruptedError):
            finished(uploads, files, id)
    file = finished(again(alice), files, id)
    assert content(files, file) == BYTES
    assert names(files, root(files)).count("file.bin") == 1
    assert finished(uploads, files, id).id == file.id


def test_a_next_content_keeps_the_file_and_its_versions(uploads: Uploads, files: Files):
    old = write(files, root(files), "file.bin", b"before")
    new = finished(uploads, files, begun(uploads, files, replaces=old))
    assert (new.id, content(files, new)) == (old.id, BYTES)


def test_a_name_taken_meanwhile_gets_a_number(uploads: Uploads, files: Files):
    id = begun(uploads, files)
    other = write(files, root(files), "file.bin", b"other")
    made = finished(uploads, files, id)
    assert (made.name, content(files, made), content(files, other)) == ("file (2).bin", BYTES, b"other")


def test_whatever_refuses_it_at_the_last_moment_its_bytes_stay(uploads: Uploads, files: Files, monkeypatch: pytest.MonkeyPatch):
    id = begun(uploads, files)

    def taken(*_: Any, **__: Any) -> Any:
        raise Conflict

    with monkeypatch.context() as patched:
        patched.setattr(files._docs, "commit", taken)
        with pytest.raises(Conflict):
            finished(uploads, files, id)
    assert content(files, finished(uploads, files, id)) == BYTES


def test_only_one_writes_at_once(alice: Instance, uploads: Uploads, files: Files):
    id = begun(uploads, files, sent=10)
    with uploads.parts.open(id), pytest.raises(Locked):
        again(alice).parts.open(id)
    with again(alice).parts.open(id) as part, pytest.raises(TooLarge):
        part.append(BYTES)
    assert uploads.parts.offset(uploads.parts.info(id)) == 10
    with uploads.parts.open(id) as part:
        part.forget()


def test_what_ran_out_is_collected_but_never_under_its_writer(stack: Stack, uploads: Uploads, files: Files, tmp_path: Path):
    id = begun(uploads, files, sent=10)
    folder = stack.drivers.uploads
    with uploads.parts.open(id) as part:
        os.utime(part.path, (0, 0))
        assert collect(folder, stack.now()) == 0
    assert collect(folder, stack.now()) == 1
    with pytest.raises(NotFound):
        uploads.parts.info(id)
    assert collect(tmp_path / "nothing", stack.now()) == 0
