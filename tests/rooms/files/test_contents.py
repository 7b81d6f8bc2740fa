"""Small contents beside the documents, large ones in the blob store: nobody sees a difference."""

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from cozyd.documents.store import ContentEdits
from cozyd.errors import Conflict, NotFound, RangeNotSatisfiable
from cozyd.files import File, Files
from cozyd.files.checkup import Mended
from cozyd.files.contents import SMALL
from cozyd.files.fsck import Finding
from cozyd.files.spool import Spool
from cozyd.instance import Instance
from tests.support.files import content, faults, root, write
from tests.support.stack import Clock, open_stack

SIZES = [0, 1, SMALL - 1, SMALL, SMALL + 1, 3 * SMALL]


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Instance]:
    stack = open_stack(tmp_path / "data", Clock())
    alice = stack.create("alice.localhost")
    yield alice
    assert faults(alice) == []
    stack.close()


@pytest.fixture
def files(alice: Instance) -> Files:
    return alice.files


def in_store(alice: Instance) -> list[str]:
    """The keys of contents that lie in the blob store."""
    return sorted(key for key, _, _ in alice._drivers.blobs.list(alice.prefix))


def beside(alice: Instance) -> list[str]:
    return sorted(key for key, _, _ in alice.docs.contents())


@pytest.mark.parametrize("size", SIZES)
def test_only_small_ones_lie_beside_the_documents(alice: Instance, files: Files, size: int):
    file = write(files, root(files), "a.bin", b"x" * size)
    assert content(files, file) == b"x" * size
    assert (beside(alice), in_store(alice)) == (([file.blob.key], []) if size <= SMALL else ([], [file.blob.key]))
    assert list(alice._drivers.blobs.temporary.iterdir()) == []


@pytest.mark.parametrize("size", SIZES)
def test_nobody_has_to_say_how_much_will_come(alice: Instance, files: Files, size: int):
    with files.new() as upload:
        for start in range(0, size, 1000):
            upload.write(b"y" * min(1000, size - start))
        blob = upload.seal()
    assert content(files, files.put(root(files), "a.bin", blob)) == b"y" * size
    assert bool(beside(alice)) == (size <= SMALL)


@pytest.mark.parametrize("size", SIZES)
def test_a_spool_that_came_is_taken_as_it_is(alice: Instance, files: Files, size: int):
    spool = Spool(alice._drivers.blobs.temporary)
    spool.append(b"z" * size)
    with files.new() as upload:
        upload.fill(cast(BinaryIO, spool))
        blob = upload.seal()
    spool.close()
    assert content(files, files.put(root(files), "a.bin", blob)) == b"z" * size
    assert list(alice._drivers.blobs.temporary.iterdir()) == []


@pytest.mark.parametrize("size", [10, 40_000])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (3, 7), (9, None), (0, 0), (4, 10**9)])
def test_ranges_are_the_same_wherever_it_lies(files: Files, size: int, start: int, stop: int | None):
    whole = bytes(number % 251 for number in range(size))
    file = write(files, root(files), "a.bin", whole)
    with files.read(file, start=start, stop=stop) as stream:
        assert stream.read() == whole[start:stop]
        stream.seek(0)
        assert stream.read(2) == whole[start:stop][:2]
    for beyond in (size, size + 1):
        with pytest.raises(RangeNotSatisfiable):
            files.read(file, start=beyond)


def test_versions_reverts_copies_and_removals_take_them_along(alice: Instance, files: Files):
    file = write(files, root(files), "a.txt", b"first")
    large = write(files, root(files), "a.txt", b"second" * 10_000, over=file)
    [version] = files.versions.of(file.id)
    reverted = files.versions.revert(large, version)
    assert content(files, reverted) == b"first"
    copied = files.copy(reverted, root(files), "copy.txt")
    assert content(files, copied) == b"first"
    assert len(beside(alice)) == 2
    files.erase(reverted)
    assert content(files, copied) == b"first"
    files.erase(copied)
    assert (beside(alice), in_store(alice)) == ([], [])


def test_a_folder_is_copied_with_contents_of_both_kinds(files: Files):
    home = files.mkdir(root(files), "home")
    for name, size in (("small", 5), ("large", 40_000)):
        write(files, home, name, name.encode() * size)
    files.copy(home, root(files), "again")
    for name, size in (("small", 5), ("large", 40_000)):
        assert content(files, files.at(f"/again/{name}")) == name.encode() * size


def test_a_name_that_is_taken_leaves_no_content(alice: Instance, files: Files):
    write(files, root(files), "a.txt", b"mine")
    with files.new() as upload:
        upload.fill(io.BytesIO(b"yours"))
        blob = upload.seal()
    with pytest.raises(Conflict):
        files.put(root(files), "a.txt", blob)
    assert len(beside(alice)) == 1


def test_a_copy_whose_source_went_meanwhile_is_refused(alice: Instance):
    with pytest.raises(NotFound):
        alice.docs.commit((), contents=ContentEdits(put={"a/1": b"x"}, copied={"a/2": "gone/1"}))
    assert alice.docs.content("a/1") is None, "the commit was undone"


def damage(alice: Instance, file: File, data: bytes | None) -> None:
    edits = ContentEdits(removed=[file.blob.key]) if data is None else ContentEdits(put={file.blob.key: data})
    alice.docs.commit((), contents=edits)


def found(alice: Instance, *, mend: bool = False) -> list[tuple[str, str]]:
    shown: list[tuple[str, str]] = []
    for step in alice.checkup.run(mend=mend, orphan_age=timedelta(days=-999)):
        if isinstance(step, Finding):
            shown.append(("found", step.type))
        elif isinstance(step, Mended):
            shown.append(("mended", step.finding.type))
    return shown


def test_fsck_sees_those_that_lie_beside_the_documents(alice: Instance, files: Files):
    file = write(files, root(files), "a.txt", b"hello")
    assert found(alice) == []
    damage(alice, file, b"jello")
    assert found(alice) == [("found", "content_mismatch")]
    damage(alice, file, b"hello")
    alice.docs.commit((), contents=ContentEdits(put={f"{'f' * 32}/1": b"nobody's"}))
    assert found(alice, mend=True) == [("found", "index_missing"), ("mended", "index_missing")]
    damage(alice, file, None)
    assert found(alice, mend=True) == [("found", "filesystem_missing"), ("mended", "filesystem_missing")]
    assert beside(alice) == []
