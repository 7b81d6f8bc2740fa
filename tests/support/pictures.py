"""Pictures for tests: whose corners tell how they lie, and those that nobody should decode."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageCms

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 170, 40), (30, 60, 200), (230, 210, 40)
CORNERS = (RED, GREEN, BLUE, YELLOW)
"""Top left, top right, bottom left, bottom right."""
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera that is held like this lays an upright picture down."""


def upright(width: int = 400, height: int = 300) -> Image.Image:
    """A picture with one colour in each quarter."""
    image = Image.new("RGB", (width, height))
    for at, colour in enumerate(CORNERS):
        image.paste(colour, (at % 2 * width // 2, at // 2 * height // 2, (at % 2 + 1) * width // 2, (at // 2 + 1) * height // 2))
    return image


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """As a file of a kind."""
    from pillow_heif import register_heif_opener

    register_heif_opener()
    made = io.BytesIO()
    image.save(made, kind, **options)
    return made.getvalue()


def photo(orientation: int = 1, *, width: int = 400, height: int = 300, **options: Any) -> bytes:
    """A JPEG of a camera held in one of EXIF's eight ways; upright it is `upright(width, height)`."""
    image = upright(width, height)
    if orientation in TURNED:
        image = image.transpose(TURNED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif, quality=90, **options)


def corners(picture: bytes) -> tuple[tuple[int, int, int], ...]:
    """The colours a quarter of the way in from each corner."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    width, height = image.size
    found = []
    for at in range(4):
        pixel = image.getpixel((width * (1 + at % 2 * 2) // 4, height * (1 + at // 2 * 2) // 4))
        assert isinstance(pixel, tuple)
        found.append((int(pixel[0]), int(pixel[1]), int(pixel[2])))
    return tuple(found)


def alike(one: tuple[tuple[int, int, int], ...], other: tuple[tuple[int, int, int], ...], within: int = 16) -> bool:
    """Whether colours are the same but for what JPEG does to them."""
    return all(abs(a - b) <= within for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True))


def swapped_profile() -> bytes:
    """sRGB with the places of red and green exchanged: who ignores it shows other colours."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * struct.unpack_from(">I", profile, 128)[0], 12)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = profile[green + 4 : green + 12], profile[red + 4 : red + 12]
    return bytes(profile)


def bomb(width: int, height: int, *, colour: bool = False) -> bytes:
    """A PNG of a few kilobytes with as many pixels as wanted.

    :param colour: 24 bits a pixel, else one.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels, row = zlib.compressobj(1), bytes(1 + (3 * width if colour else (width + 7) // 8))
    rows = b"".join(pixels.compress(row) for _ in range(min(height, 500))) + pixels.flush()
    head = struct.pack(">IIBBBBB", width, height, *((8, 2) if colour else (1, 0)), 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def pdf(words: str = "Hello", *, colour: str = "0 0 1") -> bytes:
    """A PDF of one page: a sheet in one colour, with words on it."""
    drawn = f"{colour} rg 0 0 200 100 re f 0 g BT /F1 18 Tf 10 40 Td ({words}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(drawn), drawn),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Title(A title)/Author(Zoe)>>",
    ]
    made, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj%b endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(made)
    return made + b"xref\n0 7\n0000000000 65535 f \n%btrailer<</Size 7/Root 1 0 R/Info 6 0 R>>\nstartxref\n%d\n%%%%EOF" % (table, start)


def sheets(*widths: int) -> bytes:
    """A PDF whose pages have these widths."""
    from pypdfium2 import PdfDocument

    made, target = PdfDocument.new(), io.BytesIO()
    for width in widths:
        made.new_page(width, 100)
    made.save(target)
    return target.getvalue()


def hostile_pdfs() -> dict[str, bytes]:
    """PDFs that lead a careless reader round in circles, or into memory that nobody has."""

    def made(page: bytes, stream: bytes = b"", kids: bytes = b"3 0 R") -> bytes:
        head = b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[" + kids + b"]/Count 1>>"
        bodies = [*head, b"<</Type/Page/Parent 2 0 R/Contents 4 0 R" + page + b">>", stream or b"<</Length 0>>stream\n\nendstream"]
        content = b"%PDF-1.4\n"
        places = []
        for number, body in enumerate(bodies, 1):
            places.append(len(content))
            content += b"%d 0 obj%b endobj\n" % (number, body)
        start = len(content)
        table = b"".join(b"%010d 00000 n \n" % place for place in places)
        return content + b"xref\n0 5\n0000000000 65535 f \n%btrailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (table, start)

    zeros = zlib.compressobj(9)
    packed = b"".join(zeros.compress(b"0 0 m " * 200_000) for _ in range(300)) + zeros.flush()
    box = b"/MediaBox[0 0 200 100]"
    return {
        "a tree that is its own branch": made(box, kids=b"2 0 R 2 0 R"),
        "a page of a thousand kilometres": made(b"/MediaBox[0 0 99999999999 99999999999]"),
        "a page without a size": made(b"/MediaBox[0 0 0 0]"),
        "300 megabytes of drawing": made(box, b"<</Filter/FlateDecode/Length %d>>stream\n%b\nendstream" % (len(packed), packed)),
        "brackets within brackets": made(box + b"/X" + b"[" * 100_000 + b"]" * 100_000),
        "a form that shows itself": made(
            box + b"/Resources<</XObject<</F 4 0 R>>>>",
            b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F 4 0 R>>>>/Length 5>>stream\n/F Do\nendstream",
        ),
        "a table that leads to itself": pdf()[:-30] + b"<</Size 7/Root 1 0 R/Prev 9>>\nstartxref\n9\n%%EOF",
        "half of one": pdf()[: len(pdf()) // 2],
    }
