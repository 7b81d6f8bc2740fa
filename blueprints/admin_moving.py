"""The operator brings in instances of a cozy-stack (docs/moving-in.md)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Response, request

from blueprints._admin import Steps, absolute_path, reported, stack
from blueprints._request import Service, flag, public
from cozyd.backends import open_blobs, open_documents
from cozyd.errors import Invalid
from cozyd.moving_in import Find, move_in, node_cozy
from cozyd.moving_in.contents import SwiftContainer, find_tree
from cozyd.moving_in.dumps import DumpFolder
from cozyd.moving_in.sources import Source, StoreSource
from cozyd.moving_in.way_back import write_tree
from cozyd.stack import Stack

service = Service("admin_moving", __name__, url_prefix="/instances")


@service.post("/import-cozy", access=public)
def import_cozy() -> Response:
    """Bring in instances of a cozy-stack; progress comes as lines of JSON."""
    asked = request.args
    steps = _steps(stack(), asked.get("Source", ""), asked.get("Storage", ""), asked.get("Domain", ""), dry_run=flag("DryRun"))
    return reported(steps)


@service.post("/<domain>/export-cozy", access=public)
def export_cozy(domain: str) -> Response:
    """Write her contents as the storage tree of a cozy-stack; progress comes as lines of JSON."""
    folder = absolute_path(request.args.get("Folder", ""), source="Folder")
    return reported(_begun(write_tree(stack().instance(domain), folder)))


def _begun(steps: Iterator[Mapping[str, Any]]) -> Steps:
    yield from steps


def _steps(opened: Stack, source: str, storage: str, domain: str, *, dry_run: bool) -> Steps:
    if source.startswith("/") and node_cozy.is_export(Path(source)):
        yield from _old_steps(opened, Path(source), domain, dry_run=dry_run)
        return
    with _source(opened, source) as found, _contents(opened, source, storage) as contents:
        yield from move_in(opened, found, contents, domain=domain, dry_run=dry_run)


def _old_steps(opened: Stack, export: Path, domain: str, *, dry_run: bool) -> Steps:
    """An export of the old node.js cozy goes into an instance that is there."""
    if not domain:
        raise Invalid("which instance takes the export has to be said", source="Domain")
    instance = opened.instance(domain)
    yield {"step": "begin", "dry_run": dry_run}
    troubles = 0
    for step in node_cozy.bring_in(instance, export, opened.blobs.temporary, dry_run=dry_run):
        troubles += step["step"] == "trouble"
        yield step
    yield {"step": "done", "instances": 1, "troubles": troubles}


@contextmanager
def _source(opened: Stack, address: str) -> Iterator[Source]:
    """A folder of dumps, a CouchDB, or, when no address is given, the store that is served: instances opened in place."""
    if not address or address == opened.config.storage.documents:
        yield StoreSource(opened.documents)
    elif address.startswith(("http://", "https://")):
        backend = open_documents(opened.config, opened.drivers.locks, address)
        try:
            yield StoreSource(backend)
        finally:
            backend.close()
    else:
        yield DumpFolder(absolute_path(address, source="Source"))


@contextmanager
def _contents(opened: Stack, source: str, storage: str) -> Iterator[Find]:
    """Where contents are: a folder, Swift, or, when no address is given, the folder of dumps."""
    if not storage.startswith("swift"):
        place = storage or ("" if source.startswith("http") else source)
        folder = absolute_path(place, source="Storage") if place else None
        yield lambda _, domain: find_tree(folder, domain) if folder is not None else None
        return
    config = opened.config
    blobs = open_blobs(replace(config, storage=replace(config.storage, blobs=storage)), config.storage.path / "blobs")
    try:
        yield lambda prefix, _: SwiftContainer(blobs, prefix)
    finally:
        blobs.close()
