"""Thumbnails and what contents say of themselves, through a served process: from the upload to the removal."""

import hashlib
import io
import json
import os
import struct
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutagen.id3 import ID3, TIT2, TPE1
from PIL import Image

from tests.support.busy import Busy
from tests.support.client import Answer, Client
from tests.support.pictures import CORNERS, alike, corners, encoded, pdf, photo, upright
from tests.support.serving import CLI, Served, eventually, run

SCOPE = ("io.cozy.files", "io.cozy.jobs", "io.cozy.files.versions", "io.cozy.files.thumbnails")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("thumbs") / "data").add_alice() as running:
        yield running


@pytest.fixture(scope="module")
def alice(server: Served) -> Client:
    return Client(server, scope=SCOPE)


def upload(client: Client, name: str, content: bytes, mime: str, *, to: str = "") -> dict[str, Any]:
    address = f"/files/{to}" if to else f"/files/io.cozy.files.root-dir?Type=file&Name={name}"
    answer = client.api("PUT" if to else "POST", address, content, Content_Type=mime)
    assert answer.status in (200, 201), answer.body
    found: dict[str, Any] = answer.json["data"]
    return found


def pictures(client: Client, file: dict[str, Any], format: str = "large") -> bytes:
    """A thumbnail, once it is there."""
    found: list[Answer] = []

    def made() -> bool:
        answer = client.ask("GET", file["links"][format])
        found[:] = [answer]
        return answer.status == 200

    eventually(made, within=40)
    assert found[0].headers["Content-Type"] == "image/jpeg"
    return bytes(found[0].body)


def jobs_of(client: Client, file: dict[str, Any], worker: str = "thumbnail") -> list[dict[str, Any]]:
    rows = client.api("GET", "/data/io.cozy.jobs/_all_docs?include_docs=true").json["rows"]
    docs = [row["doc"] for row in rows if not row["id"].startswith("_design")]
    return [doc for doc in docs if doc["worker"] == worker and doc["message"].get("file") == file["id"]]


def blobs(server: Served) -> set[str]:
    return {path.name for path in (server.folder / "blobs").rglob("thumbs/*/*")}


def metadata(client: Client, file: dict[str, Any]) -> dict[str, Any]:
    eventually(lambda: all(job["state"] in ("done", "errored") for job in jobs_of(client, file, "metadata")), within=40)
    found: dict[str, Any] = client.api("GET", f"/files/{file['id']}").json["data"]["attributes"].get("metadata", {})
    return found


def test_a_photo_has_four_thumbnails_soon_after_it_came_and_who_listens_is_told(alice: Client):
    with alice.watch("io.cozy.files.thumbnails") as watch:
        file = upload(alice, "lying.jpg", photo(6), "image/jpeg")
        told = [watch.next(timeout=40) for _ in range(4)]
    assert {event["payload"]["doc"]["format"] for event in told} == {"tiny", "small", "medium", "large"}
    assert {(event["event"], event["payload"]["id"]) for event in told} == {("CREATED", file["id"])}
    for format, size in (("tiny", (96, 72)), ("small", (400, 300)), ("large", (400, 300))):
        picture = pictures(alice, file, format)
        assert Image.open(io.BytesIO(picture)).size == size
        assert alike(corners(picture), CORNERS)
    (job,) = jobs_of(alice, file)
    eventually(lambda: jobs_of(alice, file)[0]["state"] == "done")
    assert job["event"] is None


def test_a_thumbnail_is_kept_by_clients(alice: Client):
    file = upload(alice, "kept.png", encoded(upright(), "PNG"), "image/png")
    pictures(alice, file)
    etag = alice.ask("GET", file["links"]["tiny"]).headers["ETag"]
    assert alice.ask("GET", file["links"]["tiny"], If_None_Match=etag).status == 304


def test_another_content_has_other_thumbnails(alice: Client):
    file = upload(alice, "changing.jpg", photo(), "image/jpeg")
    pictures(alice, file)
    other = encoded(Image.new("RGB", (300, 300), (9, 99, 199)), "PNG")
    file = upload(alice, "", other, "image/png", to=file["id"])
    eventually(lambda: alike(corners(pictures(alice, file)), ((9, 99, 199),) * 4), within=40)


def test_a_broken_image_is_one_failed_job_and_stays_a_placeholder(alice: Client):
    file = upload(alice, "broken.jpg", photo(width=1000, height=1000)[:-3000], "image/jpeg")
    eventually(lambda: [job["state"] for job in jobs_of(alice, file)] == ["errored"], within=40)
    assert "truncated" in jobs_of(alice, file)[0]["error"]
    for format in ("tiny", "large"):
        answer = alice.ask("GET", file["links"][format])
        assert (answer.status, answer.headers["Content-Type"]) == (404, "image/png")
    assert len(jobs_of(alice, file)) == 1
    whole = upload(alice, "whole.jpg", photo(), "image/jpeg")
    assert pictures(alice, whole)


