"""`/files/download`, `/files/downloads`, `/files/archive` and thumbnails: contents leave (docs/http/files.md)."""

import hashlib
import io
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from flask import Response, request

from blueprints import _download, _files_json, _jsonapi, _patches
from blueprints._files import allowed, allowed_at, allowed_file, as_file, check_scan, files
from blueprints._request import Service, asks, body, flag, instance, public
from cozyd import jsons
from cozyd.errors import BadRequest, CozyError, Invalid, NotFound, TooLarge
from cozyd.files import File, Node, pdf
from cozyd.files.archive import Archive, entries
from cozyd.files.thumbnails import PICTURED
from cozyd.files.tree import numbered_name
from cozyd.jobs.job import NewJob

service = Service("downloads", __name__, url_prefix="/files")

MOST_PAGES, LARGEST_PAGES = 100, 64 << 20
"""Of an archive: how many pages of PDFs, and how many bytes they may have together."""
SIZES = {"tiny": (96, 96), "small": (640, 480), "medium": (1280, 720), "large": (1920, 1080)}


@service.get("/download/<id>", access=asks("GET"))
def download(id: str) -> Response:
    """A file's content."""
    file = allowed_file("GET", id)
    check_scan(file, "download")
    return _sent(_download.of_file(files(), file))


@service.get("/download", access=asks("GET"))
def download_by_path() -> Response:
    """A file's content, by path; judged as it is by id, which the reference does not."""
    file = as_file(allowed_at("GET", request.args.get("Path", "")))
    check_scan(file, "download")
    return _sent(_download.of_file(files(), file), _download.NO_FORMS)


@service.get("/download/<id>/<version>", access=asks("GET"))
def download_version(id: str, version: str) -> Response:
    """An earlier content of a file."""
    file = allowed_file("GET", id)
    check_scan(file, "download")
    return _sent(_download.of_version(files(), file, files().versions.get(id, version), file.name))


def _sent(content: _download.Download, *policy: str) -> Response:
    page = request.args.get("Page")
    if page:
        content = _page(content, page)
    return _download.send(content, attachment=flag("Dl"), policy=policy)


