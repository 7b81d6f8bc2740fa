"""`zip`: packs files of hers, and pages of PDFs, into an archive in one of her folders (docs/workers.md, section 6)."""

from collections.abc import Mapping
from typing import Any

from cozyd.errors import CozyError, Invalid, TooLarge
from cozyd.files import File, pdf
from cozyd.files.archive import Archive, Entry, entry_of_page
from cozyd.instance import Instance
from cozyd.jobs.job import Job

MOST_FILES, MOST_PAGES, LARGEST_PAGES = 10_000, 100, 64 << 20
"""How many entries, how many of them pages of PDFs, and how many bytes these may have together: they lie in memory."""
PIECE = 1 << 20
LONGEST_PATH = 65_535
"""Bytes of a path in an archive (APPNOTE 6.3.10, section 4.4.10)."""
_MODE, _EXECUTABLE = 0o100644 << 16, 0o100755 << 16


def run(instance: Instance, job: Job) -> None:
    """Pack a selection, `{files: {path in the archive: id, or {id, page}}, dir_id, filename}`.

    :raises Invalid: it is none, or names what is not there.
    :raises TooLarge, QuotaExceeded: there is no room for it.
    :raises JobFailed: the time is over.
    """
    message = job.message if isinstance(job.message, dict) else {}
    files, name = message.get("files"), message.get("filename")
    if not isinstance(files, dict) or not files or len(files) > MOST_FILES or not isinstance(name, str):
        raise Invalid("A zip has files and a filename", source="message")
    home = instance.files.dir(str(message.get("dir_id") or ""))
    made = Archive(_entries(instance, files), instance.files.open)
    with instance.files.new(size=made.size) as upload:
        while piece := made.read(PIECE):
            job.check_time()
            upload.write(piece)
        blob = upload.seal()
    instance.files.put(home, instance.files.free_name(home, name), blob, fields={"mime": "application/zip"})


def _entries(instance: Instance, files: Mapping[str, Any]) -> list[Entry]:
    """The entries of an archive.

    :raises Invalid: a path climbs, a file or page is not there, or there are too many pages.
    :raises TooLarge: the pages are.
    """
    if sum(isinstance(wanted, dict) and "page" in wanted for wanted in files.values()) > MOST_PAGES:
        raise Invalid(f"A zip has at most {MOST_PAGES} pages of PDFs", source="files")
    found, room = [], LARGEST_PAGES
    for path, wanted in files.items():
        name, file = _name(path), _file(instance, path, wanted)
        page = wanted.get("page") if isinstance(wanted, dict) else None
        if page is None:
            found.append(Entry(name.encode(), file.blob, file.mtime, _EXECUTABLE if file.executable else _MODE))
            continue
        data = _page(instance, path, file, page)
        room -= len(data)
        if room < 0:
            raise TooLarge("The pages are too large for an archive")
        found.append(entry_of_page(name, file, page, data))
    return found


def _name(path: str) -> str:
    parts = path.strip("/").split("/")
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        raise Invalid(f"{path!r} cannot be a path in an archive", source="files")
    if len("/".join(parts).encode()) > LONGEST_PATH:
        raise Invalid("A path in the archive would be too long", source="files")
    return "/".join(parts)


def _file(instance: Instance, path: str, wanted: Any) -> File:
    try:
        return instance.files.file(str(wanted.get("id") if isinstance(wanted, dict) else wanted))
    except CozyError as cause:
        raise Invalid(f"There is no file for {path}", source="files") from cause


def _page(instance: Instance, path: str, file: File, number: Any) -> bytes:
    if file.mime != pdf.MIME or not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise Invalid(f"{path} is no page of a PDF", source="files")
    with instance.files.read(file) as content:
        return pdf.page(content, number)
