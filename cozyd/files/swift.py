"""`SwiftBlobs`: contents in OpenStack Swift, in the reference's third layout, so that an existing store is read in place.

A container `cozy-v3-<area>` for each tenant; an object for each content, written once (docs/storage.md).
"""

import base64
import binascii
import io
import logging
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, cast

from cozyd.errors import NotFound, RangeNotSatisfiable, StorageFull, TooLarge, Unavailable
from cozyd.files.blobs import AVATAR_BROUGHT, AVATARS, NO_NOTES, THUMBNAILS, Blob, NewBlob, Notes, is_key
from cozyd.files.remote import RETRY_AFTER, Refused, RemoteBlob, RemoteStream, noted
from cozyd.files.spool import OwnFolder, Spool
from cozyd.files.swiftsession import Access, Session

log = logging.getLogger("cozyd.files")

CONTAINER = "cozy-v3-"
SHARED = frozenset(("apps-web", "apps-konnectors", "exports", "__dyn-assets__"))
LARGEST = 5 << 30
NOTED = "X-Object-Meta-"
BULK = 8000
DESTROY_TRIES = 5
_WHOLE_NAME = re.compile(r"[^/]{22}/[^/]{5}/[^/]{5}/[^/]{16}")


def object_name(key: str) -> str:
    """The name of a content's object: ids of 32 and internal ids of 16 characters are split, others are as they are."""
    if key == AVATAR_BROUGHT:
        return AVATARS
    id, _, internal = key.partition("/")
    if id == THUMBNAILS and len(internal.partition("-")[0]) == 32:
        return f"{id}/{internal[:22]}/{internal[22:27]}/{internal[27:]}"
    if len(id) == 32 and len(internal) == 16:
        return f"{id[:22]}/{id[22:27]}/{id[27:]}/{internal}"
    return key


def key_of(name: str) -> str:
    """The key of an object."""
    if name == AVATARS:
        return AVATAR_BROUGHT
    if name.startswith(THUMBNAILS + "/"):
        return f"{THUMBNAILS}/{name.removeprefix(THUMBNAILS + '/').replace('/', '')}"
    if not _WHOLE_NAME.fullmatch(name):
        return name
    return f"{name[:22]}{name[23:28]}{name[29:34]}/{name[35:]}"


def container_of(area: str) -> str:
    """The container of an area."""
    return area if area in SHARED else CONTAINER + area


def _hex(md5: str) -> str:
    """A base64 MD5 as ETags have it."""
    return binascii.hexlify(base64.b64decode(md5)).decode()


