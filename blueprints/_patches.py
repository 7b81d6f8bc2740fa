"""What a PATCH of a folder or file asks for (docs/http/files.md)."""

from collections.abc import Mapping
from typing import Any

from blueprints._files import allow_new, allowed, author, files
from blueprints._request import instance, principal
from cozyd.documents.store import Doc
from cozyd.errors import BadRequest, Invalid
from cozyd.files import File, Node
from cozyd.files.kinds import class_of, guess_mime
from cozyd.files.tree import read_moment, read_time, unique_tags, write_moment
from cozyd.permissions import ROOT_DIR

_KINDS: Mapping[str, type] = {
    "name": str,
    "dir_id": str,
    "tags": list,
    "updated_at": str,
    "executable": bool,
    "encrypted": bool,
    "metadata": dict,
    "class": str,
    "cozyMetadata": dict,
    "move_to_trash": bool,
    "permanent_delete": bool,
}
_COPIED = ("name", "dir_id", "tags", "updated_at", "executable", "encrypted", "metadata")
_OF_FILES = ("executable", "encrypted")
MALFORMED = "JSON input is malformed or is missing mandatory fields"


def data_of(body: Doc) -> Mapping[str, Any]:
    """The resource in a body.

    :raises BadRequest: there is none.
    """
    data = body.get("data")
    if not isinstance(data, dict):
        raise BadRequest(MALFORMED, source="/data")
    return data


def attributes_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a resource; none at all are as good as an empty object.

    :raises BadRequest: they are no object.
    """
    attributes = data.get("attributes")
    if attributes is not None and not isinstance(attributes, dict):
        raise BadRequest(MALFORMED, source="/data/attributes")
    return attributes or {}


def apply(node: Node, data: Mapping[str, Any]) -> Node:
    """Do what a resource asks of a node: change it, put it in the trash, or remove it.

    :raises BadRequest, Invalid: it cannot be read.
    :raises Forbidden: the principal may not do that.
    """
    attributes, parent = attributes_of(data), _parent(data)
    _check_types(attributes)
    if attributes.get("permanent_delete") is True:
        files().erase(allowed("DELETE", node))
        return node
    if attributes.get("move_to_trash") is True:
        return files().trash(node, by=trashed_by(), author=author())
    changes = _changes(node, attributes)
    if parent is not None:
        changes["dir_id"] = parent
    if "dir_id" in changes:
        changes["dir_id"] = changes["dir_id"] or ROOT_DIR  # before the right is asked: an empty one means the root
        _allow_place(node, changes["dir_id"])
    return files().patch(node, author=author(), **changes)


def _allow_place(node: Node, id: str) -> None:
    """Ask the right to have a node in another folder; of a guest with a link, whose rule may name the node itself, in that folder as such.

    :raises Forbidden: there is none.
    """
    if id == node.parent:
        return
    home = files().dir(id)
    allow_new("PATCH", home, {**node.stored.doc, "dir_id": id})
    if principal().kind == "link":
        allowed("PATCH", home)


def trashed_by() -> Mapping[str, str]:
    """Who puts something in the trash: the owner, or whoever has a link that she shared."""
    if principal().kind == "link":
        return {"kind": "anonymous-share"}
    return {"kind": "member", "displayName": instance().public_name(), "domain": instance().domain}


def _parent(data: Mapping[str, Any]) -> str | None:
    """The folder that `relationships.parent` names; None: it names none.

    :raises BadRequest: it is there, and is no resource identifier.
    """
    relationships = data.get("relationships")
    if not isinstance(relationships, dict) or "parent" not in relationships:
        return None
    parent = relationships["parent"]
    identifier = parent.get("data") if isinstance(parent, dict) else None
    id = identifier.get("id") if isinstance(identifier, dict) else None
    if not isinstance(id, str):
        raise BadRequest(MALFORMED, source="/data/relationships/parent/data")
    return id


def _changes(node: Node, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that attributes ask for; unknown ones are ignored.

    :raises BadRequest: a time that is none.
    :raises Invalid: a time before the node was made.
    """
    changes: dict[str, Any] = {name: attributes[name] for name in _COPIED if attributes.get(name) is not None}
    if "tags" in changes:
        changes["tags"] = unique_tags(changes["tags"]) or None
    if "metadata" in changes:
        changes["metadata"] = changes["metadata"] or None
    if "updated_at" in changes:
        changes |= _updated_at(node, changes.pop("updated_at"))
    if not isinstance(node, File):
        changes = {name: value for name, value in changes.items() if name not in _OF_FILES}
    elif attributes.get("class") is not None:
        mime = guess_mime(changes.get("name", node.name))
        changes |= {"mime": mime, "class": class_of(mime)}
    favorite = (attributes.get("cozyMetadata") or {}).get("favorite")
    return changes | ({"cozyMetadata": {"favorite": favorite or None}} if favorite is not None else {})


def _check_types(attributes: Mapping[str, Any]) -> None:
    """:raises BadRequest: a known attribute is of the wrong type; null is as good as none."""
    for name, kind in _KINDS.items():
        value = attributes.get(name)
        if value is not None and (not isinstance(value, kind) or not _holds(name, value)):
            raise BadRequest(MALFORMED, source=f"/data/attributes/{name}")


def _holds(name: str, value: Any) -> bool:
    if name == "tags":
        return all(isinstance(tag, str) for tag in value)
    return name != "cozyMetadata" or isinstance(value.get("favorite"), bool | None)


def _updated_at(node: Node, text: str) -> dict[str, str]:
    """The time as a change; one before 1970 stands for none."""
    time = read_moment(text)
    if time is None:
        raise BadRequest(MALFORMED, source="/data/attributes/updated_at")
    if time.timestamp() < 0:
        return {}
    if time < read_time(node.stored.doc["created_at"]):
        raise Invalid("Invalid time given", source="UpdatedAt")
    return {"updated_at": write_moment(time)}
