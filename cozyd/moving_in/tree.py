"""What the documents of a cozy-stack's files say about their contents (pure)."""

from collections.abc import Sequence

from cozyd.documents.revtree import given_path, rank
from cozyd.documents.store import Doc
from cozyd.files.tree import VERSIONS, internal_id
from cozyd.moving_in.contents import Content
from cozyd.permissions import ROOT_DIR


class Tree:
    """Folders, files and earlier contents, of the winning revision of each document."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {ROOT_DIR: "/"}
        self._files: dict[str, tuple[str, str, Content]] = {}
        self._versions: dict[str, Content] = {}
        self._ranks: dict[str, tuple[int, str]] = {}

    def add(self, doctype: str, doc: Doc) -> None:
        """Take notice of a live leaf; a better one of the same document counts in its place."""
        rev, id = rank(given_path(doc)[0]), doc["_id"]
        if id.startswith("_design/") or self._ranks.get(id, (0, "")) > rev:
            return
        self._ranks[id] = rev
        if doc.get("type") == "directory":
            self._folders[id] = str(doc.get("path", ""))
            return
        size, md5 = int(doc.get("size") or 0), str(doc.get("md5sum") or "")
        if doctype == VERSIONS:
            self._versions[id] = Content(id, "", size, md5)
        elif doc.get("type") == "file":
            content = Content(f"{id}/{internal_id(doc)}", "", size, md5)
            self._files[id] = (str(doc.get("dir_id")), str(doc.get("name")), content)

    def folders(self) -> Sequence[str]:
        """The paths of all folders, a folder before what is in it."""
        return sorted(self._folders.values())

    def contents(self) -> Sequence[Content]:
        """Every content that a document names, with the place where a local tree has it."""
        found = [
            Content(content.key, f"{self._folders.get(folder, '').rstrip('/')}/{name}", content.size, content.md5)
            for folder, name, content in self._files.values()
        ]
        return [*found, *self._versions.values()]
