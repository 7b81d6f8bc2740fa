"""`/files`: the virtual file system over HTTP (docs/http/files.md)."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO

from flask import Response, request

from blueprints import _download, _files_json, _jsonapi
from blueprints._request import Service, allow, asks, body, flag, instance, number, principal
from cozyd.errors import BadRequest, Conflict, Invalid, NotFound, PreconditionFailed
from cozyd.files import Dir, File, Node
from cozyd.files.tree import TRASH_DIR, check_name, class_of, guess_mime, write_time
from cozyd.permissions import FILES, ROOT_DIR, Action

service = Service("files", __name__, url_prefix="/files")

_PATCHABLE = ("name", "dir_id", "tags", "updated_at", "executable", "encrypted", "metadata", "class")


@service.get("/<id>", access=asks("GET"))
def read(id: str) -> Response:
    """A folder with its children, or a file; HEAD says whether it is there."""
    node = _allowed("GET", instance().files.get(id))
    if request.method == "HEAD":
        there = Response(status=200)
        del there.headers["Content-Type"]
        return there
    return _shown(node)


@service.get("/metadata", access=asks("GET"))
def read_by_path() -> Response:
    """As `read`, by path."""
    return _shown(_allowed("GET", instance().files.at(request.args.get("Path", ""))))


@service.get("/<id>/relationships/contents", access=asks("GET"))
def contents(id: str) -> Response:
    """A page of a folder's children."""
    dir = _allowed("GET", instance().files.get(id))
    if not isinstance(dir, Dir):
        raise BadRequest("It is a file")
    return _files_json.contents(instance().files, dir, _page())


@service.get("/<id>/size", access=asks("GET"))
def size(id: str) -> Response:
    """Bytes of all files below a folder."""
    dir = _allowed("GET", instance().files.dir(id))
    found = _jsonapi.resource("io.cozy.files.sizes", id, {"size": str(instance().files.size(_as_dir(dir)))})
    return _jsonapi.answer(found)


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


@service.put("/<id>", access=asks("PUT"))
def overwrite(id: str) -> Response:
    """Give a file its next content; mime, tags and flags come from this request too."""
    files = instance().files
    old = _allowed("PUT", files.get(id))
    if not isinstance(old, File):
        raise NotFound("file does not exist")
    _check_rev(old)
    fields = _upload_fields(old.name)
    metadata = dict(old.stored.doc.get("cozyMetadata") or {})
    fields["cozyMetadata"] = metadata | _changed_metadata() | {"uploadedAt": _now(), "uploadedOn": instance().url()}
    allow("PUT", FILES, dict(old.stored.doc) | fields, above=files.above(old))
    return _files_json.file(_received(_as_dir(files.dir(old.parent)), old.name, fields, replaces=old))


@service.post("/<id>/copy", access=asks("POST"))
def copy(id: str) -> Response:
    """Copy a file, beside itself or into another folder."""
    files = instance().files
    source = _allowed("GET", files.get(id))
    if not isinstance(source, File):
        raise NotFound("file does not exist")
    home = files.dir(request.args.get("DirID") or source.parent)
    name = request.args.get("Name") or files.free_copy_name(home, source.name)
    _allow_new("POST", home, {"name": check_name(name), "type": "file", "mime": source.mime})
    made = files.copy(source, home, name, fields={"cozyMetadata": _upload_metadata()})
    return _files_json.file(_as_file(made), status=201, empty=[])


@service.patch("/<id>", access=asks("PATCH"))
def patch(id: str) -> Response:
    """Rename, move, tag, or change other attributes."""
    return _patched(_allowed("PATCH", instance().files.get(id)))


@service.patch("/metadata", access=asks("PATCH"))
def patch_by_path() -> Response:
    """As `patch`, by path."""
    return _patched(_allowed("PATCH", instance().files.at(request.args.get("Path", ""))))


@service.delete("/<id>", access=asks("PATCH"))
def trash(id: str) -> Response:
    """Put it in the trash."""
    node = _allowed("PATCH", instance().files.get(id))
    _check_rev(node)
    gone = instance().files.trash(node, by=_trashed_by())
    return _shown(gone, empty=[])


@service.get("/trash", access=asks("GET"))
def trash_list() -> Response:
    """What is in the trash."""
    bin = _allowed("GET", instance().files.get(TRASH_DIR))
    return _files_json.contents(instance().files, _as_dir(bin), _page())


@service.post("/trash/<id>", access=asks("PATCH"))
def restore(id: str) -> Response:
    """Take it out of the trash."""
    node = _allowed("PATCH", instance().files.get(id))
    return _shown(instance().files.restore(node), empty=[])


@service.delete("/trash/<id>", access=asks("DELETE"))
def destroy(id: str) -> Response:
    """Remove it for good."""
    node = _allowed("DELETE", instance().files.get(id))
    _check_rev(node)
    instance().files.erase(node)
    return Response(status=204)


