"""`Avatar`: the picture that others see of the owner: kept as it was uploaded, served as nothing but a picture (docs/http/settings.md)."""

import base64
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from cozyd.errors import CozyError, NotFound, TooLarge, Unsupported
from cozyd.files.blobs import AVATAR_BROUGHT, AVATARS, BlobStore

log = logging.getLogger("cozyd.settings")

LARGEST = 20_000_000
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif"}


class Avatar:
    """One owner's picture.

    :param area: the tenant's area in the blob store.
    :param record: gives the instance record, which names the picture's content.
    :param amend: changes fields of the record; None removes one.
    """

    def __init__(
        self,
        blobs: BlobStore,
        area: str,
        record: Callable[[], Mapping[str, Any]],
        amend: Callable[..., object],
        new_id: Callable[[], str],
    ) -> None:
        self._blobs = blobs
        self._area = area
        self._record = record
        self._amend = amend
        self._new_id = new_id

    def put(self, content: bytes) -> None:
        """Replace the picture.

        :raises TooLarge: over 20 MB.
        :raises Unsupported: it is no picture that browsers show as such: vector graphics, which may have scripts, are none.
        """
        if len(content) > LARGEST:
            raise TooLarge("Avatar is too big")
        kind = kind_of(content)
        old = self._key()
        about = {"created-at": datetime.now(UTC).isoformat(timespec="seconds")}
        with self._blobs.new(self._area, f"{AVATARS}/{self._new_id()}", size=len(content), type=kind, about=about) as new:
            new.write(content)
            blob = new.seal()
        self._amend(avatar={"key": blob.key, "type": kind, "etag": base64.b64decode(blob.md5).hex()})
        self._drop(old)

    def remove(self) -> None:
        """Have none; that is fine when there is none."""
        old = self._key()
        if old != AVATAR_BROUGHT:
            self._amend(avatar=None)
        self._drop(old)

    def etag(self) -> str:
        """What changes with the picture; empty: there is none."""
        named = str((self._record().get("avatar") or {}).get("etag", ""))
        return named or ("brought" if self.get() is not None else "")

    def get(self) -> tuple[bytes, str] | None:
        """The picture and its type; None: there is none."""
        try:
            with self._blobs.open(self._area, self._key()) as stream:
                content = stream.read()
        except NotFound:  # none, replaced just now, or lost
            return None
        return content, kind_of(content)

    def _key(self) -> str:
        """What the record names; an instance that a cozy-stack made may have one that it does not."""
        return str((self._record().get("avatar") or {}).get("key", AVATAR_BROUGHT))

    def _drop(self, key: str) -> None:
        """Delete what no record names any more; where the store is away it stays."""
        try:
            self._blobs.delete(self._area, [key])
        except CozyError as error:
            log.warning("a picture that nothing names stays: %s", error)


def kind_of(content: bytes) -> str:
    """The type of a picture, by its first bytes alone.

    :raises Unsupported: it is none.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[4:8] == b"ftyp" and content[8:12] in _BRANDS:
        return _BRANDS[content[8:12]]
    if content.startswith(b"BM"):
        return "image/bmp"
    raise Unsupported("An avatar is a PNG, JPEG, GIF, WebP, AVIF, HEIC or BMP picture")
