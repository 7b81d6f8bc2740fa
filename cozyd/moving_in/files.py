"""An instance's contents: each that a document names is brought in once, and compared with what the document says."""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from cozyd.errors import NotFound
from cozyd.files.blobs import PIECE, BlobStore
from cozyd.moving_in.contents import Content, Contents
from cozyd.moving_in.sources import Trouble

REPORT_EVERY = 200
Step = Mapping[str, Any]


class Files:
    """One instance's.

    :param contents: where they are; None: nobody knows.
    :param area: its area in our blob store.
    :param named: what documents say.
    """

    def __init__(self, contents: Contents | None, blobs: BlobStore, area: str, named: Sequence[Content]) -> None:
        self._contents = contents
        self._blobs = blobs
        self._area = area
        self._named = named

    def copy(self, domain: str, *, dry_run: bool) -> Iterator[Step]:
        """Bring in what is not here yet; a content that is missing, or is not what its document says, is told.

        One that has other bytes than its document says is brought in as it is: nothing is lost by it.
        """
        here = {key: size for key, size, _ in self._blobs.list(self._area)}
        wanted = [content for content in self._named if here.get(content.key) != content.size]
        if self._contents is None:
            if wanted:
                reason = f"{len(wanted)} contents are not here, and no storage that has them was given or found"
                yield Trouble("missing_storage", domain, reason).step
            return
        wanted += [content for content in self._contents.pictures() if here.get(content.key) != content.size]
        done = bytes_done = 0
        for content in wanted:
            trouble = self._bring(self._contents, content, dry_run=dry_run)
            if trouble is not None:
                yield trouble.step
            done, bytes_done = done + 1, bytes_done + content.size
            if done % REPORT_EVERY == 0:
                yield {"step": "contents", "done": done, "of": len(wanted), "bytes": bytes_done}
        os.sync()  # links and names are not synced one by one: this is what makes them last
        yield {"step": "contents", "done": done, "of": len(wanted), "bytes": bytes_done}

    def _bring(self, contents: Contents, content: Content, *, dry_run: bool) -> Trouble | None:
        try:
            with closing(contents.open(content)) as stream:
                size, md5 = _measured(stream)
                if not dry_run:
                    self._take(contents.file(content), content, stream)
        except NotFound:
            return Trouble("missing_content", content.name, "its bytes are not in the storage")
        except OSError as error:
            return Trouble("unreadable_content", content.name, str(error.strerror))
        if size != content.size:
            return Trouble("wrong_size", content.name, f"it has {size} bytes, its document says {content.size}")
        if content.md5 and md5 != content.md5:
            return Trouble("wrong_md5", content.name, f"its MD5 is {md5}, its document says {content.md5}")
        return None

    def _take(self, file: Path | None, content: Content, stream: BinaryIO) -> None:
        if file is not None and self._blobs.adopt(self._area, content.key, file):
            return
        stream.seek(0)
        with self._blobs.new(self._area, content.key, size=content.size) as blob:
            blob.fill(stream)
            blob.seal()


def _measured(stream: BinaryIO) -> tuple[int, str]:
    """Size and MD5 (base64) of a stream."""
    md5, size = hashlib.md5(usedforsecurity=False), 0
    while piece := stream.read(PIECE):
        md5.update(piece)
        size += len(piece)
    return size, base64.b64encode(md5.digest()).decode()
