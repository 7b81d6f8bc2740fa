"""What films and sounds say of themselves, as far as it can be so."""

import io
import struct
import wave
from typing import Any

import pytest
from mutagen.id3 import TIT2, TPE1, TRCK
from mutagen.wave import WAVE

from workers.describe import describe

SIZE = {"width": 640, "height": 480}


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def mp4(form: str, *numbers: int) -> bytes:
    """A film of 640 x 480 with these numbers in its head: when it was made and changed, ticks of a second, ticks in all."""
    head = box(b"mvhd", (b"\1\0\0\0" if "Q" in form else bytes(4)) + struct.pack(form, *numbers) + bytes(80))
    matrix = struct.pack(">iiiiiiiii", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    track = box(b"trak", box(b"tkhd", bytes(40) + matrix + struct.pack(">II", 640 << 16, 480 << 16)))
    return box(b"ftyp", b"isomiso2") + box(b"moov", head + track)


def element(id: int, body: bytes) -> bytes:
    return id.to_bytes((id.bit_length() + 7) // 8) + (1 << 28 | len(body)).to_bytes(4) + body


def mkv(*info: bytes, width: bytes = (640).to_bytes(2)) -> bytes:
    picture = element(0xAE, element(0xE0, element(0xB0, width) + element(0xBA, (480).to_bytes(2))))
    return element(0x1A45DFA3, b"") + element(0x18538067, element(0x1549A966, b"".join(info)) + element(0x1654AE6B, picture))


def told(content: bytes, mime: str) -> dict[str, Any]:
    return describe([io.BytesIO(content)], mime=mime)


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (mp4(">IIII", 3_800_000_000, 0, 1000, 5000), {"duration": 5.0, "datetime": "2024-05-31T11:33:20Z"}),
        (mp4(">IIII", 0, 0, 1000, 0xFFFFFFFF), {}),
        (mp4(">QQIQ", 0, 0, 1000, (1 << 64) - 1), {}),
        (mp4(">QQIQ", (1 << 64) - 1, 0, 1000, 5000), {"duration": 5.0}),
        (mp4(">QQIQ", 1 << 40, 0, 1000, 5000), {"duration": 5.0}),
    ],
)
def test_a_film_whose_date_or_length_cannot_be_still_tells_the_rest(content: bytes, more: dict[str, Any]):
    assert told(content, "video/mp4") == SIZE | more


@pytest.mark.parametrize(
    ("info", "more"),
    [
        (element(0x4489, struct.pack(">d", 5000.0)), {"duration": 5.0}),
        (element(0x4489, struct.pack(">d", 1e308)) + element(0x2AD7B1, b"\xff" * 8), {}),
        (element(0x4489, bytes(3)), {}),
        (element(0x4461, b"\x7f" + b"\xff" * 30), {}),
    ],
)
def test_so_does_one_of_matroska(info: bytes, more: dict[str, Any]):
    assert told(mkv(info), "video/x-matroska") == SIZE | more


def test_a_width_that_no_screen_has_is_none():
    assert told(mkv(width=b"\xff" * 30), "video/x-matroska") == {}


def test_a_wave_tells_its_tags():
    made = io.BytesIO()
    with wave.open(made, "wb") as sound:
        sound.setparams((1, 2, 8000, 800, "NONE", ""))
        sound.writeframes(bytes(1600))
    made.seek(0)
    tagged = WAVE(made)
    tagged.add_tags()
    tags: Any = tagged.tags
    for frame in (TIT2(encoding=3, text="Waves"), TPE1(encoding=3, text="Sea"), TRCK(encoding=3, text="3/12")):
        tags.add(frame)
    made.seek(0)
    tagged.save(made)
    assert told(made.getvalue(), "audio/x-wav") == {"title": "Waves", "artist": "Sea", "track": 3, "duration": 0.1}
