"""What tests of files share: a room with no server, uploads over HTTP, what is wrong with a tenant's tree."""

import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from cozyd.files import Dir, File, Files, Node
from cozyd.instance import Instance
from cozyd.permissions import FILES, ROOT_DIR
from tests.support.client import Answer, Client

TRASH = "io.cozy.files.trash-dir"


def root(files: Files) -> Dir:
    return files.dir(ROOT_DIR)


def write(files: Files, parent: Dir, name: str, content: bytes = b"hello", *, over: File | None = None, **fields: Any) -> File:
    """A file of these bytes, or its next content."""
    with files.new(size=len(content), replaces=over) as upload:
        upload.fill(io.BytesIO(content))
        blob = upload.seal()
    return files.put(parent, name, blob, replaces=over, fields=fields)


def content(files: Files, node: Node) -> bytes:
    assert isinstance(node, File)
    with files.read(node) as stream:
        return stream.read()


def names(files: Files, dir: Dir) -> list[str]:
    return [node.name for node in files.children(dir)]


def everything(instance: Instance) -> Iterator[dict[str, Any]]:
    """Every folder's and file's document."""
    for stored in instance.docs.all(FILES).rows:
        if "type" in stored.doc:
            yield stored.doc


def faults(instance: Instance) -> list[str]:
    """What is wrong with a tree: paths, trash flags, twins, orphans, contents, and the store's own findings."""
    nodes = {doc["_id"]: doc for doc in everything(instance)}
    found = list(instance.docs.check())
    seen: set[tuple[str, str]] = set()
    for doc in nodes.values():
        if doc["_id"] == ROOT_DIR:
            continue
        parent = nodes.get(doc["dir_id"])
        if parent is None or parent["type"] != "directory":
            found.append(f"{doc['name']} has no folder")
            continue
        path = f"{parent['path'].rstrip('/')}/{doc['name']}"
        if (doc["dir_id"], doc["name"]) in seen:
            found.append(f"{path} is there twice")
        seen.add((doc["dir_id"], doc["name"]))
        if doc["type"] == "directory" and doc["path"] != path:
            found.append(f"{path} says {doc['path']}")
        if doc["type"] == "file" and doc["trashed"] != path.startswith("/.cozy_trash/"):
            found.append(f"{path} has trashed = {doc['trashed']}")
    return found + list(_content_faults(instance, nodes))


def _content_faults(instance: Instance, nodes: dict[str, Any]) -> Iterator[str]:
    blobs = {key: size for key, size, _ in instance.contents.list()}
    wanted = {f"{doc['_id']}/{doc['internal_vfs_id']}": int(doc["size"]) for doc in nodes.values() if doc["type"] == "file"}
    wanted |= {
        stored.ref.id: int(stored.doc["size"]) for stored in instance.docs.all("io.cozy.files.versions").rows if "size" in stored.doc
    }
    yield from (f"{key} has no content of {size} bytes" for key, size in wanted.items() if blobs.get(key) != size)
    yield from (f"{key} is nobody's content" for key in blobs.keys() - wanted.keys())
    if instance.files.usage()[0] != sum(wanted.values()):
        yield f"usage is {instance.files.usage()[0]}, not {sum(wanted.values())}"


# -- over HTTP ----------------------------------------------------------------------------------------------------------


def mkdir(client: Client, name: str, *, into: str = ROOT_DIR) -> str:
    answer = client.api("POST", f"/files/{into}?{urlencode({'Type': 'directory', 'Name': name})}")
    assert answer.status == 201, answer.body
    id: str = answer.json["data"]["id"]
    return id


def upload(client: Client, into: str, name: str, content: bytes = b"hello", *, query: str = "", **headers: str) -> Answer:
    """The answer to an upload."""
    headers.setdefault("Content_Type", "application/octet-stream")
    return client.api("POST", f"/files/{into}?Type=file&Name={quote(name, safe='')}{query}", content, **headers)


def uploaded(client: Client, into: str, name: str, content: bytes = b"hello", **options: Any) -> Any:
    """The data of an upload that has to succeed."""
    answer = upload(client, into, name, content, **options)
    assert answer.status == 201, answer.body
    return answer.json["data"]


def patched(client: Client, id: str, **attributes: Any) -> Answer:
    return client.api("PATCH", f"/files/{id}", {"data": {"type": FILES, "id": id, "attributes": attributes}})


def is_error(answer: Answer, status: int, detail: str | None = None, **source: str) -> bool:
    """Whether it is a JSON:API error of this status, detail and source."""
    error = answer.json["errors"][0]
    known: bool = answer.status == status and error["status"] == str(status) and error["source"] == source
    return known and (detail is None or error["detail"] == detail)
