"""What a PATCH of a folder or file asks for (docs/http/files.md)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from blueprints._files import allow_new, allowed, author, files
from blueprints._request import instance
from cozyd.documents.store import Doc
from cozyd.errors import BadRequest, Invalid
from cozyd.files import File, Node
from cozyd.files.kinds import class_of, guess_mime
from cozyd.files.tree import write_time

_KINDS: Mapping[str, type] = {
    "name": str,
    "dir_id": str,
    "tags": list,
    "updated_at": str,
    "executable": bool,
    "encrypted": bool,
    "metadata": dict,
}
_OF_FILES = ("executable", "encrypted")


def data_of(body: Doc) -> Mapping[str, Any]:
    """The resource in a body.

    :raises BadRequest: there is none.
    """
    data = body.get("data")
    if not isinstance(data, dict):
        raise BadRequest("The body has no data", source="/data")
    return data


def apply(node: Node, data: Mapping[str, Any]) -> Node:
    """Do what a resource asks of a node: change it, put it in the trash, or remove it.

    :raises BadRequest, Invalid: it cannot be read.
    :raises Forbidden: the principal may not do that.
    """
    attributes, dir_id = _attributes(data)
    if attributes.get("permanent_delete") is True:
        files().erase(allowed("DELETE", node))
        return node
    if attributes.get("move_to_trash") is True:
        return files().trash(node, by=trashed_by(), author=author())
    changes = _changes(node, attributes)
    if dir_id:
        changes["dir_id"] = dir_id
    if changes.get("dir_id"):
        allow_new("PATCH", files().dir(changes["dir_id"]), {**node.stored.doc, "dir_id": changes["dir_id"]})
    return files().patch(node, author=author(), **changes)


def trashed_by() -> Mapping[str, str]:
    """Who puts something in the trash."""
    return {"kind": "member", "displayName": instance().public_name(), "domain": instance().domain}


def _attributes(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
    attributes = data.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise BadRequest("The attributes are no object", source="/data/attributes")
    parent: Any = data
    for name in ("relationships", "parent", "data", "id"):
        parent = parent.get(name) if isinstance(parent, dict) else None
    return attributes, parent if isinstance(parent, str) else None


def _changes(node: Node, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that attributes ask for; unknown ones are ignored.

    :raises Invalid: one of the wrong type, or a time before the node was made.
    """
    changes: dict[str, Any] = {name: attributes[name] for name in _KINDS if attributes.get(name) is not None}
    for name, value in changes.items():
        if not isinstance(value, _KINDS[name]) or (isinstance(value, list) and not all(isinstance(tag, str) for tag in value)):
            raise Invalid(f"{name} is of the wrong type", source=f"/data/attributes/{name}")
    if "tags" in changes:
        changes["tags"] = list(dict.fromkeys(changes["tags"])) or None
    if "metadata" in changes:
        changes["metadata"] = changes["metadata"] or None
    if "updated_at" in changes:
        changes["updated_at"] = _updated_at(node, changes["updated_at"])
    if not isinstance(node, File):
        changes = {name: value for name, value in changes.items() if name not in _OF_FILES}
    elif attributes.get("class") is not None:
        mime = guess_mime(changes.get("name", node.name))
        changes |= {"mime": mime, "class": class_of(mime)}
    metadata = attributes.get("cozyMetadata")
    favorite = metadata.get("favorite") if isinstance(metadata, dict) else None
    return changes | ({"cozyMetadata": {"favorite": favorite}} if isinstance(favorite, bool) else {})


def _updated_at(node: Node, text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
        made = datetime.fromisoformat(node.stored.doc["created_at"])
    except ValueError:
        raise Invalid("updated_at is no date", source="UpdatedAt") from None
    if time.tzinfo is None or time < made:
        raise Invalid("updated_at is before created_at", source="UpdatedAt")
    return write_time(time)
