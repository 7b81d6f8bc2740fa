"""`/files`: folders and files: read, make, upload, change, trash (docs/http/files.md)."""

from typing import Any

from flask import Response, request

from blueprints import _files_json, _jsonapi, _patches, _uploads
from blueprints._files import (
    NO_PARENT,
    allow_new,
    allowed,
    allowed_at,
    allowed_file,
    as_dir,
    author,
    check_rev,
    check_scan,
    deepest,
    files,
    home_of,
    page,
    shown,
)
from blueprints._request import Service, allow, asks, body, flag, instance, rule
from cozyd import jsons
from cozyd.errors import BadRequest, Conflict, CozyError, Forbidden, Invalid, NotFound
from cozyd.files import Dir
from cozyd.files.lookup import IN_TRASH
from cozyd.files.seeds import copy_word
from cozyd.files.tree import TRASH_DIR, check_name, copy_name, split_path
from cozyd.permissions import FILES, ROOT_DIR

service = Service("files", __name__, url_prefix="/files")


# -- reading ------------------------------------------------------------------------------------------------------------


@service.get("/<id>", access=asks("GET"))
def read(id: str) -> Response:
    """A folder with its children, or a file with its versions; HEAD says whether it is there."""
    node = allowed("GET", files().get(id))
    if request.method == "HEAD":
        there = Response(status=200)
        del there.headers["Content-Type"]
        return there
    return _whole(node)


@service.get("/metadata", access=asks("GET"))
def read_by_path() -> Response:
    """As `read`, by path."""
    return _whole(allowed_at("GET", request.args.get("Path", "")))


def _whole(node: Any) -> Response:
    if isinstance(node, Dir):
        return shown(node)
    return _files_json.file(files(), node, versions=files().versions.of_file(node))


@service.get("/<id>/relationships/contents", access=asks("GET"))
def contents(id: str) -> Response:
    """A page of a folder's children."""
    dir = allowed("GET", files().get(id))
    if not isinstance(dir, Dir):
        raise BadRequest(f"cant read children of file {id}")
    return _files_json.contents(files(), dir, page(), f"/files/{id}/relationships/contents")


@service.get("/<id>/size", access=asks("GET"))
def size(id: str) -> Response:
    """Bytes of all files below a folder."""
    dir = as_dir(allowed("GET", files().dir(id)))
    return _jsonapi.answer(_jsonapi.resource("io.cozy.files.sizes", id, {"size": str(files().size(dir))}))


# -- making -------------------------------------------------------------------------------------------------------------


@service.post("/", access=asks("POST"))
@service.post("/<id>", access=asks("POST"))
def create(id: str = ROOT_DIR) -> Response:
    """Make a folder, or upload a file into one."""
    kind = request.args.get("Type", "")
    if kind == "directory":
        return _make_dir(id)
    if kind == "file":
        return _upload(id)
    raise Invalid("Invalid document type", source="/data/attributes/type")


def _make_dir(id: str) -> Response:
    fields = _uploads.dir_fields()
    path = request.args.get("Path")
    if path and flag("Recursive"):
        _allow_path(path)
        made = files().mkdir_all(path, fields=fields, author=author())
        return _jsonapi.answer(_files_json.short(files(), made.stored), status=201)
    if path:
        names = split_path(path)
        if not names:
            raise NotFound(NO_PARENT)
        home, name = _home_at("/" + "/".join(names[:-1])), names[-1]
    else:
        home, name = as_dir(files().get(id)), request.args.get("Name", "")
    allow_new("POST", home, {"name": check_name(name), "type": "directory", **fields})
    made = files().mkdir(home, name, fields=fields, author=author())
    return _jsonapi.answer(_files_json.short(files(), made.stored), status=201)


def _allow_path(path: str) -> None:
    """A path that is made needs the right in the deepest folder that is there."""
    split_path(path)
    allow_new("POST", as_dir(deepest(path)), {"type": "directory"})


def _home_at(path: str) -> Dir:
    """The folder at a path; that there is none is told those who could make it.

    :raises NotFound: there is none, or it is a file.
    """
    try:
        return as_dir(files().at(path))
    except NotFound:
        _allow_path(path)
        raise


def _upload(id: str) -> Response:
    name = check_name(request.args.get("Name", ""))
    fields = _uploads.file_fields(name)
    home = home_of(id)
    allow_new("POST", home, {"name": name, "type": "file", **fields})
    if home.trashed:
        raise NotFound(IN_TRASH)
    if not _uploads.is_small() and files().find(home, name) is not None:  # of a small one the commit says it as soon
        raise Conflict("file already exists")
    return _files_json.file(files(), _uploads.received(home, name, fields), status=201)


