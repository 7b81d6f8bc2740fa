"""`Spool`, what a large body is received into, and the folder that one process has for such files."""

import base64
import errno
import fcntl
import hashlib
import io
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

from cozyd.errors import StorageFull, Unavailable

log = logging.getLogger("cozyd.files")

RETRY_AFTER = 10
_PASSING = frozenset((errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE))


@contextmanager
def translated() -> Iterator[None]:
    """The disk's errors as ours.

    :raises StorageFull: no room left.
    :raises Unavailable: it cannot be used now: read-only, failing, or too many files are open.
    """
    try:
        yield
    except OSError as cause:
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("The disk is full") from cause
        if cause.errno in _PASSING:
            log.error("the disk cannot be used: %s", cause)
            raise Unavailable("The storage of files cannot be used now", retry_after=RETRY_AFTER) from cause
        raise


class OwnFolder:
    """A folder below `parent` for the temporary files of one process; those of processes that have ended are removed.

    The folder's lock, which the kernel frees with the process, tells the living from the dead.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(parent):
            for left in parent.iterdir():
                _remove_left(left)
            self.path = parent / secrets.token_hex(8)
            self.path.mkdir(mode=0o700)
            self._held = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._held, fcntl.LOCK_EX)

    def close(self) -> None:
        """Give it up, with all that is in it; a second time does nothing."""
        if self._held >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._held)
            self._held = -1


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_left(left: Path) -> None:
    """Remove what a dead process left; a folder whose lock is held belongs to a living one."""
    if not left.is_dir():
        left.unlink(missing_ok=True)
        return
    descriptor = os.open(left, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
    shutil.rmtree(left, ignore_errors=True)


class Spool(io.RawIOBase):
    """A temporary file a body is received into; afterwards a stream of it. Length and MD5 are known at the end.

    It has the methods waitress wants of a body's buffer. `close` removes the file, unless a blob took it.

    :param folder: the blob store's temporary folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / f"spool-{secrets.token_hex(12)}"
        with translated():
            self._file = open(self.path, "w+b", buffering=0)  # noqa: SIM115
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    @property
    def md5(self) -> str:
        """Base64 of what has come so far."""
        return base64.b64encode(self._md5.digest()).decode()

    def append(self, data: bytes) -> None:
        """Add bytes that came.

        :raises StorageFull: there is no room for them.
        """
        with translated():
            written = 0
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        self._md5.update(data)
        self.size += len(data)

    def getfile(self) -> Self:
        """The stream of what came, from its beginning."""
        self._file.seek(0)
        return self

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    def readable(self) -> bool:
        """It is a stream to read."""
        return True

    def seekable(self) -> bool:
        """It can be read again."""
        return True

    def readinto(self, buffer: object) -> int | None:
        """See `io.RawIOBase.readinto`."""
        return self._file.readinto(cast(bytearray, buffer))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._file.tell()

    def sync(self) -> None:
        """Have every byte on the disk."""
        with translated():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Give the file up; it is removed unless a blob took it."""
        if not self.closed:
            self._file.close()
            self.path.unlink(missing_ok=True)
        super().close()
