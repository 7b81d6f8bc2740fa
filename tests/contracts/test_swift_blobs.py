"""The blob store's contract on a real Swift, and the layout that the reference reads too."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cozyd.config import ConfigError
from cozyd.errors import NotFound, TooLarge, Unavailable
from cozyd.files.blobs import Blob
from cozyd.files.swift import SwiftBlobs, container_of, key_of, object_name
from cozyd.files.swiftsession import Access
from tests.contracts.blob_store import ID, INTERNAL, KEY, UUID_KEY, BlobStoreContract, keys, read, sealed
from tests.support.swift import PASSWORD, Swift, connect

AREA = "cozylayout"


@pytest.fixture
def blobs(swift: Swift, tmp_path: Path) -> Iterator[SwiftBlobs]:
    store = SwiftBlobs(swift.address, tmp_path / "tmp")
    yield store
    store.close()


class TestSwiftBlobs(BlobStoreContract):
    """The contract."""


@pytest.fixture
def seen(swift: Swift, blobs: SwiftBlobs) -> Iterator[Any]:
    """Swift itself, by its own client; afterwards the area is empty again."""
    connection = connect(swift)
    yield connection
    connection.close()
    blobs.destroy(AREA)


# -- layout -------------------------------------------------------------------------------------------------------------


def test_objects_have_the_names_of_the_third_layout(blobs: SwiftBlobs, seen: Any):
    sealed(blobs, AREA, KEY, b"x")
    sealed(blobs, AREA, UUID_KEY, b"x")
    names = {found["name"] for found in seen.get_container(f"cozy-v3-{AREA}")[1]}
    assert names == {f"{ID[:22]}/{ID[22:27]}/{ID[27:]}/{INTERNAL}", UUID_KEY}


@pytest.mark.parametrize("key", [KEY, UUID_KEY, f"{ID}/short", "short/name", f"{ID}/{'x' * 18}", "thumbs/something-tiny"])
def test_names_lead_back_to_their_keys(key: str):
    assert key_of(object_name(key)) == key


def test_shared_areas_are_containers_of_their_own():
    assert [container_of(area) for area in ("apps-web", "apps-konnectors", "exports", "cozyabc")] == [
        "apps-web",
        "apps-konnectors",
        "exports",
        "cozy-v3-cozyabc",
    ]


def test_what_the_reference_stored_is_read(blobs: SwiftBlobs, seen: Any):
    seen.put_container(f"cozy-v3-{AREA}")
    seen.put_object(f"cozy-v3-{AREA}", f"{ID[:22]}/{ID[22:27]}/{ID[27:]}/{INTERNAL}", b"old", content_type="text/plain")
    seen.put_object(f"cozy-v3-{AREA}", UUID_KEY, b"new", content_type="text/plain")
    assert keys(blobs, AREA) == sorted([KEY, UUID_KEY])
    assert (read(blobs, AREA, KEY), read(blobs, AREA, UUID_KEY)) == (b"old", b"new")


def test_type_and_origin_are_noted(blobs: SwiftBlobs, seen: Any):
    with blobs.new(AREA, KEY, size=1, type="image/png") as new:
        new.write(b"x")
        blob = new.seal()
    assert seen.head_object(f"cozy-v3-{AREA}", object_name(KEY))["content-type"] == "image/png"
    blobs.copy(AREA, blob, UUID_KEY, about={"creation-name": "été 100%.png", "created-at": "2026-01-02T03:04:05Z"})
    copied = seen.head_object(f"cozy-v3-{AREA}", UUID_KEY)
    assert copied["content-type"] == "image/png"
    assert copied["x-object-meta-copied-from"] == ID
    assert copied["x-object-meta-creation-name"] == "été 100%.png", "as its client decodes it"
    assert copied["x-object-meta-created-at"] == "2026-01-02T03:04:05Z"
    assert copied["etag"] == hashlib.md5(b"x").hexdigest()


def test_a_thumbnail_of_a_content_that_was_replaced_is_none(blobs: SwiftBlobs, seen: Any):
    """As the reference judges those that it left behind, by the MD5 that it noted with them."""
    key, object = f"thumbs/{ID}-tiny", f"thumbs/{ID[:22]}/{ID[22:27]}/{ID[27:]}-tiny"
    with blobs.new(AREA, key, type="image/jpeg", about={"file-md5": "aa11"}) as new:
        new.write(b"small")
        new.seal()
    assert seen.head_object(f"cozy-v3-{AREA}", object)["x-object-meta-file-md5"] == "aa11"
    with blobs.open(AREA, key, about={"file-md5": "aa11"}) as stream:
        assert stream.read() == b"small"
    with pytest.raises(NotFound):
        blobs.open(AREA, key, about={"file-md5": "bb22"})
    seen.put_object(f"cozy-v3-{AREA}", object, b"old", content_type="image/jpeg")
    with blobs.open(AREA, key, about={"file-md5": "bb22"}) as stream:
        assert stream.read() == b"old"


def test_a_destroyed_area_has_no_container(blobs: SwiftBlobs, seen: Any):
    for number in range(5):
        sealed(blobs, AREA, f"{ID}/{number:016d}", b"x")
    blobs.destroy(AREA)
    assert f"cozy-v3-{AREA}" not in {found["name"] for found in seen.get_account()[1]}


def test_pages_of_a_list_are_joined(swift: Swift, blobs: SwiftBlobs, tmp_path: Path, seen: Any):
    made = sorted(f"{ID}/{number:016d}" for number in range(7))
    for key in made:
        sealed(blobs, AREA, key, b"x")
    paged = SwiftBlobs(swift.address, tmp_path / "paged", page=3)
    assert keys(paged, AREA) == made
    paged.close()


def test_a_store_without_bulk_deletion_is_emptied_one_by_one(blobs: SwiftBlobs, seen: Any, monkeypatch: pytest.MonkeyPatch):
    """As with accounts that may not use it (403)."""
    for number in range(3):
        sealed(blobs, AREA, f"{ID}/{number:016d}", b"x")
    monkeypatch.setattr("cozyd.files.swiftsession.Session.bulk_delete", lambda *_: False)
    blobs.delete(AREA, [f"{ID}/{number:016d}" for number in range(2)])
    assert keys(blobs, AREA) == [f"{ID}/{2:016d}"]


def test_more_than_an_object_may_have_is_refused_before_a_byte(blobs: SwiftBlobs):
    with pytest.raises(TooLarge):
        blobs.new(AREA, KEY, size=(5 << 30) + 1)


# -- signing in ---------------------------------------------------------------------------------------------------------


def test_a_token_that_ran_out_is_replaced(blobs: SwiftBlobs, seen: Any):
    sealed(blobs, AREA, KEY, b"x")
    url, _ = blobs._session._sign_in()
    blobs._session._signed = (url, "AUTH_tk0000000000")
    assert read(blobs, AREA, KEY) == b"x"
    blobs._session._signed = (url, "AUTH_tk0000000000")
    assert sealed(blobs, AREA, UUID_KEY, b"content") == Blob(UUID_KEY, 7, base64.b64encode(hashlib.md5(b"content").digest()).decode())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("swift://host/auth/v1.0?UserName=a:b", "needs UserName and Password"),
        ("swift://host/auth/v1.0?Password=x", "needs UserName and Password"),
        ("swift://host/v3?UserName=a&Password=x&Colour=blue", "unknown parameter Colour"),
        ("swift://host/v3?UserName=a&Password=x&Timeout=soon", "no Timeout"),
        ("swift://host/v3?UserName=a&Password=x&Timeout=0", "no Timeout"),
    ],
)
def test_an_address_that_cannot_be_used_says_why(address: str, message: str):
    with pytest.raises(ConfigError, match=message):
        Access.parse(address)


@pytest.mark.parametrize(
    ("address", "url", "timeout"),
    [
        ("swift://host:8080/auth/v1.0?UserName=a:b&Password=x", "http://host:8080/auth/v1.0", 10),
        ("swift+https://host/v3/?UserName=a&Password=x&Timeout=2m", "https://host/v3", 120),
        (
            "swift://openstack/?UserName=a&Password=x&AuthURL=" + quote("https://id.example/v3", safe="") + "&Timeout=30s",
            "https://id.example/v3",
            30,
        ),
    ],
)
def test_an_address_is_read_as_the_reference_reads_it(address: str, url: str, timeout: float):
    found = Access.parse(address)
    assert (found.url, found.timeout) == (url, timeout)


def test_a_password_of_its_own_file_wins():
    assert Access.parse("swift://host/v3?UserName=a&Password=x", "y&z").options["Password"] == "y&z"


class _Identity(BaseHTTPRequestHandler):
    """Stands for Keystone, which is no light package: asks for name, password and project, gives the token that tempauth gives."""

    swift: Swift

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["auth"]
        user = asked["identity"]["password"]["user"]
        known = (user["name"], user["password"], user["domain"]) == ("robot", PASSWORD, {"name": "Default"})
        if self.path != "/v3/auth/tokens" or not known or asked["scope"] != {"project": {"name": "cloud", "domain": {"name": "Default"}}}:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        url, token = connect(self.swift).get_auth()
        endpoints = [{"interface": "public", "region": name, "url": at} for name, at in (("far", "http://127.0.0.1:1/v1/x"), ("near", url))]
        body = json.dumps(
            {"token": {"catalog": [{"type": "identity", "endpoints": []}, {"type": "object-store", "endpoints": endpoints}]}}
        ).encode()
        self.send_response(201)
        self.send_header("X-Subject-Token", token)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def identity(swift: Swift) -> Iterator[str]:
    handler = type("Identity", (_Identity,), {"swift": swift})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"swift://127.0.0.1:{server.server_port}/v3?UserName=robot&ProjectName=cloud&Region=near"
        server.shutdown()
        thread.join(5)


def test_keystone_tells_where_the_store_of_a_region_is(identity: str, tmp_path: Path):
    store = SwiftBlobs(identity, tmp_path / "tmp", password=PASSWORD)
    sealed(store, AREA, KEY, b"content")
    assert read(store, AREA, KEY) == b"content"
    store.destroy(AREA)
    store.close()


@pytest.mark.parametrize(("more", "password"), [("", "wrong"), ("&Region=none", PASSWORD), ("&UserDomainName=other", PASSWORD)])
def test_an_identity_service_that_refuses_leaves_the_store_unavailable(identity: str, tmp_path: Path, more: str, password: str):
    store = SwiftBlobs(identity + more, tmp_path / "tmp", password=password)
    with pytest.raises(Unavailable):
        store.ping()
    with pytest.raises(Unavailable):
        sealed(store, AREA, KEY, b"content")
    store.close()
