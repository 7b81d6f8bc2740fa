"""Pictures in a child process: how they lie, their colours, their formats, and what must not be decoded."""

import io
import os
import re
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from PIL import Image

from cozyd.children import Children, descriptor, memory_file
from cozyd.errors import Invalid
from tests.support.pictures import CORNERS, alike, bomb, corners, encoded, hostile_pdfs, pdf, photo, swapped_profile, upright
from tests.support.serving import eventually
from workers.pictures import SIZES


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    made = Children()
    yield made
    made.close()


def drawn(children: Children, content: bytes, mime: str = "image/jpeg", *, timeout: float = 30) -> dict[str, bytes]:
    with ExitStack() as opened:
        source = opened.enter_context(descriptor(io.BytesIO(content)))
        targets = {format: opened.enter_context(memory_file()) for format in SIZES}
        numbers = [source, *(target.fileno() for target in targets.values())]
        children.call("workers.pictures:thumbnails", {"mime": mime, "formats": list(SIZES)}, numbers, timeout=timeout)
        for target in targets.values():
            target.seek(0)
        return {format: target.readall() for format, target in targets.items()}


@pytest.mark.parametrize(("orientation", "width", "height"), [*((one, 400, 300) for one in range(1, 9)), (6, 2600, 3900)])
def test_every_orientation_stands_upright_in_every_format(children: Children, orientation: int, width: int, height: int):
    for format, picture in drawn(children, photo(orientation, width=width, height=height)).items():
        image = Image.open(io.BytesIO(picture))
        box = SIZES[format]
        scale = min(box[0] / width, box[1] / height, 1)
        assert abs(image.width - width * scale) <= 1
        assert abs(image.height - height * scale) <= 1
        assert alike(corners(picture), CORNERS), format
        assert image.format == "JPEG"
        assert not image.getexif()


def test_a_colour_profile_is_applied_and_left_out(children: Children):
    content = encoded(upright(), "JPEG", icc_profile=swapped_profile(), quality=95)
    picture = drawn(children, content)["small"]
    swapped = tuple((green, red, blue) for red, green, blue in CORNERS)
    assert alike(corners(picture), swapped, 24)
    assert "icc_profile" not in Image.open(io.BytesIO(picture)).info


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_a_colour_profile_is_applied_in_other_formats_too(children: Children, kind: str):
    content = encoded(upright(), kind, icc_profile=swapped_profile(), quality=95)
    swapped = tuple((green, red, blue) for red, green, blue in CORNERS)
    assert alike(corners(drawn(children, content, f"image/{kind.lower()}")["small"]), swapped, 24)


def test_a_broken_profile_is_as_none(children: Children):
    assert alike(corners(drawn(children, encoded(upright(), "JPEG", icc_profile=b"nonsense" * 40))["small"]), CORNERS)


@pytest.mark.parametrize(
    ("kind", "mime", "options"),
    [
        ("PNG", "image/png", {}),
        ("WEBP", "image/webp", {"quality": 95}),
        ("HEIF", "image/heic", {"quality": 95}),
        ("AVIF", "image/avif", {"quality": 95}),
        ("TIFF", "image/tiff", {"compression": "tiff_lzw"}),
        ("GIF", "image/gif", {"save_all": True, "append_images": [Image.new("RGB", (400, 300), "black")], "duration": 50}),
        ("BMP", "image/bmp", {}),
    ],
)
def test_every_common_format_gives_a_picture(children: Children, kind: str, mime: str, options: dict[str, object]):
    for picture in drawn(children, encoded(upright(), kind, **options), mime).values():
        assert alike(corners(picture), CORNERS, 24)


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "WEBP", "PNG", "TIFF"])
def test_formats_beside_jpeg_stand_upright_too(children: Children, kind: str, orientation: int):
    lying = Image.open(io.BytesIO(photo(orientation)))
    content = encoded(lying.copy(), kind, exif=lying.getexif().tobytes() if kind != "TIFF" else lying.getexif())
    assert alike(corners(drawn(children, content, f"image/{kind.lower()}")["small"]), CORNERS, 24)