def test_a_pdf_has_a_tiny_one_at_once_and_others_when_they_are_asked_for(alice: Client, server: Served):
    file = upload(alice, "page.pdf", pdf(), "application/pdf")
    eventually(lambda: [job["state"] for job in jobs_of(alice, file)] == ["done"], within=40)
    assert pictures(alice, file, "tiny")
    assert f"{file['id']}-large" not in blobs(server)
    assert Image.open(io.BytesIO(pictures(alice, file, "large"))).size == (1920, 960)
    assert len(jobs_of(alice, file)) == 2


def test_thumbnails_go_with_their_file_and_none_is_left_over(alice: Client, server: Served):
    file = upload(alice, "going.jpg", photo(), "image/jpeg")
    pictures(alice, file)
    mine = {f"{file['id']}-{format}" for format in ("tiny", "small", "medium", "large")}
    assert mine <= blobs(server)
    alice.api("DELETE", f"/files/{file['id']}")
    assert mine <= blobs(server)
    assert alice.api("DELETE", f"/files/trash/{file['id']}").status == 204
    assert not mine & blobs(server)
    folder = next(iter((server.folder / "blobs").rglob("thumbs")))
    orphan = folder / "ff" / f"{'f' * 32}-tiny"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"x")
    two_hours_ago = time.time() - 7200
    os.utime(orphan, (two_hours_ago, two_hours_ago))
    said = run([*CLI, "fsck", server.domain], env=server.environ)
    assert (said.returncode, "thumbnail_with_no_file" in said.stdout) == (1, True)
    server.cli("fsck", server.domain, "--mend")
    assert not orphan.exists()
    assert f"{'f' * 32}-tiny" not in blobs(server)


def test_usage_does_not_count_thumbnails(alice: Client, server: Served):
    before = server.cli("files", "usage", server.domain)
    content = photo(width=1600, height=1200)
    file = upload(alice, "counted.jpg", content, "image/jpeg")
    pictures(alice, file)
    alice.api("DELETE", f"/files/{file['id']}")
    alice.api("DELETE", f"/files/trash/{file['id']}")
    assert server.cli("files", "usage", server.domain) == before


# -- metadata -------------------------------------------------------------------------------------------------------------


def taken(**gps: Any) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Canon", "EOS R6", 1
    exif.get_ifd(0x8769)[0x9003] = "2021:05:06 07:08:09"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 30.0, 0.0), 3: "E", 4: (2.0, 15.0, 0.0)})
    return exif.tobytes()


@pytest.mark.parametrize(("kind", "mime"), [("JPEG", "image/jpeg"), ("HEIF", "image/heic"), ("WEBP", "image/webp"), ("AVIF", "image/avif")])
def test_a_photo_says_when_where_and_with_what_it_was_taken(alice: Client, kind: str, mime: str):
    file = upload(alice, f"taken.{kind.lower()}", encoded(upright(), kind, exif=taken()), mime)
    found = metadata(alice, file)
    assert (found["width"], found["height"]) == (400, 300)
    assert found["datetime"] == "2021-05-06T07:08:09Z"
    assert found["gps"] == {"lat": 48.5, "long": 2.25}
    assert found["camera"] == {"make": "Canon", "model": "EOS R6"}
    assert alice.api("GET", f"/files/{file['id']}").json["data"]["attributes"]["created_at"] == "2021-05-06T07:08:09Z"


def test_a_pdf_says_its_pages_and_title(alice: Client):
    found = metadata(alice, upload(alice, "said.pdf", pdf(), "application/pdf"))
    assert (found["pages"], found["title"], found["author"]) == (1, "A title", "Zoe")


def mp3(seconds: float) -> bytes:
    """Silence of 128 kbit/s behind tags that say what it is."""
    tags = ID3()
    for tag in (TIT2(text="Ümlaut"), TPE1(text="Zoe")):
        tags.add(tag)
    stream = io.BytesIO()
    tags.save(stream)
    return stream.getvalue() + (b"\xff\xfb\x90\x64" + bytes(413)) * round(seconds * 44_100 / 1152)


def wav(seconds: int) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setparams((1, 1, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000 * seconds))
    return stream.getvalue()


def test_a_sound_says_by_whom_it_is_and_how_long(alice: Client):
    found = metadata(alice, upload(alice, "song.mp3", mp3(3), "audio/mpeg"))
    assert (found["title"], found["artist"]) == ("Ümlaut", "Zoe")
    assert found["duration"] == pytest.approx(3, abs=0.1)
    assert metadata(alice, upload(alice, "beep.wav", wav(2), "audio/x-wav"))["duration"] == 2


@pytest.mark.parametrize("content", [b"", b"ID3\x04\0\0\x7f\x7f\x7f\x7f", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"nothing"], ids=str)
def test_a_sound_that_is_none_is_one_failed_job(alice: Client, content: bytes):
    file = upload(alice, f"none-{hashlib.sha256(content).hexdigest()[:6]}.mp3", content, "audio/mpeg")
    assert "duration" not in metadata(alice, file)
    assert next(job["state"] for job in jobs_of(alice, file, "metadata")) in ("errored", "done")