@service.delete("/trash", access=asks("DELETE"))
def empty_trash() -> Response:
    """Remove for good all that is in the trash."""
    _allowed("DELETE", instance().files.get(TRASH_DIR))
    instance().files.clear_trash()
    return Response(status=204)


@service.get("/download/<id>", access=asks("GET"))
def download(id: str) -> Response:
    """A file's content."""
    return _content(_allowed("GET", instance().files.get(id)))


@service.get("/download", access=asks("GET"))
def download_by_path() -> Response:
    """A file's content, by path; the right is judged as by id."""
    answer = _content(_allowed("GET", instance().files.at(request.args.get("Path", ""))))
    answer.headers.setdefault("Content-Security-Policy", "form-action 'none'")
    return answer


# -- inside -------------------------------------------------------------------------------------------------------------


def _allowed(action: Action, node: Node) -> Node:
    """A node the principal may act on; only asked for its ancestors when no rule is on the whole type."""
    above = () if principal().everything else instance().files.above(node)
    allow(action, FILES, node.stored, above=above)
    return node


def _allow_new(action: Action, home: Dir, fields: Mapping[str, Any]) -> None:
    above = (home.stored, *instance().files.above(home))
    allow(action, FILES, {"dir_id": home.id, **fields}, above=above)


def _shown(node: Node, *, empty: list[Any] | None = None) -> Response:
    if isinstance(node, Dir):
        return _files_json.with_children(instance().files, node, _page(), empty=empty)
    return _files_json.file(node, empty=empty)


def _content(node: Node) -> Response:
    if not isinstance(node, File):
        raise NotFound("file does not exist")
    return _download.download(instance().files, node, attachment=flag("Dl"))


def _page() -> _files_json.Page:
    return _files_json.Page(number("page[limit]", None, low=1), request.args.get("page[cursor]"), number("page[skip]", 0) or 0)


def _make_dir(id: str) -> Response:
    files = instance().files
    fields: dict[str, Any] = {"cozyMetadata": _new_metadata(), **_times(), **_tags()}
    path = request.args.get("Path")
    if path:
        if flag("Recursive"):
            _allow_path(path)
            return _jsonapi.answer(_files_json.short(files.mkdir_all(path, fields=fields)), status=201)
        parent, _, name = path.rstrip("/").rpartition("/")
        home = files.at(parent or "/")
    else:
        home, name = files.get(id), request.args.get("Name", "")
    home = _as_dir(home)
    _allow_new("POST", home, {"name": check_name(name), "type": "directory"})
    return _jsonapi.answer(_files_json.short(files.mkdir(home, name, fields=fields)), status=201)


def _allow_path(path: str) -> None:
    """A path that is made needs the right in the deepest folder that is there."""
    files = instance().files
    at = path.rstrip("/")
    while at:
        at = at.rpartition("/")[0]
        try:
            _allow_new("POST", _as_dir(files.at(at or "/")), {"type": "directory"})
        except NotFound:
            continue
        return


def _upload(id: str) -> Response:
    files = instance().files
    home = files.dir(id)
    name = check_name(request.args.get("Name", ""))
    fields = _upload_fields(name)
    _allow_new("POST", home, {"name": name, "type": "file", "mime": fields["mime"]})
    if files.find(home, name) is not None:
        raise Conflict("file already exists")
    fields["cozyMetadata"] = _upload_metadata()
    return _files_json.file(_received(home, name, fields), status=201)


def _received(home: Dir, name: str, fields: Mapping[str, Any], *, replaces: File | None = None) -> File:
    """Take the body as a file's content: the bytes are sealed before the document names them."""
    files = instance().files
    length = request.content_length
    declared = number("Size", None)
    wanted = _wanted_md5()
    with files.new(size=length if length is not None else declared, replaces=replaces) as upload:
        source: BinaryIO = request.environ["wsgi.input"]
        upload.fill(source)
        blob = upload.seal()
        if wanted is not None and wanted != blob.md5:
            files.discard(blob)
            raise PreconditionFailed("Invalid hash", source="Content-MD5")
        if declared is not None and declared != blob.size:
            files.discard(blob)
            raise PreconditionFailed("The length differs from what was declared", source="Content-Length")
    return files.put(home, name, blob, replaces=replaces, fields=fields)


def _wanted_md5() -> str | None:
    text = request.headers.get("Content-MD5")
    if not text:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 16:
        raise Invalid("Content-MD5 is malformed", source="Content-MD5")
    return base64.b64encode(digest).decode()


def _upload_fields(name: str) -> dict[str, Any]:
    mime = request.mimetype
    if mime and "/" not in mime:
        raise Invalid("The content type is malformed", source="mime")
    if not mime or mime == "application/octet-stream" or name.lower().endswith(".url"):
        mime = guess_mime(name)
    return {"mime": mime, "executable": flag("Executable"), "encrypted": flag("Encrypted"), **_times(), **_tags()}


