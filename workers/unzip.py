"""`unzip`: unpacks an archive of hers into one of her folders (docs/workers.md, section 6).

What an archive says of itself is not believed: paths that climb, links and passwords are refused, and no more is written than
was declared and there is room for.
"""

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cozyd.errors import Invalid
from cozyd.files import Dir, tree
from cozyd.instance import Instance
from cozyd.jobs.job import Job

MOST_ENTRIES = 10_000
MOST_TIMES, FREE = 200, 100 << 20
"""How many times its own size an archive may have unpacked, beyond the first bytes, which are free."""
PIECE = 1 << 20
_BROKEN = (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, struct.error)
"""What `zipfile` and its decompressors say of bytes that are no archive."""


def run(instance: Instance, job: Job) -> None:
    """Unpack an archive, `{zip, destination}`: ids of a file and a folder. What is there already stays; the new one gets another name.

    :raises Invalid: it is none, or may not be unpacked.
    :raises QuotaExceeded: there is no room for all of it.
    :raises JobFailed: the time is over; what is unpacked by then stays.
    """
    message = job.message if isinstance(job.message, dict) else {}
    file, home = instance.files.file(str(message.get("zip") or "")), instance.files.dir(str(message.get("destination") or ""))
    with instance.files.read(file) as content:
        with _understood():
            archive = zipfile.ZipFile(content)
        with archive:
            entries = _checked(archive.infolist(), file.blob.size, home)
            with instance.files.new(size=sum(entry.file_size for entry in entries)):
                pass  # refused here, before anything is unpacked, where there is no room for all of it
            for entry in entries:
                job.check_time()
                _unpack(instance, archive, entry, home)


@contextmanager
def _understood() -> Iterator[None]:
    """:raises Invalid: the archive cannot be read."""
    try:
        yield
    except _BROKEN as cause:
        raise Invalid(f"The archive cannot be read: {cause}") from cause


def _checked(entries: Sequence[zipfile.ZipInfo], size: int, home: Dir) -> Sequence[zipfile.ZipInfo]:
    """What is in it, when all of it may be unpacked.

    :raises Invalid: it may not.
    """
    if len(entries) > MOST_ENTRIES:
        raise Invalid(f"The archive has more than {MOST_ENTRIES} entries")
    if sum(entry.file_size for entry in entries) > FREE + MOST_TIMES * size:
        raise Invalid("The archive would be too large when it is unpacked")
    for entry in entries:
        if entry.flag_bits & 1:
            raise Invalid("The archive has a password")
        tree.check_depth("/".join([home.path, *_path(entry)]))
    return [entry for entry in entries if not stat.S_ISLNK(entry.external_attr >> 16)]


def _path(entry: zipfile.ZipInfo) -> list[str]:
    """The names along an entry's path.

    :raises Invalid: it climbs, or is none.
    """
    names = [name for name in entry.filename.replace("\\", "/").split("/") if name not in ("", ".")]
    if entry.filename.startswith("/") or not names or ".." in names:
        raise Invalid(f"The archive has an entry that leads elsewhere: {entry.filename[:100]!r}")
    return [tree.check_name(name) for name in names]


def _unpack(instance: Instance, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, home: Dir) -> None:
    files, names = instance.files, _path(entry)
    folders = names if entry.is_dir() else names[:-1]
    for name in folders:
        home = _folder(instance, home, name)
    if entry.is_dir():
        return
    name = names[-1] if files.find(home, names[-1]) is None else _beside(instance, home, names[-1])
    with files.new(size=entry.file_size) as upload:
        for piece in _pieces(archive, entry):
            upload.write(piece)
        blob = upload.seal()
    files.put(home, name, blob)


def _pieces(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """An entry's content; what goes wrong where it is written is not the archive's fault, and not caught here."""
    with _understood():
        stream = archive.open(entry)
    with stream:
        while True:
            with _understood():
                piece = stream.read(PIECE)
            if not piece:
                return
            yield piece


def _folder(instance: Instance, home: Dir, name: str) -> Dir:
    found = instance.files.find(home, name)
    if isinstance(found, Dir):
        return found
    return instance.files.mkdir(home, name if found is None else _beside(instance, home, name))


def _beside(instance: Instance, home: Dir, name: str) -> str:
    """A name that says that something has the name already."""
    return instance.files.free_name(home, f"{name} - conflict - {int(instance.now().timestamp())}")
