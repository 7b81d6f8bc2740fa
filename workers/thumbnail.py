"""`thumbnail`: makes the pictures of a file, and tells those who wait for them (docs/workers.md, section 3)."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from cozyd import jsons
from cozyd.children import CHILDREN, descriptor, memory_file
from cozyd.documents.store import Change, Ref, Stored
from cozyd.errors import CozyError, Invalid, NotFound
from cozyd.files import File
from cozyd.files.thumbnails import FORMATS, PICTURED
from cozyd.instance import Instance
from cozyd.jobs.job import Job

THUMBNAILS = "io.cozy.files.thumbnails"
LARGEST, LARGEST_PSD = 100 << 20, 5 << 20
_PSD = "image/vnd.adobe.photoshop"


def run(instance: Instance, job: Job) -> None:
    """Make a file's thumbnails: those that its class has at once, or the one that was asked for.

    :raises Invalid: its content gives no picture; it is noted, and not tried again.
    """
    wanted = job.message if isinstance(job.message, dict) else {}
    file = _file(instance, wanted.get("file"))
    if file is None or file.stored.doc.get("class") not in PICTURED:
        return
    formats = _formats(file, wanted.get("format"))
    if wanted.get("format") and instance.files.thumbnails.find(file, formats[0]) is not None:
        return  # it came with the others, just after it was asked for
    try:
        pictures = _drawn(instance, file, formats, job.seconds_left())
    except NotFound:
        return  # its content was replaced or removed meanwhile: whoever did so asked for new ones
    except Invalid:
        _keep(instance, file, dict.fromkeys(FORMATS, b""))
        raise
    if _keep(instance, file, pictures):
        for format in formats:
            _tell(instance, file, format)


def _file(instance: Instance, given: Any) -> File | None:
    """The file of a message: its id, or its document."""
    id = given.get("_id") if isinstance(given, dict) else given
    try:
        return instance.files.file(str(id))
    except CozyError:
        return None


def _formats(file: File, asked: Any) -> Sequence[str]:
    if asked in FORMATS:
        return (asked,)
    return FORMATS if file.stored.doc.get("class") == "image" else FORMATS[:1]


def _drawn(instance: Instance, file: File, formats: Sequence[str], seconds: float) -> dict[str, bytes]:
    """Each format's JPEG.

    :raises Invalid: the content gives none.
    """
    if file.blob.size > (LARGEST_PSD if file.mime == _PSD else LARGEST):
        raise Invalid(f"The content is too large for a thumbnail: {file.blob.size} bytes")
    with ExitStack() as opened:
        content = opened.enter_context(instance.files.read(file))
        source = opened.enter_context(descriptor(content))
        targets = [opened.enter_context(memory_file()) for _ in formats]
        numbers = [source, *(target.fileno() for target in targets)]
        arguments = {"mime": file.mime, "formats": list(formats)}
        CHILDREN.call("workers.pictures:thumbnails", arguments, numbers, timeout=min(seconds, 60))
        for target in targets:
            target.seek(0)
        return {format: target.readall() for format, target in zip(formats, targets, strict=True)}


def _keep(instance: Instance, file: File, pictures: dict[str, bytes]) -> bool:
    """Keep pictures of a content; not those of one that is the file's no more."""
    for format, picture in pictures.items():
        instance.files.thumbnails.put(file, format, picture)
    now = _file(instance, file.id)
    if now is not None and now.blob.key == file.blob.key:
        return True
    instance.files.thumbnails.drop([file.id])
    return False


def _tell(instance: Instance, file: File, format: str) -> None:
    """An event that is told and not stored, as clients wait for it."""
    made = Stored(Ref(THUMBNAILS, file.id), "", jsons.dump({"format": format}))
    instance.docs.tell([Change("CREATED", made)])
