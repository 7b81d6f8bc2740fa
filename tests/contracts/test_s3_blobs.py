"""The blob store's contract on a real S3 server: the door that Swift has for that protocol."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cozyd.config import ConfigError
from cozyd.errors import NotFound, Unavailable
from cozyd.files.s3 import Access, S3Blobs
from tests.contracts.blob_store import ID, KEY, UUID_KEY, BlobStoreContract, keys, read, sealed
from tests.support.serving import free_port
from tests.support.swift import Swift, connect

BUCKET = "contents"
AREA = "cozys3"


@pytest.fixture(scope="module")
def seen(swift: Swift) -> Iterator[Any]:
    """What is behind the door: the bucket is a container of Swift."""
    pytest.importorskip("minio", reason="minio is not installed: make test does it")
    connection = connect(swift)
    connection.put_container(BUCKET)
    yield connection
    connection.close()


@pytest.fixture
def blobs(swift: Swift, seen: Any, tmp_path: Path) -> Iterator[S3Blobs]:
    store = S3Blobs(swift.s3(BUCKET), tmp_path / "tmp")
    yield store
    store.close()


class TestS3Blobs(BlobStoreContract):
    """The contract."""


def test_objects_lie_below_their_area_with_their_type_and_notes(blobs: S3Blobs, seen: Any):
    with blobs.new(AREA, KEY, size=1, type="image/png", about={"file-md5": "aa11", "creation-name": "a b.png"}) as new:
        new.write(b"x")
        blob = new.seal()
    blobs.copy(AREA, blob, UUID_KEY)
    for key in (KEY, UUID_KEY):
        found = seen.head_object(BUCKET, f"{AREA}/{key}")
        assert (found["content-type"], found["x-object-meta-creation-name"]) == ("image/png", "a b.png")
    with pytest.raises(NotFound):
        blobs.open(AREA, KEY, about={"file-md5": "bb22"})
    with blobs.open(AREA, KEY, about={"file-md5": "aa11"}) as stream:
        assert stream.read() == b"x"
    blobs.destroy(AREA)
    assert keys(blobs, AREA) == []


def test_a_large_content_goes_in_parts(blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cozyd.files.s3.PART", 5 << 20)
    data = bytes(range(256)) * (12 << 12)
    sealed(blobs, AREA, KEY, data)
    assert read(blobs, AREA, KEY) == data
    with blobs.open(AREA, KEY, start=(5 << 20) - 3, stop=(5 << 20) + 3) as stream:
        assert stream.read() == data[(5 << 20) - 3 : (5 << 20) + 3]
    blobs.destroy(AREA)


def test_pages_of_a_list_are_joined_and_deleted(blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cozyd.files.s3.AT_ONCE", 3)
    made = sorted(f"{ID}/{number:016d}" for number in range(7))
    for key in made:
        sealed(blobs, AREA, key, b"x")
    assert keys(blobs, AREA) == made
    blobs.destroy(AREA)
    assert keys(blobs, AREA) == []


def test_what_the_server_kept_is_compared(blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch):
    real = blobs._client.put_object

    def other(*arguments: Any, **options: Any) -> Any:
        return replace(real(*arguments, **options), etag="0" * 32)

    monkeypatch.setattr(blobs._client, "put_object", other)
    with pytest.raises(Unavailable):
        sealed(blobs, AREA, KEY, b"x")
    assert keys(blobs, AREA) == []


def test_a_server_that_is_away_or_has_no_such_bucket_is_told(swift: Swift, seen: Any, tmp_path: Path):
    for address in (swift.s3("nowhere"), swift.s3(BUCKET).replace(swift.netloc, f"127.0.0.1:{free_port()}")):
        store = S3Blobs(address, tmp_path / "tmp")
        with pytest.raises(Unavailable):
            store.ping()
        with pytest.raises(Unavailable):
            sealed(store, AREA, KEY, b"x")
        assert list(store.temporary.iterdir()) == []
        store.close()


def test_an_address_is_read():
    access = Access.parse("s3+https://host:9000/bucket?AccessKey=me&SecretKey=a%2Fb&Region=north", "")
    assert access == Access("host:9000", True, "bucket", "me", "a/b", "north")
    assert Access.parse("s3://host/bucket?AccessKey=me", "file's").secret == "file's"


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("s3://host?AccessKey=a&SecretKey=b", "host and a bucket"),
        ("s3://host/a/b?AccessKey=a&SecretKey=b", "host and a bucket"),
        ("s3://host/bucket?AccessKey=a", "SecretKey"),
        ("s3://host/bucket?SecretKey=b", "AccessKey"),
        ("s3://host/bucket?AccessKey=a&SecretKey=b&Color=red", "unknown parameter Color"),
    ],
)
def test_an_address_that_lacks_something_is_refused(address: str, error: str):
    with pytest.raises(ConfigError, match=error):
        Access.parse(address)
