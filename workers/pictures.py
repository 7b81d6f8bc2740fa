"""Pictures of images and PDFs, small, upright and in sRGB; runs in a child process (docs/workers.md, section 3)."""

import io
import resource
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from cozyd.errors import Invalid
from workers import webp
from workers.stripes import of_heif, of_image, reduced

SIZES: Mapping[str, tuple[int, int]] = {"tiny": (96, 96), "small": (640, 480), "medium": (1280, 720), "large": (1920, 1080)}
QUALITY = 82
MOST_PIXELS = 80_000_000
MOST_OF_A_JPEG = 300_000_000
"""Of a JPEG fewer are decoded than it has."""
LONGEST_SIDE = 65_535
MEMORY = 416 << 20
"""Bytes that decoding may take. 24 megapixels of any format need less than 288 MiB, 48 of a HEIC some 380."""
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF", "ICO", "PSD", "PPM", "TGA", "JPEG2000")
SPARE, SPARE_OF_A_JPEG = 2, 1.5
"""How many times as many pixels, each way, an image has at least before it is resampled; libjpeg's own scaling loses less."""
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings each EXIF orientation upright; from 5 on width and height are swapped (EXIF 2.32, section 4.6.4)."""


def thumbnails(files: Sequence[BinaryIO], *, mime: str, formats: Sequence[str]) -> dict[str, int]:
    """Write a JPEG of each format; their sizes in bytes.

    :param files: the content, then one for each format.
    :raises Invalid: it is no picture, a broken one, or has too many pixels.
    """
    Image.MAX_IMAGE_PIXELS = None  # looked at below, with a clearer answer
    warnings.simplefilter("ignore")
    largest = max((SIZES[format] for format in formats), key=lambda size: size[0])
    with _confined():
        opened = _first_page(files[0], largest) if mime == "application/pdf" else _image(files[0], largest)
    found = {}
    for target, format in sorted(zip(files[1:], formats, strict=True), key=lambda pair: -SIZES[pair[1]][0]):
        opened.thumbnail(SIZES[format], Image.Resampling.LANCZOS, reducing_gap=None)
        made = io.BytesIO()
        opened.save(made, "JPEG", quality=QUALITY, optimize=True, progressive=True)
        target.write(made.getvalue())
        found[format] = made.tell()
    return found


@contextmanager
def _confined() -> Iterator[None]:
    """No more memory than a picture is worth; what needs more is refused as such."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _image(source: BinaryIO, box: tuple[int, int]) -> Image.Image:
    """An image, upright, in sRGB on white, not larger than needed for the box."""
    small, orientation = _webp(source, box) or _opened(source, box)
    return small.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else small


def _webp(source: BinaryIO, box: tuple[int, int]) -> tuple[Image.Image, int] | None:
    """A WebP as it lies, and its orientation; None: it is none, or one that moves."""
    head = source.read(12)
    source.seek(0)
    if not webp.is_webp(head):
        return None
    content = source.read()
    source.seek(0)
    size = webp.size_of(content)
    if size is None:
        return None
    exif = Image.Exif()
    with suppress(Exception):  # a broken EXIF block
        exif.load(webp.chunk(content, b"EXIF"))
    orientation = _known(exif)
    wanted = _fitting(size, box, orientation)
    image = webp.scaled(content, (min(size[0], wanted[0] * SPARE), min(size[1], wanted[1] * SPARE)))
    return reduced(of_image(image, webp.chunk(content, b"ICCP") or None), 1), orientation


def _opened(source: BinaryIO, box: tuple[int, int]) -> tuple[Image.Image, int]:
    """What Pillow decodes, as it lies, and its orientation."""
    from PIL import AvifImagePlugin
    from pillow_heif import options, register_heif_opener

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    options.DECODE_THREADS = 1
    register_heif_opener(thumbnails=False)
    try:
        image = Image.open(source, formats=_FORMATS)
    except UnidentifiedImageError as cause:
        raise Invalid("The content is no image that is known here") from cause
    _check_size(image)
    size = _fitting(image.size, box, orientation_of(image))
    image.draft("L" if image.mode == "L" else "RGB", (int(size[0] * SPARE_OF_A_JPEG), int(size[1] * SPARE_OF_A_JPEG)))
    profile = image.info.get("icc_profile")
    if image.format == "HEIF":
        source.seek(0)
        pixels, orientation = of_heif(source, profile), orientation_of(image)
    else:
        image.load()
        pixels, orientation = of_image(image, profile), orientation_of(image)  # a PNG may tell it behind its pixels
    size = _fitting((pixels.width, pixels.height), box, orientation)
    return reduced(pixels, max(1, pixels.width // (size[0] * SPARE))), orientation


def orientation_of(image: Image.Image) -> int:
    """How the camera was held, 1 to 8; 1 where the image says nothing, or nonsense."""
    try:
        return _known(image.getexif())
    except Exception:  # noqa: BLE001 - a broken EXIF block
        return 1


def _known(exif: Image.Exif) -> int:
    found = exif.get(_ORIENTATION, 1)
    return found if found in _UPRIGHT else 1


def _fitting(size: tuple[int, int], box: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size it gets, as it lies in the file, so that it fits the box when it stands upright."""
    width, height = box if orientation < 5 else (box[1], box[0])
    ratio = max(size[0] / width, size[1] / height, 1)
    return max(1, round(size[0] / ratio)), max(1, round(size[1] / ratio))


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    most = MOST_OF_A_JPEG if image.format == "JPEG" else MOST_PIXELS
    if not width or not height:
        raise Invalid("The image has no pixels")
    if width > LONGEST_SIDE or height > LONGEST_SIDE or width * height > most:
        raise Invalid(f"The image has too many pixels: {width} x {height}")


def _first_page(source: BinaryIO, box: tuple[int, int]) -> Image.Image:
    """The first page of a PDF, on white."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(source)
    except pypdfium2.PdfiumError as cause:
        raise Invalid(f"The PDF cannot be read: {cause}") from cause
    try:
        if not len(document):
            raise Invalid("The PDF has no page")
        page = document[0]
        width, height = page.get_size()
        if not (0 < width < 1e5 and 0 < height < 1e5):
            raise Invalid("The PDF has a page without a size")
        scale = min(box[0] / width, box[1] / height)
        drawn: Image.Image = page.render(scale=scale, may_draw_forms=False).to_pil()
        return drawn.convert("RGB")
    finally:
        document.close()
