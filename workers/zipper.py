"""`zip`: packs files of hers into an archive in one of her folders (docs/workers.md, section 6)."""

from typing import Any

from cozyd.errors import CozyError, Invalid
from cozyd.files.archive import Archive, Entry
from cozyd.instance import Instance
from cozyd.jobs.job import Job

MOST_FILES = 10_000
PIECE = 1 << 20
_MODE, _EXECUTABLE = 0o100644 << 16, 0o100755 << 16


def run(instance: Instance, job: Job) -> None:
    """Pack a selection, `{files: {path in the archive: id}, dir_id, filename}`.

    :raises Invalid: it is none, or names what is not there.
    :raises QuotaExceeded: there is no room for it.
    """
    message = job.message if isinstance(job.message, dict) else {}
    files, name = message.get("files"), message.get("filename")
    if not isinstance(files, dict) or not files or len(files) > MOST_FILES or not isinstance(name, str):
        raise Invalid("A zip has files and a filename", source="message")
    home = instance.files.dir(str(message.get("dir_id") or ""))
    made = Archive([_entry(instance, path, wanted) for path, wanted in files.items()], instance.files.open)
    with instance.files.new(size=made.size) as upload:
        while piece := made.read(PIECE):
            upload.write(piece)
        blob = upload.seal()
    instance.files.put(home, instance.files.free_name(home, name), blob, fields={"mime": "application/zip"})


def _entry(instance: Instance, path: str, wanted: Any) -> Entry:
    """An entry of the archive.

    :raises Invalid: its path climbs, or its file is not there.
    """
    if isinstance(wanted, dict) and wanted.get("page"):
        raise Invalid("Pages of a PDF are not cut out here", source="files")
    parts = path.strip("/").split("/")
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        raise Invalid(f"{path!r} cannot be a path in an archive", source="files")
    try:
        file = instance.files.file(str(wanted.get("id") if isinstance(wanted, dict) else wanted))
    except CozyError as cause:
        raise Invalid(f"There is no file for {path}", source="files") from cause
    return Entry("/".join(parts).encode(), file.blob, file.mtime, _EXECUTABLE if file.executable else _MODE)