def test_transparency_is_white_whatever_holds_it(children: Children):
    image = upright().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 200, 150))
    white = ((255, 255, 255), *CORNERS[1:])
    assert alike(corners(drawn(children, encoded(image, "PNG"), "image/png")["medium"]), white)
    assert alike(corners(drawn(children, encoded(image.quantize(32), "PNG"), "image/png")["tiny"]), white, 40)


def test_other_kinds_of_pixels_keep_their_colours(children: Children):
    assert alike(corners(drawn(children, encoded(upright().convert("CMYK"), "JPEG", quality=95))["small"]), CORNERS, 40)
    deep = Image.new("I;16", (40, 40), 32896)
    assert alike(corners(drawn(children, encoded(deep, "PNG"), "image/png")["tiny"]), ((128, 128, 128),) * 4)
    grey = upright().convert("L")
    seen = corners(drawn(children, encoded(grey, "JPEG"))["small"])
    assert alike(seen, corners(encoded(grey, "PNG")))


def test_the_first_page_of_a_pdf_is_its_picture(children: Children):
    picture = drawn(children, pdf(colour="0 0 1"), "application/pdf")["tiny"]
    image = Image.open(io.BytesIO(picture))
    assert image.size == (96, 48)
    assert alike((image.getpixel((90, 4)),), ((0, 0, 255),))  # type: ignore[arg-type]


def test_a_webp_that_moves_shows_its_first_picture(children: Children):
    moving = encoded(upright(), "WEBP", save_all=True, append_images=[Image.new("RGB", (400, 300), "black")], quality=95)
    assert alike(corners(drawn(children, moving, "image/webp")["small"]), CORNERS, 24)


def test_a_webp_is_white_where_it_is_transparent(children: Children):
    image = upright(4000, 3000).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 2000, 1500))
    picture = drawn(children, encoded(image, "WEBP", quality=90, method=0), "image/webp")["medium"]
    assert alike(corners(picture), ((255, 255, 255), *CORNERS[1:]), 24)


def test_a_small_picture_is_not_blown_up(children: Children):
    assert Image.open(io.BytesIO(drawn(children, photo(width=20, height=10))["large"])).size == (20, 10)


