"""`Thumbnails`: small pictures of a tenant's files, as blobs beside their contents (docs/storage.md).

The key is `thumbs/<file id>-<format>`, on Swift cozy-stack's own name. An empty one says that the content gives no picture: it is
not tried again. They go with the content they are of, whoever removes that.
"""

import base64
from collections.abc import Iterable, Sequence

from cozyd.documents.store import Change
from cozyd.errors import NotFound
from cozyd.files.blobs import NO_NOTES, THUMBNAILS, BlobStore, Notes
from cozyd.files.tree import File

FORMATS = ("tiny", "small", "medium", "large")
PICTURED = frozenset(("image", "pdf"))
"""Classes of files that have thumbnails."""
DESCRIBED = frozenset(("image", "pdf", "video", "audio"))
"""Classes whose contents say more of themselves than their first bytes do."""
_CONTENT = frozenset(("internal_vfs_id", "mime"))
"""Members of a document that are others when its content is."""
_READ = ("/pdf", "opendocument.", "officedocument.", "/rfc822", "/json", "/xhtml+xml")
_TOLD_AT_ONCE = frozenset(("image/jpeg", "image/gif"))
"""Content types whose first bytes tell all there is to know."""


def key_of(id: str, format: str) -> str:
    """The key of a file's thumbnail."""
    return f"{THUMBNAILS}/{id}-{format}"


def keys_of(id: str) -> list[str]:
    """All keys of a file's thumbnails."""
    return [key_of(id, format) for format in FORMATS]


def file_of(key: str) -> str:
    """The file that a key is of; empty: it is no thumbnail's."""
    folder, _, name = key.partition("/")
    return name.rpartition("-")[0] if folder == THUMBNAILS else ""


def is_read(mime: str) -> bool:
    """Whether contents of a type have words that the indexer can read."""
    return mime.startswith("text/") or any(word in mime for word in _READ)


def work_of(change: Change) -> Sequence[str]:
    """The workers that a change of a file asks for: those that look at a content which is new."""
    if change.patched is not None and _CONTENT.isdisjoint(change.patched):
        return ()  # thousands of files may move at once
    new, old = change.new.doc, change.old.doc if change.old is not None else {}
    if change.verb not in ("CREATED", "UPDATED") or new.get("type") != "file" or new.get("encrypted"):
        return ()
    if new.get("internal_vfs_id") == old.get("internal_vfs_id") and new.get("mime") == old.get("mime"):
        return ()
    kind = new.get("class")
    if new.get("mime") in _TOLD_AT_ONCE and (new.get("metadata") or {}).get("width"):
        return ("thumbnail",)
    found = [name for name, kinds in (("thumbnail", PICTURED), ("metadata", DESCRIBED)) if kind in kinds]
    return [*found, "indexer"] if is_read(str(new.get("mime", ""))) else found


def _of(file: File) -> Notes:
    """What a thumbnail has noted: the MD5 of the content that it is of."""
    try:
        return {"file-md5": base64.b64decode(file.blob.md5).hex()}
    except ValueError:
        return NO_NOTES


class Thumbnails:
    """One tenant's.

    :param area: the tenant's area in the blob store.
    """

    def __init__(self, blobs: BlobStore, area: str) -> None:
        self._blobs, self._area = blobs, area

    def find(self, file: File, format: str) -> bytes | None:
        """A thumbnail of the content that a file has; empty: the content gives none; None: nobody made it yet."""
        try:
            with self._blobs.open(self._area, key_of(file.id, format), about=_of(file)) as stream:
                return stream.read()
        except NotFound:
            return None

    def put(self, file: File, format: str, picture: bytes) -> None:
        """Keep a thumbnail, in place of one that is there; empty: the content gives none."""
        kind, about = ("image/jpeg", _of(file)) if picture else ("application/octet-stream", NO_NOTES)
        with self._blobs.new(self._area, key_of(file.id, format), size=len(picture), type=kind, about=about) as blob:
            blob.write(picture)
            blob.seal()

    def drop(self, ids: Iterable[str]) -> None:
        """Remove all thumbnails of some files."""
        self._blobs.delete(self._area, [key for id in ids for key in keys_of(id)])