def _tags() -> dict[str, Any]:
    names = [tag.strip() for tag in request.args.get("Tags", "").split(",")]
    tags = list(dict.fromkeys(tag for tag in names if tag))
    return {"tags": tags} if tags else {}


def _times() -> dict[str, Any]:
    """Times the client gives; unreadable ones count as absent."""
    found: dict[str, Any] = {}
    date = _http_date(request.headers.get("Date"))
    if date is not None:
        found |= {"created_at": write_time(date), "updated_at": write_time(date)}
    for name, key in (("CreatedAt", "created_at"), ("UpdatedAt", "updated_at")):
        try:
            time = datetime.fromisoformat(request.args.get(name, ""))
            found[key] = write_time(time)
        except ValueError:
            continue
    return found


def _http_date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None


def _now() -> str:
    return write_time(instance().now())


def _app() -> dict[str, str]:
    asking = principal()
    return {"createdByApp": asking.id} if asking.kind in ("app", "konnector") else {}


def _new_metadata() -> dict[str, Any]:
    now = _now()
    common = {"doctypeVersion": "1", "metadataVersion": 1, "createdAt": now, "updatedAt": now, "createdOn": instance().url()}
    return common | _app() | _changed_by()


def _upload_metadata() -> dict[str, Any]:
    asking = principal()
    by = {"uploadedBy": {"slug": asking.id}} if asking.kind in ("app", "konnector") else {}
    return _new_metadata() | {"uploadedAt": _now(), "uploadedOn": instance().url()} | by


def _changed_by() -> dict[str, Any]:
    asking = principal()
    if asking.kind not in ("app", "konnector"):
        return {}
    return {"updatedByApps": [{"slug": asking.id, "date": _now(), "instance": instance().url()}]}


def _changed_metadata() -> dict[str, Any]:
    return {"updatedAt": _now()} | _changed_by()


def _patched(node: Node) -> Response:
    _check_rev(node)
    files = instance().files
    attributes, dir_id = _patch_body()
    if attributes.get("move_to_trash") is True:
        return _shown(files.trash(node, by=_trashed_by()), empty=[])
    if attributes.get("permanent_delete") is True:
        _allowed("DELETE", node)
        files.erase(node)
        return Response(status=204)
    changes = {key: attributes[key] for key in _PATCHABLE if key in attributes}
    if dir_id:
        changes["dir_id"] = dir_id
    _check_changes(node, changes)
    if changes.get("dir_id"):
        _allow_new("PATCH", files.dir(str(changes["dir_id"])), {"name": changes.get("name", node.name)})
    metadata = dict(node.stored.doc.get("cozyMetadata") or {})
    favorite = (attributes.get("cozyMetadata") or {}).get("favorite")
    if isinstance(favorite, bool):
        metadata["favorite"] = favorite
    changes["cozyMetadata"] = metadata | _changed_metadata()
    return _shown(files.patch(node, **changes))


def _patch_body() -> tuple[Mapping[str, Any], str | None]:
    data = body().get("data")
    if not isinstance(data, dict) or not isinstance(data.get("attributes", {}), dict):
        raise BadRequest("The body has no data", source="/data")
    parent = ((data.get("relationships") or {}).get("parent") or {}).get("data") or {}
    return data.get("attributes", {}), parent.get("id") if isinstance(parent, dict) else None


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "dir_id": str,
    "tags": list,
    "updated_at": str,
    "executable": bool,
    "encrypted": bool,
    "metadata": dict,
}


def _check_changes(node: Node, changes: dict[str, Any]) -> None:
    """Refuse what has the wrong type; `class` asks for it to be worked out again.

    :raises Invalid: by attribute.
    """
    for name, kind in _KINDS.items():
        if name in changes and not isinstance(changes[name], kind):
            raise Invalid(f"{name} is of the wrong type", source=f"/data/attributes/{name}")
    if "updated_at" in changes:
        try:
            time = datetime.fromisoformat(changes["updated_at"])
        except ValueError:
            raise Invalid("updated_at is no date", source="updated_at") from None
        if time.tzinfo is None or time < datetime.fromisoformat(node.stored.doc["created_at"]):
            raise Invalid("updated_at is before created_at", source="updated_at")
    if changes.pop("class", None) is not None and isinstance(node, File):
        changes["class"] = class_of(node.mime)


def _check_rev(node: Node) -> None:
    wanted = request.headers.get("If-Match") or request.args.get("rev")
    if wanted and wanted.strip('"') != node.rev:
        raise PreconditionFailed("Revision does not match", source="If-Match")


def _trashed_by() -> dict[str, Any]:
    return {"kind": "member", "displayName": instance().public_name(), "domain": instance().domain}


def _as_dir(node: Node) -> Dir:
    if not isinstance(node, Dir):
        raise NotFound("file does not exist")
    return node


def _as_file(node: Node) -> File:
    assert isinstance(node, File)
    return node
