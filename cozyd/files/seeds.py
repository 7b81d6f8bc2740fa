"""The folders that a new instance has, in its owner's language (pure)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cozyd.documents.store import Ref, Write
from cozyd.files.tree import TRASH_DIR, TRASH_NAME, TRASH_PATH
from cozyd.permissions import FILES, ROOT_DIR

SHARED_DRIVES = "io.cozy.files.shared-drives-dir"
SHARED_DRIVES_NAME = "Drives"
_PAPERS = {"type": "io.cozy.apps", "id": "io.cozy.apps/administrative"}
_ADMINISTRATIVE = {"de": "Verwaltung", "es": "Administrativo", "fr": "Administratif"}
_PHOTOS = {"de": "Fotos", "es": "Fotos"}
_COPY = {"de": "Kopie", "es": "copia", "fr": "copie"}


def roots(now: str, *, papers: bool) -> Sequence[Write]:
    """The writes that make the root and the trash.

    :param now: their times.
    :param papers: whether applications put papers into the root.
    """
    times = {"created_at": now, "updated_at": now}
    root = {"type": "directory", "path": "/"} | times | ({"referenced_by": [_PAPERS]} if papers else {})
    bin = {"type": "directory", "name": TRASH_NAME, "dir_id": ROOT_DIR, "path": TRASH_PATH} | times
    return [Write(Ref(FILES, ROOT_DIR), body=root), Write(Ref(FILES, TRASH_DIR), body=bin)]


def folders(locale: str, *, administrative: bool, photos: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and members of the first folders."""
    if administrative:
        yield _ADMINISTRATIVE.get(locale, "Administrative"), {"referenced_by": [_PAPERS]}
    if photos:
        yield _PHOTOS.get(locale, "Photos"), {}


def copy_word(locale: str) -> str:
    """What copies have in their names."""
    return _COPY.get(locale, "copy")
