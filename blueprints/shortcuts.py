"""`/shortcuts`, and `/contacts/myself` (docs/http/shortcuts.md)."""

from typing import Any
from urllib.parse import urlsplit

from flask import Response, request

from blueprints import _files, _files_json, _jsonapi
from blueprints._answers import redirect
from blueprints._request import Service, allow, asks, body, instance, principal
from cozyd import seeds
from cozyd.documents.store import Query, Stored
from cozyd.errors import BadRequest, Conflict, Invalid, NotFound
from cozyd.files import File
from cozyd.files.tree import check_name
from cozyd.permissions import ROOT_DIR

service = Service("shortcuts", __name__)

MIME, CLASS, ENDING = "application/internet-shortcut", "shortcut", ".url"
LARGEST = 1 << 16
CONTACTS = "io.cozy.contacts"


@service.post("/shortcuts", access=asks("POST"))
def create() -> Response:
    """A file that leads somewhere."""
    given, _ = _jsonapi.attributes_of(body())
    name, url = (str(given.get(key) or "") for key in ("name", "url"))
    if not name:
        raise Invalid("A shortcut needs a name", source="/data/attributes/name")
    if not _is_web(url):
        raise Invalid("A shortcut leads to an http or https address", source="/data/attributes/url")
    name = check_name(name if name.endswith(ENDING) else name + ENDING)
    home = _files.files().dir(str(given.get("dir_id") or ROOT_DIR))
    metadata = given.get("metadata")
    fields: dict[str, Any] = {"mime": MIME, "class": CLASS} | ({"metadata": metadata} if isinstance(metadata, dict) else {})
    _files.allow_new("POST", home, {"name": name, "type": "file", **fields})
    content = f"[InternetShortcut]\r\nURL={url}\r\n".encode()
    with _files.files().new(size=len(content)) as new:
        new.write(content)
        made = _files.files().put(home, name, new.seal(), fields=fields, author=_files.author())
    return _files_json.file(_files.files(), made, status=201)


@service.get("/shortcuts/<id>", access=asks("GET"))
def show(id: str) -> Response:
    """Where a shortcut leads: for programs as JSON, for browsers as a redirect."""
    file = _files.allowed_file("GET", id)
    if file.stored.doc.get("class") != CLASS or file.blob.size > LARGEST:
        raise BadRequest("This file is not a shortcut")
    with _files.files().read(file) as content:
        url = _url_of(content.read(LARGEST))
    file = _seen(file)
    if "json" not in request.headers.get("Accept", ""):
        return redirect(url, 303)
    shown = {"name": file.name, "dir_id": file.parent, "url": url, "metadata": file.stored.doc.get("metadata") or {}}
    return _jsonapi.answer(_jsonapi.resource("io.cozy.files.shortcuts", file.id, shown, rev=file.rev, links={"self": f"/shortcuts/{id}"}))


@service.post("/contacts/myself", access=asks("GET"))
def myself() -> Response:
    """Her own card, made again when it is gone."""
    found = _own_card()
    if found is None:
        allow("GET", CONTACTS, {"_id": "", "me": True})
        here = instance()
        seeds.own_contact(here, {"email": here.email(), "public_name": here.public_name()})
        found = _own_card()
    if found is None:
        raise NotFound
    allow("GET", CONTACTS, found)
    shown = {name: value for name, value in found.doc.items() if name not in ("_id", "_rev")}
    links = {"self": f"/data/{CONTACTS}/{found.ref.id}"}
    return _jsonapi.answer(_jsonapi.resource(CONTACTS, found.ref.id, shown, rev=found.rev, links=links))


# -- inside -------------------------------------------------------------------------------------------------------------


def _seen(file: File) -> File:
    """The file, which says from now on that she has looked at what is shared with her."""
    metadata = file.stored.doc.get("metadata") or {}
    sharing = metadata.get("sharing")
    if not isinstance(sharing, dict) or sharing.get("status") == "seen" or principal().kind == "link":
        return file
    try:
        changed = _files.files().patch(file, metadata={**metadata, "sharing": {**sharing, "status": "seen"}})
    except Conflict:
        return file  # somebody changes it at this moment: the next look will do
    return changed if isinstance(changed, File) else file


def _own_card() -> Stored | None:
    try:
        rows = instance().docs.find(CONTACTS, Query({"me": True}, limit=1)).rows
    except NotFound:
        return None
    return rows[0] if rows else None


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and url.isprintable() and " " not in url


def _url_of(content: bytes) -> str:
    """The address in a file of Windows' format.

    :raises BadRequest: it has none that a browser should follow.
    """
    for line in content.decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip().upper() == "URL" and _is_web(value.strip()):
            return value.strip()
    raise BadRequest("This file is not a shortcut")
