"""`indexer`: reads the words of a file's content into the search index (docs/search.md)."""

from contextlib import ExitStack

from cozyd.children import CHILDREN, descriptor
from cozyd.errors import CozyError, NotFound
from cozyd.instance import Instance
from cozyd.jobs.job import Job

LARGEST = 100 << 20


def run(instance: Instance, job: Job) -> None:
    """Index the words of a file.

    :raises Invalid: its content is not what its type says.
    """
    wanted = job.message if isinstance(job.message, dict) else {}
    try:
        file = instance.files.file(str(wanted.get("file")))
    except CozyError:
        return  # it was removed meanwhile
    if file.blob.size > LARGEST:
        return
    try:
        with ExitStack() as opened:
            content = opened.enter_context(instance.files.read(file))
            source = opened.enter_context(descriptor(content))
            words = CHILDREN.call("workers.texts:text", {"mime": file.mime}, [source], timeout=min(job.seconds_left(), 30))
    except NotFound:
        return
    instance.search.put_content(file.id, file.blob.key.partition("/")[2], words)