REFUSED = {
    "a bomb of pixels": (bomb(50_000, 50_000), "image/png", "too many pixels: 50000 x 50000"),
    "a hundred megapixels": (bomb(10_000, 10_000, colour=True), "image/png", "too many pixels: 10000 x 10000"),
    "a hundred thousand pixels wide": (bomb(100_000, 2), "image/png", "too many pixels: 100000 x 2"),
    "a truncated JPEG": (photo(width=2000, height=2000)[:-4000], "image/jpeg", "truncated"),
    "a truncated PNG": (encoded(upright(), "PNG")[:-300], "image/png", "truncated|broken|cannot be read"),
    "a truncated WebP": (encoded(upright(), "WEBP")[:-200], "image/webp", "truncated or broken"),
    "half a WebP's head": (encoded(upright(), "WEBP")[:20], "image/webp", "."),
    "text": (b"This is no picture", "image/jpeg", "no image that is known"),
    "nothing": (b"", "image/png", "no image that is known"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image/jpeg", "no image that is known"),
    "no PDF": (b"%PDF-1.7 and nothing more", "application/pdf", "PDF cannot be read"),
    "half a HEIC": (encoded(upright(), "HEIF")[:200], "image/heic", "."),
}


HOSTILE = hostile_pdfs()


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_not_be_decoded_is_refused_in_words(children: Children, name: str):
    content, mime, said = REFUSED[name]
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with pytest.raises(Invalid, match=said):
        drawn(children, content, mime)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 3
    assert drawn(children, photo(width=40, height=30))["tiny"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pdf_is_read_or_refused_in_words(children: Children, name: str):
    for function in ("workers.pictures:thumbnails", "workers.texts:text", "workers.describe:describe"):
        with descriptor(io.BytesIO(HOSTILE[name])) as source, memory_file() as target:
            pictured = function.endswith("thumbnails")
            arguments = {"mime": "application/pdf"} | ({"formats": ["tiny"]} if pictured else {})
            with suppress(Invalid):
                children.call(function, arguments, [source, target.fileno()] if pictured else [source], timeout=20)
    assert drawn(children, pdf(), "application/pdf")["tiny"]


def test_many_pixels_of_a_jpeg_are_reduced_while_they_are_read(children: Children):
    content = encoded(Image.new("RGB", (12_000, 9_000), "teal"), "JPEG", quality=30)
    assert Image.open(io.BytesIO(drawn(children, content)["large"])).size == (1440, 1080)


LARGE: dict[str, tuple[str, dict[str, object]]] = {
    "WEBP": ("image/webp", {"quality": 80, "method": 0}),
    "PNG": ("image/png", {"compress_level": 1}),
    "JPEG": ("image/jpeg", {"progressive": True, "subsampling": 0}),
    "AVIF": ("image/avif", {"speed": 10}),
    "GIF": ("image/gif", {}),
    "TIFF": ("image/tiff", {"compression": "tiff_lzw"}),
    "BMP": ("image/bmp", {}),
    "HEIF": ("image/heic", {"quality": 50}),
}


@pytest.mark.parametrize("kind", [kind if kind in ("WEBP", "PNG") else pytest.param(kind, marks=pytest.mark.soak) for kind in LARGE])
def test_24_megapixels_of_any_format_take_less_than_300_megabytes(kind: str):
    mime, options = LARGE[kind]
    image = upright(6000, 4000)
    content = encoded(image.convert("RGBA") if kind == "PNG" else image, kind, **options)
    children = Children()
    try:
        assert alike(corners(drawn(children, content, mime, timeout=120)["large"]), CORNERS, 24)
        assert children._idle is not None
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{children._idle._process.pid}/status").read_text())
        assert peak is not None
        assert int(peak[1]) * 1024 <= 300 << 20
    finally:
        children.close()


def test_a_child_that_wants_too_much_memory_fails_alone():
    children = Children(200 << 20)
    try:
        with pytest.raises(Invalid, match=r"too much memory|cannot be read|crash"):
            drawn(children, encoded(Image.new("RGB", (8_800, 8_800)), "PNG", compress_level=1), "image/png")
        assert drawn(children, photo())["tiny"]
    finally:
        children.close()


def test_a_child_that_hangs_is_killed_at_its_time():
    children = Children()
    began = time.monotonic()
    with pytest.raises(Invalid, match="longer than 1 seconds"):
        children.call("tests.support.hang:forever", {}, timeout=1)
    assert time.monotonic() - began < 10


def test_a_child_that_crashes_is_one_failed_call():
    children = Children()
    with pytest.raises(Invalid, match="crash"):
        children.call("tests.support.hang:crash", {}, timeout=20)
    assert drawn(children, photo())["tiny"]
    children.close()


def test_an_idle_child_ends():
    children = Children(idle=0.2)
    drawn(children, photo())
    child = children._idle
    assert child is not None
    eventually(lambda: child._process.poll() is not None)


def test_threads_have_children_of_their_own():
    children = Children()
    found: list[bool] = []

    def draw(orientation: int) -> None:
        found.append(alike(corners(drawn(children, photo(orientation))["tiny"]), CORNERS, 24))

    threads = [threading.Thread(target=draw, args=(number,)) for number in (1, 3, 6, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    children.close()
    assert found == [True] * 4


def test_a_content_on_the_disk_is_not_copied(tmp_path: Path):
    file = tmp_path / "content"
    file.write_bytes(b"x")
    with file.open("rb", buffering=0) as source, descriptor(source) as number:
        assert number == source.fileno()
    with descriptor(io.BytesIO(b"far away")) as number:
        assert os.pread(number, 99, 0) == b"far away"
