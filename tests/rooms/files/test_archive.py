"""Zips of any size: valid for unzip, 7z and Python; their size known before; damage never passes."""

import base64
import hashlib
import io
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cozyd.errors import Unavailable
from cozyd.files import Files
from cozyd.files.archive import Archive, Entry, entries
from cozyd.files.blobs import Blob
from tests.conftest import needs
from tests.support.files import root, write

AT = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
MODE = 0o100644 << 16


def entry(name: str, content: bytes) -> Entry:
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    return Entry(name.encode(), Blob(name, len(content), md5), AT, MODE)


class Zeros(io.RawIOBase):
    """A content of zeros as long as it has to be."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0
        self._at = offset
        return offset

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        count = min(len(view), self._size - self._at)
        view[:count] = bytes(count)
        self._at += count
        return count


def zeros(size: int) -> Blob:
    md5, piece = hashlib.md5(), bytes(1 << 20)
    for start in range(0, size, len(piece)):
        md5.update(piece[: min(len(piece), size - start)])
    return Blob("zeros", size, base64.b64encode(md5.digest()).decode())


def verified(path: Path, count: int) -> None:
    """By three programs that know nothing of this one."""
    with zipfile.ZipFile(path) as found:
        assert len(found.namelist()) == count
        assert found.testzip() is None
    for command in (["unzip", "-tqq", str(path)], ["7z", "t", "-bd", str(path)]):
        needs(command[0])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]


def written(archive: Archive, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(archive, target, 1 << 18)
    assert path.stat().st_size == archive.size


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=6), st.data())
def test_any_part_is_the_whole_s(contents: list[bytes], data: st.DataObject):
    by_key = {f"{number}.bin": content for number, content in enumerate(contents)}

    def make() -> Archive:
        return Archive([entry(key, content) for key, content in by_key.items()], lambda blob: io.BytesIO(by_key[blob.key]))

    whole = make().read()
    assert len(whole) == make().size
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    part = make()
    part.cut(start, stop)
    assert part.seek(0, io.SEEK_END) == stop - start
    part.seek(0)
    assert part.read() == whole[start:stop]
    with zipfile.ZipFile(io.BytesIO(whole)) as found:
        assert [found.read(name) for name in found.namelist()] == contents


@pytest.mark.parametrize("fault", ["altered", "cut", "gone"])
def test_a_damaged_content_ends_the_archive(fault: str):
    good, bad = b"x" * 1000, {"altered": b"y" * 1000, "cut": b"x" * 999}.get(fault)

    def open(_: Blob) -> BinaryIO:
        if bad is None:
            raise Unavailable("gone")
        return io.BytesIO(bad)

    archive = Archive([entry("a", good)], open)
    with pytest.raises(Unavailable):
        archive.read()


def test_three_programs_read_it(tmp_path: Path, files: Files):
    top = files.mkdir_all("/pack/in ner é")
    for number in range(300):
        write(files, top, f"{number} ☃.txt", b"%d" % number * number)
    archive = Archive(entries(files, "pack", [files.at("/pack"), write(files, root(files), "empty", b"")]), files.open)
    written(archive, tmp_path / "a.zip")
    verified(tmp_path / "a.zip", 303)


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "large.zip"
    (tmp_path / "large.zip").unlink(missing_ok=True)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_content_beyond_four_gigabytes(large: Path):
    blob, small = zeros(4_500_000_000), entry("pack/behind.txt", b"behind")
    archive = Archive([Entry(b"pack/large", blob, AT, MODE), small], lambda one: Zeros(one.size) if one is blob else io.BytesIO(b"behind"))  # type: ignore[arg-type, return-value]
    written(archive, large)
    verified(large, 2)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_seventy_thousand_entries_take_little_memory(large: Path):
    tracemalloc.start()
    names = (entry(f"pack/{number:05d}/a name that is not short.txt", b"%d" % number) for number in range(70_000))
    archive = Archive(names, lambda blob: io.BytesIO(str(int(blob.key.split("/")[1])).encode()))
    written(archive, large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6, peak
    verified(large, 70_000)
