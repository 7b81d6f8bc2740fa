"""Folders of jobs: each is removed when its job ends, and what processes that were killed left is swept at the next start."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "cozyd-job-"
LOCK = "lock"
"""A file in each folder; whoever uses the folder holds it, and the system frees it when that process dies."""
BEING_MADE = 3600.0
"""Seconds for which a folder without its lock file is thought to be just made."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of one job."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name, (Path(name) / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def sweep() -> int:
    """Remove the folders that nobody uses any more; how many there were."""
    return sum(_removed(folder) for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def _removed(folder: Path) -> bool:
    """Whether a folder was one of ours that was left behind, and is gone now."""
    with suppress(OSError):
        about = folder.lstat()
        if about.st_uid != os.getuid() or folder.is_symlink() or not folder.is_dir():
            return False
        if not (folder / LOCK).exists() and time.time() - about.st_mtime < BEING_MADE:
            return False
        with (folder / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        return True
    return False