def film(*, rotated: bool = True) -> bytes:
    """An MP4 whose description comes last, as phones write it."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + kind + body

    made = 3_700_000_000
    header = struct.pack(">IIIII", 0, made, made, 1000, 12_500) + bytes(80)
    a, b = (0, 1 << 16) if rotated else (1 << 16, 0)
    matrix = struct.pack(">9i", a, b, 0, -b, a, 0, 0, 0, 1 << 30)
    track = struct.pack(">IIIIII", 7, made, made, 1, 0, 12_500) + bytes(16) + matrix + struct.pack(">II", 1920 << 16, 1080 << 16)
    sound = struct.pack(">IIIIII", 7, made, made, 2, 0, 12_500) + bytes(16) + matrix + struct.pack(">II", 0, 0)
    moov = box(b"moov", box(b"mvhd", header) + box(b"trak", box(b"tkhd", sound)) + box(b"trak", box(b"tkhd", track)))
    return box(b"ftyp", b"isom\0\0\2\0isom") + box(b"mdat", bytes(300_000)) + moov


def test_a_film_says_how_long_and_large_it_is_and_how_it_lies(alice: Client):
    found = metadata(alice, upload(alice, "film.mp4", film(), "video/mp4"))
    assert (found["width"], found["height"], found["rotation"], found["duration"]) == (1080, 1920, 90, 12.5)
    assert found["datetime"].startswith("2021-03-31T")


def test_a_film_of_matroska_does_so_too(alice: Client):
    def element(id: int, body: bytes) -> bytes:
        return id.to_bytes((id.bit_length() + 7) // 8) + (0x10000000 | len(body)).to_bytes(4) + body

    info = element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3)) + element(0x4489, struct.pack(">d", 4500.0)))
    video = element(0xE0, element(0xB0, (640).to_bytes(2)) + element(0xBA, (360).to_bytes(2)))
    tracks = element(0x1654AE6B, element(0xAE, element(0xD7, b"\1") + video))
    content = element(0x1A45DFA3, element(0x4282, b"webm")) + element(0x18538067, info + tracks + element(0x1F43B675, bytes(50)))
    found = metadata(alice, upload(alice, "film.webm", content, "video/webm"))
    assert (found["width"], found["height"], found["duration"]) == (640, 360, 4.5)


@pytest.mark.parametrize("content", [b"", b"\0\0\0\x08ftyp", b"\x1a\x45\xdf\xa3" + b"\xff" * 64, b"nothing"], ids=str)
def test_a_film_that_is_none_is_one_failed_job(alice: Client, content: bytes):
    name = f"none-{hashlib.sha256(content).hexdigest()[:6]}.mp4"
    file = upload(alice, name, content, "video/mp4")
    assert "width" not in metadata(alice, file)
    assert next(job["state"] for job in jobs_of(alice, file, "metadata")) in ("errored", "done")


# -- many -----------------------------------------------------------------------------------------------------------------


def p99(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.99)]


def many(server: Served, count: int, clients: int) -> tuple[float, float, int]:
    """Upload photos of 24 MP while clients work: p99 idle and busy, and the child's largest memory; every thumbnail is looked at."""
    alice = Client(server, scope=SCOPE)
    contents = [photo(orientation, width=6000, height=4000) for orientation in (6, 3, 1, 8, 2, 4, 5, 7)[:count]]
    busy = Busy(server, clients)
    idle = p99(busy.during(min(10, count / 4)))
    memory = 0
    files = []
    with busy:
        for number in range(count):
            files.append(upload(alice, f"many-{number}.jpg", contents[number % len(contents)], "image/jpeg"))
            memory = max(memory, server.largest_child())
        broken = upload(alice, "many-broken.jpg", contents[0][:-5000], "image/jpeg")
        for file in files:
            links = alice.api("GET", f"/files/{file['id']}").json["data"]
            for format in ("tiny", "small", "medium", "large"):
                assert alike(corners(pictures(alice, links, format)), CORNERS)
            memory = max(memory, server.largest_child())
    assert busy.failures == []
    eventually(lambda: [job["state"] for job in jobs_of(alice, broken)] == ["errored"], within=40)
    assert "done" in [job["state"] for job in jobs_of(alice, files[-1])]
    return idle, p99(busy.waits), memory


def test_photos_of_24_megapixels_come_out_right_while_others_work(server: Served):
    _, _, memory = many(server, 3, 4)
    assert memory <= 300 << 20


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_five_hundred_photos_slow_nobody_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with Served(tmp_path / "data").add_alice() as server:
        idle, busy, memory = many(server, 500, 20)
        with capsys.disabled():
            print(json.dumps({"p99 idle ms": idle * 1000, "p99 busy ms": busy * 1000, "child MiB": memory >> 20}))
        assert memory <= 300 << 20
        assert busy <= 2 * idle + 0.02
