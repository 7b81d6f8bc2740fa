"""The way back: an instance's contents as the local storage tree that a cozy-stack reads, beside the documents that it has."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cozyd.errors import Invalid, NotFound
from cozyd.files.spool import translated
from cozyd.files.thumbnails import file_of
from cozyd.files.tree import TRASH_NAME, VERSIONS
from cozyd.instance import Instance
from cozyd.moving_in.contents import AVATAR_PATH, SHARD, THUMBNAILS_FOLDER, Content, StorageTree
from cozyd.moving_in.sources import Trouble
from cozyd.moving_in.tree import Tree
from cozyd.permissions import FILES

REPORT_EVERY = 200
Step = Mapping[str, Any]


def write_tree(instance: Instance, folder: Path) -> Iterator[Step]:
    """Write folders, files, earlier contents and thumbnails below `<folder>/<domain>`.

    :raises Invalid: there is something already.
    :raises StorageFull: there is no room for it.
    """
    home = folder / instance.domain
    if home.exists():
        raise Invalid(f"{home} is there already: the tree has to be a new one")
    tree = StorageTree(home)
    named = Tree()
    for doctype in (FILES, VERSIONS):
        for stored in instance.docs.all(doctype).rows:
            named.add(doctype, stored.doc)
    with translated():
        for path in (f"/{TRASH_NAME}", *named.folders()):
            (home / path.lstrip("/")).mkdir(parents=True, exist_ok=True, mode=0o755)
    contents = [*named.contents(), *_thumbnails(instance)]
    done = 0
    for content in contents:
        try:
            _write(instance, content, tree.file(content))
            done += 1
        except NotFound:
            yield Trouble("missing_content", content.name, "its bytes are not in the storage").step
        if done % REPORT_EVERY == 0:
            yield {"step": "contents", "done": done, "of": len(contents)}
    avatar = instance.settings.avatar.get()
    if avatar is not None:
        with translated():
            (home / AVATAR_PATH).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            (home / AVATAR_PATH).write_bytes(avatar[0])
    yield {"step": "done", "instances": 1, "contents": done, "troubles": len(contents) - done}


def _write(instance: Instance, content: Content, target: Path) -> None:
    with translated():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with instance.contents.open(content.key) as source, open(target, "xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)


def _thumbnails(instance: Instance) -> Iterator[Content]:
    for key, size, _ in instance.contents.list():
        id = file_of(key)
        if id:
            yield Content(key, f"/{THUMBNAILS_FOLDER}/{id[:SHARD]}/{key.partition('/')[2]}.jpg", size)