@service.put("/<id>", access=asks("PUT"))
def overwrite(id: str) -> Response:
    """Give a file its next content; mime, tags and flags come from this request too."""
    old = allowed_file("PUT", id)
    exact = check_rev(old)
    fields = _uploads.file_fields(old.name)
    new = {key: value for key, value in old.stored.doc.items() if key not in ("tags", "metadata")} | fields
    allow("PUT", FILES, new, above=files().above(old))
    home = files().dir(old.parent)
    file = _uploads.received(home, old.name, fields, replaces=old, exact=exact)
    return _files_json.file(files(), file, versions=files().versions.of(id))


@service.post("/upload/metadata", access=rule("POST", FILES))
def upload_metadata() -> Response:
    """Keep metadata for an upload of the next ten minutes."""
    metadata = _patches.attributes_of(_patches.data_of(body()))
    metadata = _uploads.without_certified(metadata)
    secret = files().links.make("metadata", jsons.dump(metadata))
    return _jsonapi.answer(_jsonapi.resource("io.cozy.files.metadata", secret, metadata), status=201)


@service.post("/<id>/copy", access=asks("POST"))
def copy(id: str) -> Response:
    """Copy a file, beside itself or into another folder."""
    source = allowed_file("GET", id)
    home = files().dir(request.args.get("DirID") or source.parent)
    wanted = request.args.get("Name") or copy_name(source.name, copy_word(str(instance().doc.get("locale", ""))))
    fields = {key: value for key, value in source.stored.doc.items() if key in ("type", "mime", "class", "tags")}
    allow_new("POST", home, fields | {"name": check_name(wanted)})
    made = files().copy(source, home, files().free_name(home, wanted), author=author())
    return _files_json.file(files(), made, status=201, empty=[])


@service.post("/shared-drives", access=rule("POST", FILES))
def shared_drives() -> Response:
    """The folder that shared drives lie in."""
    return _jsonapi.answer(_files_json.short(files(), files().shared_drives().stored))


# -- changing -----------------------------------------------------------------------------------------------------------


@service.patch("/<id>", access=asks("PATCH"))
def patch(id: str) -> Response:
    """Rename, move, tag, or change other attributes."""
    data = _patches.data_of(body())
    node = allowed("PATCH", files().get(id))
    check_rev(node)
    return shown(_patches.apply(node, data))


@service.patch("/metadata", access=asks("PATCH"))
def patch_by_path() -> Response:
    """As `patch`, by path."""
    data = _patches.data_of(body())
    node = allowed_at("PATCH", request.args.get("Path", ""))
    check_rev(node)
    return shown(_patches.apply(node, data))


@service.patch("/", access=asks("PATCH"))
def patch_many() -> Response:
    """Several patches, one after the other; those that fail do not undo the others, a missing right ends the list."""
    data = body().get("data")
    if not isinstance(data, list) or not all(
        isinstance(one, dict) and isinstance(one.get("id"), str) and isinstance(one.get("attributes"), dict) for one in data
    ):
        raise BadRequest(_patches.MALFORMED, source="/data")
    failed: list[_jsonapi.Resource] = []
    for one in data:
        try:
            _patches.apply(allowed("PATCH", files().get(one["id"])), one)
        except Forbidden:
            raise
        except CozyError as error:
            failed.append(_jsonapi.error_object(error) | {"source": {"parameter": "_id", "pointer": one["id"]}})
    if not failed:
        return Response(status=204)
    return Response(jsons.dump({"errors": failed}), int(failed[0]["status"]), content_type=_jsonapi.MEDIA_TYPE)


# -- trash --------------------------------------------------------------------------------------------------------------


@service.delete("/<id>", access=asks("PATCH"))
def trash(id: str) -> Response:
    """Put it in the trash."""
    node = allowed("PATCH", files().get(id))
    check_scan(node, "delete")
    check_rev(node)
    return shown(files().trash(node, by=_patches.trashed_by(), author=author()), empty=[])


@service.get("/trash", access=asks("GET"))
def trash_list() -> Response:
    """What is in the trash."""
    bin = as_dir(allowed("GET", files().get(TRASH_DIR)))
    return _files_json.contents(files(), bin, page(), "/files/trash")


@service.post("/trash/<id>", access=asks("PATCH"))
def restore(id: str) -> Response:
    """Take it out of the trash."""
    return shown(files().restore(allowed("PATCH", files().get(id)), author=author()), empty=[])


@service.delete("/trash/<id>", access=asks("DELETE"))
def destroy(id: str) -> Response:
    """Remove it for good."""
    node = allowed("DELETE", files().get(id))
    check_scan(node, "delete")
    check_rev(node)
    files().erase(node)
    return Response(status=204)


@service.delete("/trash", access=asks("DELETE"))
def empty_trash() -> Response:
    """Remove for good all that is in the trash."""
    allowed("DELETE", files().get(TRASH_DIR))
    files().clear_trash()
    return Response(status=204)
