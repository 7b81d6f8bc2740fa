"""`metadata`: what a content says about itself beyond its first bytes, for its document (docs/workers.md, section 3)."""

from contextlib import ExitStack

from cozyd.children import CHILDREN, descriptor
from cozyd.errors import CozyError, Invalid, NotFound
from cozyd.files import File
from cozyd.instance import Instance
from cozyd.jobs.job import Job

LARGEST = 8 << 30


def run(instance: Instance, job: Job) -> None:
    """Look at a file's content, and note what was not known of it.

    :raises Invalid: its content cannot be read.
    """
    wanted = job.message if isinstance(job.message, dict) else {}
    try:
        file = instance.files.file(str(wanted.get("file")))
    except CozyError:
        return  # it was removed meanwhile
    known = file.metadata
    try:
        found = _described(instance, file, job.seconds_left())
    except NotFound:
        return
    fresh = {name: value for name, value in found.items() if name not in known or name == "datetime"}
    if fresh:
        instance.docs.retry(lambda: _note(instance, file, fresh))


def _described(instance: Instance, file: File, seconds: float) -> dict[str, object]:
    if file.blob.size > LARGEST:
        raise Invalid(f"The content is too large to be looked at: {file.blob.size} bytes")
    with ExitStack() as opened:
        content = opened.enter_context(instance.files.read(file))
        source = opened.enter_context(descriptor(content))
        found: dict[str, object] = CHILDREN.call("workers.describe:describe", {"mime": file.mime}, [source], timeout=min(seconds, 30))
        return found


def _note(instance: Instance, file: File, fresh: dict[str, object]) -> None:
    """Add to what is known of a content, unless the file has another by now."""
    now = instance.files.file(file.id)
    if now.blob.key == file.blob.key:
        instance.files.describe(now, fresh)
