"""What contents say about themselves: made by Pillow and by hand, cut, broken and hostile."""

import io
import struct
import time
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cozyd.files import Files, metadata
from cozyd.files.metadata import HEAD, extract, merged, taken
from tests.support.files import root, write

KINDS = ("jpeg", "png", "gif", "webp", "heic")
AT = "2026-01-01T00:00:00Z"


def picture(format: str, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, "red").save(stream, format, **options)
    return stream.getvalue()


def with_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0132] = "2019:01:02 03:04:05"
    more = exif.get_ifd(0x8769)
    more[0x9003] = "2020:06:07 08:09:10"
    more[0x9011] = "+02:00"
    more[0x9209] = 0x19
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "S", (48.0, 30.0, 36.0), "W", (2.0, 0.0, 0.0)
    return exif


@pytest.mark.parametrize(("format", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("GIF", "image/gif"), ("WEBP", "image/webp")])
def test_a_picture_tells_its_size(format: str, mime: str):
    assert extract(mime, picture(format), AT) == {"datetime": AT, "extractor_version": 2, "width": 40, "height": 30}


def test_lossless_and_animated_webp_too():
    assert extract("image/webp", picture("WEBP", lossless=True), AT)["width"] == 40
    frames = io.BytesIO()
    red, blue = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    red.save(frames, "WEBP", save_all=True, append_images=[blue])
    assert extract("image/webp", frames.getvalue(), AT)["height"] == 30


