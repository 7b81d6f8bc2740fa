"""The blob store's contract on the local disk, and what only a disk has."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from cozyd.errors import StorageFull, Unavailable
from cozyd.files.blobs import LocalBlobs
from cozyd.files.spool import OwnFolder, Spool
from tests.contracts.blob_store import KEY, UUID_KEY, BlobStoreContract, sealed

AREA = "cozyarea"


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[LocalBlobs]:
    store = LocalBlobs(tmp_path / "blobs")
    yield store
    store.close()


class TestLocalBlobs(BlobStoreContract):
    """The contract."""


def test_a_spool_is_renamed_not_copied(blobs: LocalBlobs, tmp_path: Path):
    spool = Spool(blobs.temporary)
    spool.append(b"x" * 1000)
    inode = spool.path.stat().st_ino
    with blobs.new(AREA, KEY) as new:
        new.fill(cast(object, spool))  # type: ignore[arg-type]
        new.seal()
    [found] = (tmp_path / "blobs" / AREA).glob("*/*/*")
    assert found.stat().st_ino == inode


def test_a_copy_takes_no_room(blobs: LocalBlobs, tmp_path: Path):
    blobs.copy(AREA, sealed(blobs, AREA, KEY, b"x"), UUID_KEY)
    assert {path.stat().st_nlink for path in (tmp_path / "blobs" / AREA).glob("*/*/*")} == {2}


def test_more_than_the_disk_has_is_refused_before_a_byte(blobs: LocalBlobs, tmp_path: Path):
    with pytest.raises(StorageFull):
        blobs.new(AREA, KEY, size=shutil.disk_usage(tmp_path).free + (1 << 30))
    assert list(blobs.temporary.iterdir()) == []


def test_nothing_but_the_owner_may_look(blobs: LocalBlobs, tmp_path: Path):
    sealed(blobs, AREA, KEY, b"x")
    for folder in (tmp_path / "blobs" / AREA, blobs.temporary, blobs.temporary.parent):
        assert folder.stat().st_mode & 0o077 == 0


def test_no_folder_is_left_without_content(blobs: LocalBlobs, tmp_path: Path):
    sealed(blobs, AREA, KEY, b"x")
    blobs.delete(AREA, [KEY])
    assert list((tmp_path / "blobs" / AREA).glob("*/*")) == []


def test_a_store_whose_folder_is_gone_does_not_answer(blobs: LocalBlobs):
    shutil.rmtree(blobs.temporary)
    with pytest.raises(Unavailable):
        blobs.ping()


# -- temporary files ----------------------------------------------------------------------------------------------------


def test_what_a_dead_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path):
    """Two processes on one folder, one of them killed."""
    program = "import sys, time; from pathlib import Path; from cozyd.files.spool import OwnFolder, Spool\n"
    program += "own = OwnFolder(Path(sys.argv[1])); s = Spool(own.path); s.append(b'x'); print(s.path, flush=True); time.sleep(60)"
    children = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        living, dead = (Path(child.stdout.readline().strip()) for child in children if child.stdout is not None)
        children[1].kill()
        children[1].wait()
        (tmp_path / "spool-of-an-old-release").write_bytes(b"x")
        own = OwnFolder(tmp_path)
        assert living.is_file()
        assert not dead.parent.exists()
        assert sorted(os.listdir(tmp_path)) == sorted([living.parent.name, own.path.name])
        own.close()
    finally:
        for child in children:
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
