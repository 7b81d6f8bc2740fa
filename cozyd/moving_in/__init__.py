"""`cozyd import-cozy`: instances of a cozy-stack come in whole, and what they hold is compared with where they came from.

Documents keep their revisions, conflicts, deletions and attachments; the record of the instance is written last, so nobody is
served a half of it, and a run that was cut is run again and goes on (docs/moving-in.md).
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from cozyd.documents.store import Doc, DocumentStore
from cozyd.errors import CozyError, NotFound
from cozyd.moving_in.contents import Contents
from cozyd.moving_in.documents import Documents
from cozyd.moving_in.files import Files
from cozyd.moving_in.sources import Source, Trouble
from cozyd.stack import Stack

Step = Mapping[str, Any]
"""A line of progress: `step` is `instance`, `documents`, `contents`, `compare`, `trouble`, `moved`, or `done` at last."""
Steps = Generator[Step, None, None]
Find = Callable[[str, str], Contents | None]
"""The contents of an instance, by its prefix and domain; None: there are none to be had."""


def move_in(stack: Stack, source: Source, contents: Find, *, domain: str = "", dry_run: bool = False) -> Steps:
    """Bring in the instances of a source; one that could not be is named, and the others come all the same.

    :param domain: of the one that is wanted; empty: all.
    :param dry_run: say what would come and what is wrong, write nothing.
    :raises NotFound: the source has no such instance, or none at all.
    """
    troubles, moved = 0, 0
    yield {"step": "begin", "dry_run": dry_run}
    for found in _wanted(stack, source, domain):
        steps = _move(stack, source, found, contents, dry_run=dry_run) if isinstance(found, dict) else iter([found.step])
        for step in steps:
            troubles += step["step"] == "trouble"
            moved += step["step"] == "moved"
            yield step
    yield {"step": "done", "instances": moved, "troubles": troubles}


def _wanted(stack: Stack, source: Source, domain: str) -> Sequence[Doc | Trouble]:
    """The records to bring in; those that cannot be are troubles."""
    found: list[Doc | Trouble] = []
    named: dict[str, str] = {}
    for record in source.instances():
        if isinstance(record, Trouble):
            found.append(record)
            continue
        name, prefix = record.get("domain"), record.get("prefix")
        if not isinstance(name, str) or not isinstance(prefix, str):
            found.append(Trouble("damaged_record", str(record["_id"]), "it names no domain and prefix"))
        elif not domain or domain in _hosts(record):
            found.append(_checked(stack, source, record, named))
    if domain and not any(isinstance(one, dict) for one in found) and not any(isinstance(one, Trouble) for one in found):
        raise NotFound(f"{domain} is no instance of the source")
    return found


def _checked(stack: Stack, source: Source, record: Doc, named: dict[str, str]) -> Doc | Trouble:
    """A record whose host names are free here, and in what came before it."""
    domain, prefix = record["domain"], record["prefix"]
    if not source.doctypes(prefix):
        return Trouble("missing_databases", domain, f"the source has no database of {prefix}")
    for host in _hosts(record):
        if host in named:
            return Trouble("same_domain", domain, f"{host} is a host name of {named[host]} too, which came first ({prefix} is left out)")
        known = stack.find_prefix(host)
        if known not in (None, prefix):
            return Trouble("same_domain", domain, f"{host} belongs to an instance that is here already")
    named.update(dict.fromkeys(_hosts(record), str(domain)))
    return record


def _hosts(record: Doc) -> Sequence[str]:
    old = record.get("old_domain")
    return [record["domain"], *(record.get("domain_aliases") or ()), *([old] if old else ())]


def _move(stack: Stack, source: Source, record: Doc, contents: Find, *, dry_run: bool) -> Iterator[Step]:
    domain, prefix = record["domain"], record["prefix"]
    yield {"step": "instance", "domain": domain}
    target = None if dry_run else _open(stack, prefix)
    try:
        documents = Documents(source, prefix, target)
        yield from documents.copy()
        yield from Files(contents(prefix, domain), stack.blobs, prefix, documents.files).copy(domain, dry_run=dry_run)
        if target is not None:
            yield from documents.compare()
            stack.take_over(record)
    except CozyError as error:
        yield Trouble("cut", domain, error.detail).step
        return
    yield {"step": "moved", "domain": domain, **documents.counts}


def _open(stack: Stack, prefix: str) -> DocumentStore:
    try:
        return stack.documents.open(prefix)
    except NotFound:
        return stack.documents.create(prefix)
