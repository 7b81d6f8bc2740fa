"""The promises of `BlobStore`, run over every driver.

A driver's test module subclasses `BlobStoreContract` with a `blobs` fixture.
"""

import base64
import hashlib
import io
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, cast

import pytest

from cozyd.errors import NotFound, RangeNotSatisfiable
from cozyd.files.blobs import PIECE, Blob, BlobStore
from cozyd.files.spool import Spool

ID = "0123456789abcdef0123456789abcdef"
INTERNAL = "0a1b2c3d4e5f6789"
KEY = f"{ID}/{INTERNAL}"
UUID_KEY = "0190a7f2-7b1c-7cc0-9b1c-0123456789ab/aBcDeFgHiJkLmNoP"
ALPHABET = bytes(range(256))


def random_key() -> str:
    return f"{secrets.token_hex(16)}/{secrets.token_hex(8)}"


def md5_of(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def sealed(blobs: BlobStore, area: str, key: str, data: bytes) -> Blob:
    with blobs.new(area, key, size=len(data)) as new:
        new.write(data)
        return new.seal()


def read(blobs: BlobStore, area: str, key: str) -> bytes:
    with blobs.open(area, key) as stream:
        return stream.read()


def keys(blobs: BlobStore, area: str, under: str = "") -> list[str]:
    return sorted(key for key, _, _ in blobs.list(area, under))


def spool_of(blobs: BlobStore, data: bytes) -> Spool:
    spool = Spool(blobs.temporary)
    spool.append(data)
    return spool.getfile()


class _Dripping(io.RawIOBase):
    """A stream that gives few bytes at once, as sockets do."""

    def __init__(self, data: bytes) -> None:
        self._inside = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        return self._inside.readinto(view[:7])


class BlobStoreContract:
    """Every test of the port's promise."""

    @pytest.fixture
    def area(self, blobs: BlobStore) -> Iterator[str]:
        name = f"cozy{secrets.token_hex(16)}"
        yield name
        blobs.destroy(name)

    # -- writing ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
    def test_what_was_sealed_is_read_back(self, blobs: BlobStore, area: str, size: int):
        data = os.urandom(size)
        assert sealed(blobs, area, KEY, data) == Blob(KEY, size, md5_of(data))
        assert read(blobs, area, KEY) == data

    @pytest.mark.parametrize(
        "key", [KEY, UUID_KEY, "a/b", f"{ID}/short", f"short/{INTERNAL}", f"thumbs/{ID}-tiny", f"thumbs/{UUID_KEY[:36]}-large"]
    )
    def test_keys_of_every_form_are_listed_as_they_were_given(self, blobs: BlobStore, area: str, key: str):
        sealed(blobs, area, key, b"x")
        assert keys(blobs, area) == [key]
        assert read(blobs, area, key) == b"x"

    def test_it_can_be_written_in_pieces_without_a_known_size(self, blobs: BlobStore, area: str):
        with blobs.new(area, KEY) as new:
            assert [new.write(part) for part in (b"one ", b"", b"two ", b"three")] == [4, 0, 4, 5]
            blob = new.seal()
        assert blob == Blob(KEY, 13, md5_of(b"one two three"))
        assert read(blobs, area, KEY) == b"one two three"

    @pytest.mark.parametrize("stream", [io.BytesIO, _Dripping])
    def test_a_stream_is_taken_whole(self, blobs: BlobStore, area: str, stream: type):
        data = os.urandom(10_000)
        with blobs.new(area, KEY) as new:
            new.fill(cast(BinaryIO, stream(data)))
            assert new.seal() == Blob(KEY, len(data), md5_of(data))
        assert read(blobs, area, KEY) == data

    @pytest.mark.parametrize("before", [b"", b"head "])
    def test_a_spool_is_taken_whole_whatever_was_written_before(self, blobs: BlobStore, area: str, before: bytes):
        spool = spool_of(blobs, b"tail" * 1000)
        with blobs.new(area, KEY) as new:
            new.write(before)
            new.fill(cast(BinaryIO, spool))
            blob = new.seal()
        spool.close()
        assert blob == Blob(KEY, len(before) + 4000, md5_of(before + b"tail" * 1000))
        assert read(blobs, area, KEY) == before + b"tail" * 1000
        assert list(blobs.temporary.iterdir()) == []

    def test_unsealed_it_never_was(self, blobs: BlobStore, area: str):
        with blobs.new(area, KEY) as new:
            new.write(b"x" * PIECE)
        with pytest.raises(NotFound):
            blobs.open(area, KEY)
        assert keys(blobs, area) == []
        assert list(blobs.temporary.iterdir()) == []

    def test_it_is_discarded_when_its_block_fails(self, blobs: BlobStore, area: str):
        with pytest.raises(ZeroDivisionError), blobs.new(area, KEY) as new:
            new.write(b"x" * (1 // 0))
        assert keys(blobs, area) == []
        assert list(blobs.temporary.iterdir()) == []

    def test_it_is_not_visible_before_it_is_sealed(self, blobs: BlobStore, area: str):
        with blobs.new(area, KEY) as new:
            new.write(b"x")
            assert keys(blobs, area) == []
            with pytest.raises(NotFound):
                blobs.open(area, KEY)
            new.seal()
            assert keys(blobs, area) == [KEY]

    # -- reading ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("start", "stop"), [(0, None), (0, 256), (0, 1000), (0, 1), (0, 0), (5, None), (5, 9), (255, None), (255, 256), (100, 100)]
    )
    def test_a_part_is_read_as_a_slice(self, blobs: BlobStore, area: str, start: int, stop: int | None):
        sealed(blobs, area, KEY, ALPHABET)
        with blobs.open(area, KEY, start=start, stop=stop) as stream:
            assert stream.read() == ALPHABET[start:stop]
            assert stream.read() == b""

    @pytest.mark.parametrize("start", [256, 257, 1 << 40])
    def test_a_part_behind_the_end_is_refused_with_the_size(self, blobs: BlobStore, area: str, start: int):
        sealed(blobs, area, KEY, ALPHABET)
        with pytest.raises(RangeNotSatisfiable) as caught:
            blobs.open(area, KEY, start=start)
        assert caught.value.size == 256

    @pytest.mark.parametrize(("start", "stop"), [(0, None), (10, 200)])
    def test_a_stream_can_be_read_again_from_anywhere(self, blobs: BlobStore, area: str, start: int, stop: int | None):
        sealed(blobs, area, KEY, ALPHABET)
        part = ALPHABET[start:stop]
        with blobs.open(area, KEY, start=start, stop=stop) as stream:
            assert stream.seekable()
            assert stream.read(7) == part[:7]
            assert stream.tell() == 7
            assert stream.seek(3) == 3
            assert stream.read(2) == part[3:5]
            assert stream.seek(-2, os.SEEK_END) == len(part) - 2
            assert stream.read() == part[-2:]
            assert stream.seek(0) == 0
            assert stream.seek(4, os.SEEK_CUR) == 4
            assert stream.read() == part[4:]

    def test_an_empty_content_is_read_as_one(self, blobs: BlobStore, area: str):
        sealed(blobs, area, KEY, b"")
        assert read(blobs, area, KEY) == b""
        with blobs.open(area, KEY) as stream:
            assert stream.seek(0, os.SEEK_END) == 0

    @pytest.mark.parametrize("key", [KEY, "../../etc/passwd", f"{ID}/../{INTERNAL}", "", "/", "a/", f"{ID}", f"{ID}/x\x00", "é/ü"])
    def test_what_is_not_there_is_not_found(self, blobs: BlobStore, area: str, key: str):
        sealed(blobs, area, UUID_KEY, b"another")
        with pytest.raises(NotFound):
            blobs.open(area, key)

    def test_many_read_at_once(self, blobs: BlobStore, area: str):
        data = os.urandom(PIECE)
        sealed(blobs, area, KEY, data)
        found: list[bytes] = []
        _at_once(8, lambda _: found.append(read(blobs, area, KEY)))
        assert found == [data] * 8

    # -- copies -----------------------------------------------------------------------------------------------------

    def test_a_copy_outlives_its_original(self, blobs: BlobStore, area: str):
        blob = sealed(blobs, area, KEY, b"content")
        copy = blobs.copy(area, blob, UUID_KEY)
        assert copy == Blob(UUID_KEY, 7, blob.md5)
        assert read(blobs, area, KEY) == b"content"
        blobs.delete(area, [KEY])
        assert read(blobs, area, UUID_KEY) == b"content"

    def test_nothing_can_be_copied_from_nothing(self, blobs: BlobStore, area: str):
        sealed(blobs, area, UUID_KEY, b"another")
        with pytest.raises(NotFound):
            blobs.copy(area, Blob(KEY, 1, ""), random_key())
        assert keys(blobs, area) == [UUID_KEY]

    # -- deleting, listing ------------------------------------------------------------------------------------------

    def test_deleted_is_gone_and_others_stay(self, blobs: BlobStore, area: str):
        wanted, doomed = [f"{ID}/{number:016d}" for number in range(3)], [f"{ID}/{number:016d}" for number in range(3, 9)]
        for key in (*wanted, *doomed):
            sealed(blobs, area, key, key.encode())
        blobs.delete(area, [*doomed, random_key(), "absent/one"])
        assert keys(blobs, area) == wanted
        assert [read(blobs, area, key) for key in wanted] == [key.encode() for key in wanted]

    def test_to_delete_nothing_or_what_is_absent_is_fine(self, blobs: BlobStore, area: str):
        blobs.delete(area, [])
        blobs.delete(area, [KEY])
        sealed(blobs, area, KEY, b"x")
        blobs.delete(area, [KEY])
        blobs.delete(area, [KEY])
        assert keys(blobs, area) == []

    def test_a_key_is_free_again_after_its_deletion(self, blobs: BlobStore, area: str):
        sealed(blobs, area, KEY, b"first")
        blobs.delete(area, [KEY])
        sealed(blobs, area, KEY, b"second")
        assert read(blobs, area, KEY) == b"second"

    def test_a_list_tells_size_and_time(self, blobs: BlobStore, area: str):
        before = datetime.now(UTC) - timedelta(seconds=2)
        for size in (0, 1, 1000):
            sealed(blobs, area, random_key(), b"x" * size)
        found = list(blobs.list(area))
        assert sorted(size for _, size, _ in found) == [0, 1, 1000]
        assert all(before < time < datetime.now(UTC) + timedelta(seconds=2) for _, _, time in found)

    def test_a_list_can_be_of_one_file(self, blobs: BlobStore, area: str):
        for key in (f"{ID}/{INTERNAL}", f"{ID}/0000000000000000", UUID_KEY, random_key()):
            sealed(blobs, area, key, b"x")
        assert keys(blobs, area, f"{ID}/") == [f"{ID}/0000000000000000", f"{ID}/{INTERNAL}"]
        assert keys(blobs, area, UUID_KEY) == [UUID_KEY]
        assert keys(blobs, area, "none/") == []

    def test_a_long_list_is_whole(self, blobs: BlobStore, area: str):
        made = sorted(random_key() for _ in range(60))
        _at_once(6, lambda number: [sealed(blobs, area, key, b"x") for key in made[number::6]])
        assert keys(blobs, area) == made

    def test_areas_are_apart(self, blobs: BlobStore, area: str):
        other = f"{area}x"
        sealed(blobs, area, KEY, b"one")
        sealed(blobs, other, KEY, b"two")
        assert (read(blobs, area, KEY), read(blobs, other, KEY)) == (b"one", b"two")
        blobs.destroy(other)
        assert (keys(blobs, area), keys(blobs, other)) == ([KEY], [])
        assert read(blobs, area, KEY) == b"one"

    def test_an_area_nobody_wrote_to_is_empty(self, blobs: BlobStore, area: str):
        assert keys(blobs, area) == []
        with pytest.raises(NotFound):
            blobs.open(area, KEY)
        blobs.delete(area, [KEY])
        blobs.destroy(area)

    def test_a_destroyed_area_can_be_written_to_again(self, blobs: BlobStore, area: str):
        for key in (KEY, UUID_KEY):
            sealed(blobs, area, key, b"x")
        blobs.destroy(area)
        assert keys(blobs, area) == []
        sealed(blobs, area, KEY, b"again")
        assert read(blobs, area, KEY) == b"again"

    # -- together ---------------------------------------------------------------------------------------------------

    def test_contents_of_one_file_come_and_go_at_once(self, blobs: BlobStore, area: str):
        """The last content of a file is deleted while its next one is sealed."""
        found: list[bytes] = []

        def work(number: int) -> None:
            for step in range(6):
                key = f"{ID}/{number:08d}{step:08d}"
                sealed(blobs, area, key, b"x")
                found.append(read(blobs, area, key))
                blobs.delete(area, [key])

        _at_once(6, work)
        assert found == [b"x"] * 36
        assert keys(blobs, area) == []

    def test_a_list_can_be_read_while_contents_come_and_go(self, blobs: BlobStore, area: str):
        stays = random_key()
        sealed(blobs, area, stays, b"x")
        stop = threading.Event()

        def change() -> None:
            while not stop.is_set():
                key = random_key()
                sealed(blobs, area, key, b"y")
                blobs.delete(area, [key])

        thread = threading.Thread(target=change)
        thread.start()
        try:
            for _ in range(20):
                assert stays in keys(blobs, area)
        finally:
            stop.set()
            thread.join(20)

    def test_it_answers(self, blobs: BlobStore):
        blobs.ping()


def _at_once(count: int, work: Callable[[int], object]) -> None:
    """Run `work(0)`, `work(1)`... in threads of their own."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(110)
    assert not any(thread.is_alive() for thread in threads)