@pytest.mark.parametrize(("format", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png")])
def test_a_photo_tells_when_and_where_it_was_taken(format: str, mime: str):
    found = extract(mime, picture(format, exif=with_exif()), AT)
    assert found == {
        "datetime": "2020-06-07T06:09:10Z",
        "extractor_version": 2,
        "width": 40,
        "height": 30,
        "orientation": 6,
        "flash": "Auto, Fired",
        "gps": {"lat": -48.51, "long": -2.0},
    }


@pytest.mark.parametrize(
    ("time", "offset", "found"),
    [
        ("    :  :     :  :  ", "   :  ", AT),
        ("0000:00:00 00:00:00", "", AT),
        ("2020-06-07 08:09:10", "", AT),
        ("0001:01:01 00:00:00", "+23:00", AT),
        ("2020:06:07 08:09:10", "+99:99", "2020-06-07T08:09:10Z"),
    ],
)
def test_a_clock_that_was_never_set_hides_nothing_else_of_a_photo(time: str, offset: str, found: str):
    exif = with_exif()
    exif.get_ifd(0x8769)[0x9003], exif.get_ifd(0x8769)[0x9011] = time, offset
    told = extract("image/jpeg", picture("JPEG", exif=exif), AT)
    assert (told["datetime"], told["orientation"], told["gps"]["lat"]) == (found, 6, pytest.approx(-48.51))


def test_a_date_makes_the_file_s_own(files: Files):
    file = write(files, root(files), "p.jpg", picture("JPEG", exif=with_exif()))
    assert file.stored.doc["created_at"] == "2020-06-07T06:09:10Z"
    assert file.stored.doc["metadata"]["width"] == 40
    assert file.stored.doc["updated_at"] > "2020-06-07T06:09:10Z"
    older = write(files, root(files), "q.jpg", picture("JPEG", exif=with_exif()), updated_at="2001-01-01T00:00:00Z")
    assert older.stored.doc["updated_at"] == "2020-06-07T06:09:10Z"
    assert taken({"datetime": "1980-01-01T00:00:00Z"}) is None
    assert taken({"datetime": 5}) is None


def test_music_tells_its_tags():
    from mutagen.id3 import ID3, TALB, TDRC, TIT2, TPE1, TRCK

    stream = io.BytesIO()
    tags = ID3()
    for tag in (TIT2(text="Title"), TPE1(text="Artist é"), TALB(text="Album"), TRCK(text="3/12"), TDRC(text="1998-05-01")):
        tags.add(tag)
    tags.save(stream)
    expected = {"title": "Title", "artist": "Artist é", "album": "Album", "track": 3, "year": 1998, "extractor_version": 2}
    assert extract("audio/mpeg", stream.getvalue() + b"\xff\xfb\x90\x00" * 1000, AT) == expected


def test_a_shortcut_tells_where_it_leads():
    found = extract("application/internet-shortcut", b"[InternetShortcut]\r\nURL=https://example.org/a?b\r\n", AT)
    assert found["target"] == {"url": "https://example.org/a?b"}


def test_what_the_sender_tells_stays_beside_what_the_content_says(files: Files):
    told = {"datetime": "2010-01-01T00:00:00Z", "target": {"title": "A note"}, "width": 7}
    text = write(files, root(files), "a.txt", metadata=told, created_at="2015-01-01T00:00:00Z")
    assert (text.metadata, text.stored.doc["created_at"]) == (told, "2015-01-01T00:00:00Z")
    shortcut = write(files, root(files), "a.url", b"[InternetShortcut]\nURL=https://example.org/\n", metadata=told)
    assert (shortcut.metadata["target"], shortcut.metadata["extractor_version"]) == ({"title": "A note"}, 2)
    image = write(files, root(files), "a.png", picture("PNG"), metadata=told, created_at="2015-01-01T00:00:00Z")
    assert (image.metadata["width"], image.metadata["datetime"]) == (40, "2015-01-01T00:00:00Z")


def test_an_image_that_does_not_say_when_keeps_the_age_of_the_one_it_replaces(files: Files):
    first = write(files, root(files), "r.png", picture("PNG"), created_at="2015-01-01T00:00:00Z", updated_at="2016-01-01T00:00:00Z")
    second = write(files, root(files), "r.png", picture("PNG", (50, 30)), over=first, updated_at="2017-01-01T00:00:00Z")
    doc = second.stored.doc
    assert (doc["created_at"], doc["updated_at"]) == ("2015-01-01T00:00:00Z", "2017-01-01T00:00:00Z")
    assert (doc["metadata"]["datetime"], doc["metadata"]["width"]) == ("2015-01-01T00:00:00Z", 50)


@pytest.mark.parametrize(
    ("url", "app"),
    [
        ("https://drive.alice.example.org/#/folder/1", "drive"),
        ("https://alice-drive.example.org/", "drive"),
        ("https://alice-my-app.example.org/", "my-app"),
        ("https://alice.example.org/", None),
        ("https://drive.bob.example.org/", None),
        ("https://a.drive.alice.example.org/", None),
        ("https://[broken/", None),
    ],
)
def test_a_shortcut_to_an_app_of_one_s_own_names_it(url: str, app: str | None):
    found = extract("application/internet-shortcut", f"[InternetShortcut]\nURL={url}\n".encode(), AT)
    own = {"cozyMetadata": {"instance": "alice.example.org"}, "app": app} if app else {}
    address = "https://alice.example.org/"
    assert merged({}, found, address)["metadata"] == {"extractor_version": 2, "target": {"url": url} | own}
    told = {"metadata": {"target": {"title": "Mine"}}}
    assert merged(told, found, address)["metadata"]["target"] == {"title": "Mine"} | own
    assert merged({"metadata": {"target": "a text"}}, found, address)["metadata"]["target"] == "a text"


def test_other_types_say_nothing():
    assert extract("text/plain", b"URL=x", AT) == {}


@pytest.mark.parametrize(
    "mime", ["image/jpeg", "image/png", "image/gif", "image/webp", "image/heic", "audio/mpeg", "audio/ogg", "audio/flac"]
)
@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=400), cut=st.integers(0, 2000))
def test_whatever_comes_fails_no_upload(mime: str, noise: bytes, cut: int):
    real = picture("JPEG", exif=with_exif())
    for head in (noise, real[:cut] + noise, picture("PNG")[:cut] + noise, b"ID3\x04\0\0" + noise, b"fLaC" + noise, b"OggS" + noise):
        assert extract(mime, head, AT)["extractor_version"] == 2


def test_bombs_cost_nothing():
    """A picture of 50,000 x 50,000 pixels, a text chunk and an EXIF block that claim gigabytes, a segment chain without end."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    huge = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0x7FFFFFFF) + b"zTXt" + zlib.compress(b"\0" * 10_000_000)
    began = time.process_time()
    assert extract("image/png", huge[:HEAD], AT)["width"] == 50_000
    block = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x8769, 7, 0x7FFFFFFF, 8)
    jpeg = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    assert extract("image/jpeg", jpeg + b"\xff" * HEAD, AT)["extractor_version"] == 2
    assert extract("image/jpeg", b"\xff\xd8" + b"\xff\xfe\0\x02" * (HEAD // 4), AT)["extractor_version"] == 2
    assert extract("audio/mpeg", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + b"TIT2\x7f\x7f\x7f\x7f\0\0" * 1000, AT)["extractor_version"] == 2
    assert time.process_time() - began < 1
    assert metadata.VERSION == 2