class SwiftBlobs:
    """Contents in Swift.

    :param address: `swift://...`, see `Access.parse`.
    :param password: wins over the one in the address.
    :param folder: for temporary files.
    :param parallel: how many requests to Swift at once; others wait a little, then are told to come back.
    :param page: how many names a listing asks for at once.
    """

    keeps_small: ClassVar[bool] = True

    def __init__(self, address: str, folder: Path, *, password: str = "", parallel: int = 6, page: int = 10_000) -> None:
        self._session = Session(Access.parse(address, password), parallel)
        self._own = OwnFolder(folder)
        self._page = page

    @property
    def temporary(self) -> Path:
        """See `BlobStore.temporary`."""
        return self._own.path

    def close(self) -> None:
        """Give up connections and the temporary folder."""
        self._session.close()
        self._own.close()

    def new(self, area: str, key: str, *, size: int | None = None, type: str = "", about: Notes = NO_NOTES) -> NewBlob:
        """See `BlobStore.new`.

        :raises TooLarge: `size` is more than an object may have.
        :raises StorageFull: `size` is more than the disk for temporary files has left.
        """
        if size is not None and size > LARGEST:
            raise TooLarge("A file has at most 5 GiB on this store")
        if size is not None and size > shutil.disk_usage(self.temporary).free:
            raise StorageFull("The disk is full")
        return cast(NewBlob, RemoteBlob(partial(self._send, container_of(area)), self.temporary, key, type, about, LARGEST))

    def _send(self, container: str, blob: Blob, source: Spool, type: str, about: Notes) -> None:
        """Put an object, and have its ETag compared by both sides.

        :raises Unavailable: it is not there as it should be; nothing of it is left.
        """
        name, etag = object_name(blob.key), _hex(blob.md5)
        headers = {"Content-Type": type or "application/octet-stream"} | noted(about, NOTED)
        try:
            found = self._session.put(container, name, cast(BinaryIO, source), blob.size, etag, headers)
        except Refused as error:
            raise error.told() from error
        if found != etag:
            log.error("Swift answered the ETag %s for %s/%s of %s", found, container, name, etag)
            self._session.delete(container, name)
            raise Unavailable("The file store did not keep the content", retry_after=RETRY_AFTER)

    def open(self, area: str, key: str, *, start: int = 0, stop: int | None = None, about: Notes = NO_NOTES) -> BinaryIO:
        """See `BlobStore.open`."""
        if not is_key(key):
            raise NotFound("The content is gone")
        container, name = container_of(area), object_name(key)
        if stop is not None and stop <= start:
            return self._nothing(container, name, start)
        headers = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if start or stop is not None else {}
        try:
            answer = self._session.get(container, name, headers)
        except Refused as error:
            if error.status == 416 and not error.size and not start:
                return io.BytesIO()
            raise _unreadable(error) from error
        if any(answer.headers.get(name.lower(), value) != value for name, value in noted(about, NOTED).items()):
            answer.close()
            raise NotFound("The content is of another")
        size = int(answer.headers["content-length"])
        stream = RemoteStream(partial(self._session.get, container, name), start, answer, answer.headers["etag"], size)
        try:
            stream.begin()
        except BaseException:
            stream.close()
            raise
        return cast(BinaryIO, stream)

    def _nothing(self, container: str, name: str, start: int) -> BinaryIO:
        """No byte of an object that is there."""
        try:
            size = self._session.size(container, name)
        except Refused as error:
            raise _unreadable(error) from error
        if start > size or (start == size and size):
            raise RangeNotSatisfiable(size)
        return io.BytesIO()

    def copy(self, area: str, blob: Blob, new: str, *, about: Notes = NO_NOTES) -> Blob:
        """See `BlobStore.copy`: Swift copies."""
        container = container_of(area)
        notes = noted({"copied-from": blob.key.partition("/")[0]} | dict(about), NOTED)
        try:
            self._session.copy(container, object_name(blob.key), object_name(new), notes)
        except Refused as error:
            raise _unreadable(error) from error
        return Blob(new, blob.size, blob.md5)

    def adopt(self, area: str, key: str, file: Path) -> bool:  # noqa: ARG002
        """See `BlobStore.adopt`: never, its contents lie elsewhere."""
        return False

    def delete(self, area: str, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`."""
        self._delete(container_of(area), [object_name(key) for key in keys])

    def _delete(self, container: str, names: Sequence[str]) -> None:
        for first in range(0, len(names), BULK):
            some = names[first : first + BULK]
            if len(some) < 2 or not self._session.bulk_delete(container, some):
                for name in some:
                    self._session.delete(container, name)

    def list(self, area: str, under: str = "") -> Iterator[tuple[str, int, datetime]]:
        """See `BlobStore.list`."""
        for found in self._listed(container_of(area), under[:22]):
            key = key_of(found["name"])
            if key.startswith(under):
                yield key, found["bytes"], datetime.fromisoformat(found["last_modified"]).replace(tzinfo=UTC)

    def _listed(self, container: str, prefix: str) -> Iterator[dict[str, Any]]:
        marker = ""
        while True:
            page = self._session.list(container, prefix, marker, self._page)
            yield from page
            if len(page) < self._page:
                return
            marker = page[-1]["name"]

    def destroy(self, area: str) -> None:
        """See `BlobStore.destroy`: the container is marked, emptied and removed."""
        container = container_of(area)
        if not self._session.mark_container(container):
            return
        for attempt in range(DESTROY_TRIES):
            self._delete(container, [found["name"] for found in self._listed(container, "")])
            if self._session.delete_container(container):
                return
            time.sleep(0.1 * 2**attempt)  # its listing is made of late updates
        raise Unavailable("The file store did not remove everything", retry_after=RETRY_AFTER)

    def ping(self) -> None:
        """See `BlobStore.ping`."""
        self._session.ping()


def _unreadable(error: Refused) -> Exception:
    if error.status == 404:
        return NotFound("The content is gone")
    if error.status == 416:
        return RangeNotSatisfiable(error.size)
    return error.told()
