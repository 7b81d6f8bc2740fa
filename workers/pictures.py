"""Pictures of images and PDFs, small, upright and in sRGB; runs in a child process (docs/workers.md, section 3)."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from PIL import Image, ImageCms, UnidentifiedImageError

from cozyd.errors import Invalid

SIZES: Mapping[str, tuple[int, int]] = {"tiny": (96, 96), "small": (640, 480), "medium": (1280, 720), "large": (1920, 1080)}
QUALITY = 82
MOST_PIXELS = 100_000_000
MOST_OF_A_JPEG = 300_000_000
"""Of a JPEG fewer are decoded than it has."""
LONGEST_SIDE = 65_535
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF", "ICO", "PSD", "PPM", "TGA", "JPEG2000")
SPARE = 2
"""How many pixels more, each way, an image has before it is resampled."""
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
    opened = _first_page(files[0], largest) if mime == "application/pdf" else _image(files[0], largest)
    found = {}
    for target, format in sorted(zip(files[1:], formats, strict=True), key=lambda pair: -SIZES[pair[1]][0]):
        opened.thumbnail(SIZES[format], Image.Resampling.LANCZOS, reducing_gap=None)
        made = io.BytesIO()
        opened.save(made, "JPEG", quality=QUALITY, optimize=True, progressive=True)
        target.write(made.getvalue())
        found[format] = made.tell()
    return found


def _image(source: BinaryIO, box: tuple[int, int]) -> Image.Image:
    """An image, upright, in sRGB on white, not larger than twice the box."""
    from pillow_heif import options, register_heif_opener

    options.DECODE_THREADS = 1
    register_heif_opener(thumbnails=False)
    try:
        image = Image.open(source, formats=_FORMATS)
    except UnidentifiedImageError as cause:
        raise Invalid("The content is no image that is known here") from cause
    _check_size(image)
    size = _fitting(image, box, orientation_of(image))
    image.draft("L" if image.mode == "L" else "RGB", (size[0] * SPARE, size[1] * SPARE))
    profile = image.info.get("icc_profile")
    image.load()
    orientation = orientation_of(image)  # a PNG may tell it behind its pixels
    small = _as_rgb(_reduced(image, _fitting(image, box, orientation)), profile)
    return small.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else small


def orientation_of(image: Image.Image) -> int:
    """How the camera was held, 1 to 8; 1 where the image says nothing, or nonsense."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - a broken EXIF block
        return 1
    return found if found in _UPRIGHT else 1


def _fitting(image: Image.Image, box: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size it gets, as it lies in the file, so that it fits the box when it stands upright."""
    width, height = box if orientation < 5 else (box[1], box[0])
    ratio = max(image.width / width, image.height / height, 1)
    return max(1, round(image.width / ratio)), max(1, round(image.height / ratio))


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    most = MOST_OF_A_JPEG if image.format == "JPEG" else MOST_PIXELS
    if not width or not height:
        raise Invalid("The image has no pixels")
    if width > LONGEST_SIDE or height > LONGEST_SIDE or width * height > most:
        raise Invalid(f"The image has too many pixels: {width} x {height}")


def _reduced(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A whole division of the image, not below twice the size: what follows has less to do. Indices of palettes have no means."""
    factor = image.width // (size[0] * SPARE)
    return image.reduce(factor) if factor > 1 and image.mode in ("L", "RGB", "RGBA", "CMYK") else image


def _as_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """8 bits of sRGB, transparency on white."""
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.mode in ("P", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
    if profile:
        image = _in_srgb(image, profile)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or more; Pillow would cut it off at 255."""
    return image.convert("F").point(lambda value: value * (1 / 257) + 0).convert("L")


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An image with its colour profile applied; one that is broken or of another kind is as if it were not there."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        made = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return made or image


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
