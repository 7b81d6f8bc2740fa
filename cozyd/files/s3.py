"""`S3Blobs`: contents in one bucket of an S3 server, each an object `<area>/<key>`, written once (docs/storage.md)."""

import base64
import io
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

from cozyd.config import ConfigError
from cozyd.errors import NotFound, RangeNotSatisfiable, StorageFull, Unavailable
from cozyd.files.blobs import NO_NOTES, Blob, NewBlob, Notes, is_key
from cozyd.files.remote import RETRY_AFTER, Answer, Gate, Refused, RemoteBlob, RemoteStream, noted
from cozyd.files.spool import OwnFolder, Spool

log = logging.getLogger("cozyd.files")

LARGEST, LARGEST_COPIED = 5 << 40, 5 << 30
PART, MOST_PARTS = 16 << 20, 10_000
"""Bytes that are sent at once, and held in memory meanwhile, and how many such parts an object may have."""
TIMEOUT, PING_TIMEOUT = 10.0, 2.0
AT_ONCE = 1000
KNOWN = ("AccessKey", "SecretKey", "Region")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the bucket is, and who we are there."""

    host: str
    secure: bool
    bucket: str
    key: str
    secret: str
    region: str

    @classmethod
    def parse(cls, address: str, password: str = "") -> "Access":
        """Read `s3+https://host/bucket?AccessKey=...&SecretKey=...&Region=...`; `s3://` without TLS.

        :param password: wins over the secret key in the address.
        :raises ConfigError: a parameter is unknown, or something is missing.
        """
        parts = urlsplit(address)
        options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if unknown := sorted(options.keys() - set(KNOWN)):
            raise ConfigError(f"storage.blobs: unknown parameter {unknown[0]}; known: {', '.join(KNOWN)}")
        bucket, secret = parts.path.strip("/"), password or options.get("SecretKey", "")
        if not parts.netloc or not bucket or "/" in bucket:
            raise ConfigError("storage.blobs: S3 needs a host and a bucket: s3+https://host/bucket")
        if not options.get("AccessKey") or not secret:
            raise ConfigError("storage.blobs: S3 needs AccessKey and SecretKey, or storage.blobs_password_file")
        return cls(parts.netloc, parts.scheme == "s3+https", bucket, options["AccessKey"], secret, options.get("Region", "us-east-1"))


class _Body:
    """An object on its way; its place among the requests is given back when it ends."""

    def __init__(self, response: Any, gate: Gate) -> None:
        self.headers: Mapping[str, str] = response.headers
        self._response, self._gate = response, gate
        self._left = int(self.headers["content-length"])
        self._ended = False

    def read(self, count: int) -> bytes:
        """See `Answer.read`."""
        from urllib3.exceptions import HTTPError

        try:
            data: bytes = self._response.read(min(count, self._left))
        except (OSError, HTTPError) as cause:
            log.warning("the S3 server cut an object: %s", cause)
            data = b""
        self._left -= len(data)
        if not self._left or not data:
            self.close()
        return data

    def close(self) -> None:
        """See `Answer.close`; a connection with nothing left on it is used again."""
        if not self._ended:
            self._ended = True
            if self._left:
                self._response.close()
            self._response.release_conn()
            self._gate.leave()


class S3Blobs:
    """Contents in S3.

    :param address: `s3://...`, see `Access.parse`. The bucket is the operator's to make.
    :param password: wins over the secret key in the address.
    :param folder: for temporary files.
    :param parallel: how many requests at once; others wait a little, then are told to come back.
    """

    keeps_small: ClassVar[bool] = True

    def __init__(self, address: str, folder: Path, *, password: str = "", parallel: int = 6) -> None:
        self._access = Access.parse(address, password)
        self._bucket = self._access.bucket
        self._gate = Gate(parallel)
        self._pool, self._client = self._connect(TIMEOUT, parallel)
        self._own = OwnFolder(folder)

    def _connect(self, timeout: float, parallel: int) -> tuple[Any, Any]:
        from minio import Minio
        from urllib3 import PoolManager, Retry, Timeout

        access = self._access
        pool = PoolManager(timeout=Timeout(connect=timeout, read=timeout), maxsize=parallel, retries=Retry(0))
        return pool, Minio(access.host, access.key, access.secret, secure=access.secure, region=access.region, http_client=pool)

    @property
    def temporary(self) -> Path:
        """See `BlobStore.temporary`."""
        return self._own.path

    def close(self) -> None:
        """Give up connections and the temporary folder."""
        self._pool.clear()
        self._own.close()

    def new(self, area: str, key: str, *, size: int | None = None, type: str = "", about: Notes = NO_NOTES) -> NewBlob:
        """See `BlobStore.new`.

        :raises StorageFull: `size` is more than the disk for temporary files has left.
        """
        if size is not None and size > shutil.disk_usage(self.temporary).free:
            raise StorageFull("The disk is full")
        return cast(NewBlob, RemoteBlob(partial(self._send, area), self.temporary, key, type, about, LARGEST))

    def _send(self, area: str, blob: Blob, source: Spool, type: str, about: Notes) -> None:
        """Put an object; each part is sent with its hash, which the server compares.

        :raises Unavailable: it is not there as it should be; nothing of it is left.
        """
        source.seek(0)
        part = max(PART, -(-blob.size // MOST_PARTS))
        options = {"content_type": type or "application/octet-stream", "part_size": part, "num_parallel_uploads": 1}
        name, metadata = f"{area}/{blob.key}", noted(about, "")
        made = self._told(lambda: self._client.put_object(self._bucket, name, source, blob.size, metadata=metadata, **options))
        etag = str(made.etag).strip('"')
        if "-" not in etag and etag != base64.b64decode(blob.md5).hex():
            log.error("the S3 server answered the ETag %s for %s of %s", etag, name, blob.md5)
            self.delete(area, [blob.key])
            raise Unavailable("The file store did not keep the content", retry_after=RETRY_AFTER)

    def open(self, area: str, key: str, *, start: int = 0, stop: int | None = None, about: Notes = NO_NOTES) -> BinaryIO:
        """See `BlobStore.open`."""
        if not is_key(key):
            raise NotFound("The content is gone")
        name = f"{area}/{key}"
        if stop is not None and stop <= start:
            return self._nothing(name, start)
        headers = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if start or stop is not None else {}
        try:
            answer = self._get(name, headers)
        except Refused as error:
            if error.status != 416:
                raise _unreadable(error) from error
            return self._nothing(name, start)
        if any(answer.headers.get(header.lower(), value) != value for header, value in noted(about, "X-Amz-Meta-").items()):
            answer.close()
            raise NotFound("The content is of another")
        stream = RemoteStream(partial(self._get, name), start, answer, answer.headers["etag"], int(answer.headers["content-length"]))
        try:
            stream.begin()
        except BaseException:
            stream.close()
            raise
        return cast(BinaryIO, stream)

    def _get(self, name: str, headers: Mapping[str, str]) -> Answer:
        self._gate.enter()
        try:
            return _Body(self._attempt(lambda: self._client.get_object(self._bucket, name, request_headers=dict(headers))), self._gate)
        except BaseException:
            self._gate.leave()
            raise

    def _nothing(self, name: str, start: int) -> BinaryIO:
        """No byte of an object that is there."""
        try:
            size = int(self._ask(lambda: self._client.stat_object(self._bucket, name)).size)
        except Refused as error:
            raise _unreadable(error) from error
        if start > size or (start == size and size):
            raise RangeNotSatisfiable(size)
        return io.BytesIO()

    def copy(self, area: str, blob: Blob, new: str, *, about: Notes = NO_NOTES) -> Blob:  # noqa: ARG002
        """See `BlobStore.copy`: the server copies, with what is noted."""
        from minio.commonconfig import ComposeSource, CopySource

        source, target = f"{area}/{blob.key}", f"{area}/{new}"

        def step() -> Any:
            if blob.size <= LARGEST_COPIED:
                return self._client.copy_object(self._bucket, target, CopySource(self._bucket, source))
            return self._client.compose_object(self._bucket, target, [ComposeSource(self._bucket, source)])

        try:
            self._ask(step)
        except Refused as error:
            raise _unreadable(error) from error
        return Blob(new, blob.size, blob.md5)

    def adopt(self, area: str, key: str, file: Path) -> bool:  # noqa: ARG002
        """See `BlobStore.adopt`: never, its contents lie elsewhere."""
        return False

    def delete(self, area: str, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`."""
        self._delete(f"{area}/{key}" for key in keys)

    def _delete(self, names: Iterable[str]) -> None:
        from minio.deleteobjects import DeleteObject

        left = iter(names)
        while some := [DeleteObject(name) for name in islice(left, AT_ONCE)]:
            failed = self._told(lambda some=some: list(self._client.remove_objects(self._bucket, some)))  # type: ignore[misc]
            if failed := [error for error in failed if error.code != "NoSuchKey"]:
                log.error("the S3 server did not delete %s: %s", failed[0].name, failed[0].message)
                raise Unavailable("The file store did not remove everything", retry_after=RETRY_AFTER)

    def list(self, area: str, under: str = "") -> Iterator[tuple[str, int, datetime]]:
        """See `BlobStore.list`."""
        after = ""
        while True:
            listed = partial(self._client.list_objects, self._bucket, f"{area}/{under}", recursive=True, start_after=after or None)
            page = self._told(lambda listed=listed: list(islice(listed(), AT_ONCE)))  # type: ignore[misc]
            for found in page:
                yield found.object_name.removeprefix(f"{area}/"), found.size, found.last_modified.astimezone(UTC)
            if len(page) < AT_ONCE:
                return
            after = page[-1].object_name

    def destroy(self, area: str) -> None:
        """See `BlobStore.destroy`."""
        self.delete(area, [key for key, _, _ in self.list(area)])

    def ping(self) -> None:
        """See `BlobStore.ping`."""
        pool, client = self._connect(PING_TIMEOUT, 1)
        try:
            there = self._told(lambda: client.bucket_exists(self._bucket))
        finally:
            pool.clear()
        if not there:
            raise Unavailable(f"There is no bucket {self._bucket}")

    # -- requests ---------------------------------------------------------------------------------------------------

    def _ask(self, request: Callable[[], T]) -> T:
        """One request whose answer is small.

        :raises Refused, Unavailable: it failed.
        """
        self._gate.enter()
        try:
            return self._attempt(request)
        finally:
            self._gate.leave()

    def _told(self, request: Callable[[], T]) -> T:
        """As `_ask`; refusals as callers are told of them."""
        try:
            return self._ask(request)
        except Refused as error:
            raise error.told() from error

    def _attempt(self, request: Callable[[], T]) -> T:
        from minio.error import MinioException, S3Error, ServerError
        from urllib3.exceptions import HTTPError, MaxRetryError
        from urllib3.exceptions import TimeoutError as Urllib3Timeout

        try:
            found = request()
        except S3Error as error:
            self._gate.answered()
            raise Refused(error.response.status, f"{error.code} {error.message}") from error
        except MinioException as error:
            self._gate.answered()
            raise Refused(error.status_code if isinstance(error, ServerError) else 503, str(error)) from error
        except (OSError, HTTPError) as cause:
            reason = cause.reason if isinstance(cause, MaxRetryError) else cause
            raise self._gate.unanswered(cause, in_vain=isinstance(reason, Urllib3Timeout | TimeoutError)) from cause
        self._gate.answered()
        return found


def _unreadable(error: Refused) -> Exception:
    return NotFound("The content is gone") if error.status == 404 else error.told()
