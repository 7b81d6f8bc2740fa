"""`/files`: the earlier contents of files (docs/http/files.md)."""

from typing import Any

from flask import Response

from blueprints import _files_json, _jsonapi, _patches, _uploads
from blueprints._files import allowed, allowed_file, author, files
from blueprints._request import Service, asks, body, rule
from cozyd.errors import BadRequest, Conflict, NotFound
from cozyd.files import Dir, File
from cozyd.files.kinds import NOTE, OF_NOTES
from cozyd.files.lookup import IN_TRASH
from cozyd.permissions import FILES, Action

service = Service("versions", __name__, url_prefix="/files")


@service.post("/revert/<id>/<version>", access=asks("POST"))
def revert(id: str, version: str) -> Response:
    """Make an earlier content the present one; the present one becomes a version."""
    file = allowed_file("POST", id)
    reverted = files().versions.revert(file, files().versions.get(id, version))
    return _files_json.file(files(), reverted, versions=files().versions.of(id))


@service.post("/<id>/versions", access=asks("PUT"))
def copy(id: str) -> Response:
    """The same content with other metadata and tags."""
    file = allowed("PUT", files().get(id))
    if isinstance(file, Dir):
        raise BadRequest("cannot create versions for directories")
    if file.trashed:
        raise NotFound(IN_TRASH)
    given = _patches.attributes_of(_patches.data_of(body()))
    metadata = _with_kept(file, _uploads.without_certified(given))
    changed = files().relabel(file, metadata=metadata, tags=_uploads.tags().get("tags", ()), author=author())
    return _files_json.file(files(), changed, empty=[], versions=files().versions.of(id))


def _with_kept(file: File, metadata: dict[str, Any]) -> dict[str, Any]:
    """Certificates of the content stay as long as nothing but they and the qualification is given; a note stays the note it is."""
    given = metadata.keys() - _uploads.CERTIFIED.keys() - {"qualification"}
    kept = {*(() if given else _uploads.CERTIFIED), *(OF_NOTES if file.mime == NOTE else ())}
    return {key: file.metadata[key] for key in kept if key in file.metadata} | metadata


@service.patch("/<id>/<version>", access=asks("PATCH"))
def patch(id: str, version: str) -> Response:
    """Give a version other tags."""
    _allow_versions("PATCH", id)
    found = files().versions.get(id, version)
    attributes = _patches.data_of(body()).get("attributes")
    tags = attributes.get("tags") if isinstance(attributes, dict) else None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise BadRequest(_patches.MALFORMED, source="/data/attributes/tags")
    return _jsonapi.answer(_files_json.version(files().versions.tag(found, tags)))


@service.delete("/<id>/<version>", access=asks("DELETE"))
def delete(id: str, version: str) -> Response:
    """Remove a version for good."""
    _allow_versions("DELETE", id)
    files().versions.delete(files().versions.get(id, version))
    return Response(status=204)


def _allow_versions(action: Action, id: str) -> None:
    """Ask the right to change the versions of a file.

    :raises Conflict: it is a folder, which has none.
    """
    if isinstance(allowed(action, files().get(id)), Dir):
        raise Conflict("Conflict access to same file or directory")


@service.delete("/versions", access=rule("DELETE", FILES))
def clear() -> Response:
    """Remove every version of every file."""
    files().versions.clear()
    return Response(status=204)