def _page(content: _download.Download, text: str) -> _download.Download:
    """One page of a PDF.

    :raises Invalid: it has none of this number.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise Invalid("Page must be a number", source="Page")
    if content.mime != pdf.MIME:
        raise Invalid("Only a PDF has pages", source="Page")
    number = int(text)
    with content.open(0, content.size) as source:
        data = pdf.page(source, number)
    return replace(
        content,
        name=numbered_name(content.name, number),
        size=len(data),
        etag=f"{content.etag}-{number}",
        open=lambda start, stop: io.BytesIO(data[start:stop]),
    )


# -- secret links -------------------------------------------------------------------------------------------------------


@service.post("/downloads", access=asks("GET"))
def make_link() -> Response:
    """A link to a file or version that needs no token for ten minutes."""
    version = ""
    if request.args.get("Path"):
        file = as_file(allowed_at("GET", request.args["Path"]))
    elif request.args.get("Id"):
        file = allowed_file("GET", request.args["Id"])
    elif request.args.get("VersionId"):
        id, _, version = request.args["VersionId"].partition("/")
        file = allowed_file("GET", id)
        files().versions.get(id, version)
    else:
        raise BadRequest("Path, Id or VersionId is needed")
    check_scan(file, "share")
    links = files().links
    secret = f"v-{links.make('version', f'{file.id}/{version}'.encode())}" if version else links.make("file", files().path(file).encode())
    name = request.args.get("Filename") or file.name
    return _files_json.file(files(), file, links={"related": f"/files/downloads/{secret}/{quote(name, safe='')}"})


@service.get("/downloads/<secret>/<path:name>", access=public)
def download_by_link(secret: str, name: str) -> Response:
    """A content, by its secret."""
    links = files().links
    if secret.startswith("v-"):
        id, _, internal = links.find("version", secret.removeprefix("v-")).decode().partition("/")
        file = files().file(id)
        content = _download.of_version(files(), file, files().versions.get(id, internal), name)
    else:
        file = as_file(files().at(links.find("file", secret).decode()))
        content = _download.of_file(files(), file)
    check_scan(file, "download")
    framed = () if flag("Dl") else _download.framed(file.mime)
    return _sent(content, _download.NO_FORMS, *framed)


# -- archives -----------------------------------------------------------------------------------------------------------


@service.post("/archive", access=asks("GET"))
def make_archive() -> Response:
    """A zip of a selection: a link to it, or with `Accept: application/zip` the zip itself."""
    given = _patches.data_of(body()).get("attributes")
    wanted = _selection(given if isinstance(given, dict) else {})
    if not (wanted["ids"] or wanted["files"] or wanted["pages"]):
        return _bare("Can't create an archive with no files")
    if _climbs(wanted["name"]):
        return _bare("The archive filename can't contain a /")
    for path in wanted["files"] or ():
        allowed_at("GET", path)
    for node in [*_nodes(wanted), *(file for file, _ in _pages(wanted))]:
        allowed("GET", node)
        check_scan(node, "download")
    if request.headers.get("Accept") == "application/zip":
        return _zip(wanted)
    secret = files().links.make("archive", jsons.dump(wanted))
    found = _jsonapi.resource("io.cozy.files.archives", secret, wanted, links={"self": f"/files/archive/{secret}"})
    return _jsonapi.answer(found, links={"related": f"/files/archive/{secret}/{quote(wanted['name'], safe='')}.zip"})


@service.get("/archive/<secret>/<name>", access=public)
def archive(secret: str, name: str) -> Response:  # noqa: ARG001
    """A zip, by its secret; of the selection as it is now."""
    wanted = jsons.load_object(files().links.find("archive", secret))
    return _zip(wanted)


def _selection(attributes: dict[str, Any]) -> dict[str, Any]:
    """`name`, `ids`, `files`, `pages` as they are kept.

    :raises Invalid: one of the wrong type, or too many pages.
    """
    name = attributes.get("name") or "archive"
    if not isinstance(name, str):
        raise Invalid("name must be a text", source="/data/attributes/name")
    found: dict[str, Any] = {"name": name}
    for key in ("ids", "files"):
        values = attributes.get(key)
        if values is not None and not (isinstance(values, list) and all(isinstance(one, str) for one in values)):
            raise Invalid(f"{key} must be an array of texts", source=f"/data/attributes/{key}")
        found[key] = values
    pages = attributes.get("pages")
    if pages is not None and not (isinstance(pages, list) and len(pages) <= MOST_PAGES and all(_is_page(one) for one in pages)):
        raise Invalid(f"pages must be an array of at most {MOST_PAGES} ids with a page", source="/data/attributes/pages")
    return found | {"pages": pages}


def _is_page(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("id"), str) and type(one.get("page")) is int


def _climbs(name: str) -> bool:
    return name in (".", "..") or any(char in "/\\\0\r\n" for char in name)


def _nodes(wanted: dict[str, Any]) -> Sequence[Node]:
    return [*(files().get(id) for id in wanted["ids"] or ()), *(files().at(path) for path in wanted["files"] or ())]


def _pages(wanted: dict[str, Any]) -> Sequence[tuple[File, int]]:
    return [(files().file(one["id"]), one["page"]) for one in wanted["pages"] or ()]


def _zip(wanted: dict[str, Any]) -> Response:
    name = wanted["name"]
    pages = [(file, number, pdf.page(files().read(file), number)) for file, number in _pages(wanted)]
    if sum(len(data) for _, _, data in pages) > LARGEST_PAGES:
        raise TooLarge("The pages are too large for an archive")
    made = Archive(entries(files(), name, _nodes(wanted), pages), files().open)

    def open(start: int, stop: int) -> BinaryIO:
        made.cut(start, stop)
        return cast(BinaryIO, made)

    content = _download.Download(f"{name}.zip", "application/zip", made.size, made.etag, datetime.now(UTC), open)
    return _download.send(content, attachment=True)


def _bare(text: str) -> Response:
    """An error as the reference answers it here: a JSON string."""
    return Response(jsons.dump(text), 400, content_type="application/json")


# -- thumbnails ---------------------------------------------------------------------------------------------------------


@service.get("/<id>/thumbnails/<secret>/<format>", access=public)
def thumbnail(id: str, secret: str, format: str) -> Response:
    """A thumbnail; while there is none, or where the content gives none, a placeholder with the status 404."""
    files().links.check_thumbnail(id, secret)
    file = files().file(id)
    check_scan(file, "preview")
    if format not in SIZES:
        raise NotFound("Format does not exist", error="no_route")
    picture = files().thumbnails.find(file, format)
    if picture:
        answer = Response(picture, content_type="image/jpeg", headers={"ETag": f'"{file.blob.key.rpartition("/")[2]}-{format}"'})
        return cast(Response, answer.make_conditional(request))
    if picture is None and file.stored.doc.get("class") in PICTURED:
        _order(file, format)
    etag = f"placeholder-{format}"
    if etag in request.if_none_match:
        return Response(status=304, headers={"ETag": f'"{etag}"'})
    return Response(_placeholder(*SIZES[format]), 404, content_type="image/png", headers={"ETag": f'"{etag}"'})


def _order(file: File, format: str) -> None:
    """Have a thumbnail made that is missing; asked for again within the hour, the job is there already."""
    asked = f"{file.blob.key} {format} {instance().now():%Y%m%d%H}"
    id = hashlib.sha256(asked.encode()).hexdigest()[:32]
    with suppress(CozyError):
        instance().jobs.push_new(NewJob("thumbnail", {"file": file.id, "format": format}), id=id)


@cache
def _placeholder(width: int, height: int) -> bytes:
    """A light grey PNG (PNG, third edition: one bit a pixel, of a palette of one colour)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"PLTE", b"\xe8\xea\xed"), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
