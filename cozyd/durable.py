"""Names and contents that a power loss does not take again."""

import os
from contextlib import suppress
from pathlib import Path


def sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, on the disk.

    :raises OSError: it is not there, or the disk cannot.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, for the server's own user."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):  # `exist_ok` would raise it for a folder that another thread made and a third removed
        folder.mkdir(mode=0o700)
    sync(folder.parent)
