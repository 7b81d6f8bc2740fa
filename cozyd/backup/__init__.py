"""Backups of one instance: documents, contents and record, made while it is used and put back while others are served.

Contents are copied first, and once more those that came meanwhile; then, while no file may change, the last of them and the
documents: so a backup has every content that a document in it names (docs/backup.md).
"""

import io
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cozyd import __version__, jsons
from cozyd.backup.source import Source, open_backup
from cozyd.backup.target import Entry, Target, create, md5_of
from cozyd.errors import BadRequest, Invalid, NotFound
from cozyd.files import lock_name
from cozyd.files.tree import write_time
from cozyd.instance import Instance
from cozyd.records import check_host, is_prefix
from cozyd.stack import Stack

FORMAT = 1
CONTENTS = "contents/"
PASSES = 2
REPORT_EVERY = 100

Step = dict[str, Any]
"""A line of progress: `step` is `contents`, `documents`, or `done` at last."""
Steps = Generator[Step, None, None]


def backup(stack: Stack, domain: str, target: Path) -> Steps:
    """Write a backup; what the target held before stays good until the new one is whole.

    :param target: a file whose name ends in `.tar`, else a folder; contents that a folder has already are not copied again.
    :raises NotFound: there is no such instance.
    :raises Invalid: the target can be neither.
    :raises StorageFull, Unavailable: the target cannot be written.
    """
    instance = stack.instance(domain)
    now = stack.now()
    stamp = now.strftime("%Y%m%dT%H%M%S")
    documents, record = f"documents-{stamp}", f"instance-{stamp}.json"
    with create(target) as made:
        for _ in range(PASSES):
            yield from _copy_contents(stack, instance, made)
        yield {"step": "documents"}
        with stack.drivers.locks.hold(lock_name(instance.prefix), wait=60):
            for _ in _copy_contents(stack, instance, made):
                continue
            with made.scratch() as path:
                stack.documents.backup(instance.prefix, str(path))
                made.take(documents, path)
            made.add(record, io.BytesIO(jsons.dump(dict(instance.doc))))
        head = {"format": FORMAT, "domain": instance.domain, "made_at": write_time(now), "version": __version__}
        made.finish(head | {"documents": documents, "instance": record})
        yield _done(made.entries)


def restore(stack: Stack, domain: str, path: Path) -> Steps:
    """Put a backup in the place of its instance, or make the instance of it. Its documents begin a new epoch.

    Contents come first; until all of them are there, verified, nothing of the instance is changed.
    :raises Invalid: it is no whole backup, or not of this domain.
    :raises Conflict: another instance has one of its host names.
    """
    with open_backup(path, stack.blobs.temporary) as source:
        record = _record(source, _full_domain(stack, domain))
        stack.check_restorable(record)
        yield from _put_contents(stack, record["prefix"], source)
        yield {"step": "documents"}
        with _verified(source, source.head["documents"]) as documents:
            stack.reinstate(record, documents)
        yield _done(source.entries)


def _copy_contents(stack: Stack, instance: Instance, made: Target) -> Iterator[Step]:
    """Copy the contents that are not in the backup yet."""
    found = [(key, size) for key, size, _ in stack.blobs.list(instance.prefix) if not made.has(CONTENTS + key, size)]
    for number, (key, _) in enumerate(found, 1):
        try:
            content = stack.blobs.open(instance.prefix, key)
        except NotFound:
            continue  # it went since; so did the document that named it
        with content:
            made.add(CONTENTS + key, content)
        if number % REPORT_EVERY == 0 or number == len(found):
            yield {"step": "contents", "done": number, "of": len(found)}


def _put_contents(stack: Stack, area: str, source: Source) -> Iterator[Step]:
    """Store the contents that are not there; a sealed one never changes."""
    have = {key: size for key, size, _ in stack.blobs.list(area)}
    wanted = {name.removeprefix(CONTENTS): entry for name, entry in source.entries.items() if name.startswith(CONTENTS)}
    missing = [(key, entry) for key, entry in wanted.items() if have.get(key) != entry.size]
    for number, (key, entry) in enumerate(missing, 1):
        with source.open(CONTENTS + key) as content, stack.blobs.new(area, key, size=entry.size) as blob:
            blob.fill(content)
            sealed = blob.seal()
        if (sealed.size, sealed.md5) != (entry.size, entry.md5):
            stack.blobs.delete(area, [key])
            raise Invalid(f"The backup is damaged: {CONTENTS}{key} is not what was written")
        if number % REPORT_EVERY == 0 or number == len(missing):
            yield {"step": "contents", "done": number, "of": len(missing)}


def _full_domain(stack: Stack, domain: str) -> str:
    """The domain that an alias stands for; a host that is nobody's is one itself."""
    try:
        return stack.instance(domain).domain
    except NotFound:
        return check_host(domain)


def _record(source: Source, domain: str) -> dict[str, Any]:
    """The instance record of a backup.

    :raises Invalid: of another format or domain.
    """
    head = source.head
    if head.get("format") != FORMAT:
        raise Invalid(f"The backup has format {head.get('format')!r}; this version reads format {FORMAT}")
    if head.get("domain") != domain:
        raise Invalid(f"The backup is of {head.get('domain')}, not of {domain}")
    try:
        with _verified(source, head["instance"]) as path:
            record = jsons.load_object(path.read_bytes())
    except (BadRequest, KeyError) as cause:
        raise Invalid("The backup is damaged: it has no record of the instance") from cause
    if record.get("domain") != domain or not is_prefix(record.get("prefix")) or "documents" not in head:
        raise Invalid("The backup is damaged: its record is of another instance")
    return {name: value for name, value in record.items() if name not in ("_id", "_rev")}


@contextmanager
def _verified(source: Source, name: str) -> Iterator[Path]:
    """An entry as a file.

    :raises Invalid: it is not what was written.
    """
    with source.as_file(name) as path:
        if md5_of(path) != source.entries[name].md5:
            raise Invalid(f"The backup is damaged: {name} is not what was written")
        yield path


def _done(entries: Mapping[str, Entry]) -> Step:
    contents = [entry for name, entry in entries.items() if name.startswith(CONTENTS)]
    return {"step": "done", "contents": len(contents), "bytes": sum(entry.size for entry in entries.values())}
