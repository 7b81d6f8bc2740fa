"""The operator's view of files: what they take, whether all is well with them, plain folders in and out (docs/storage.md)."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from flask import Response, request

from blueprints._admin import Steps, absolute_path, reported, stack
from blueprints._documents import answer
from blueprints._request import Service, flag, number, public
from cozyd.errors import BadRequest
from cozyd.files.checkup import ORPHAN_AGE, Mended, Progress
from cozyd.files.folders import Export, Import
from cozyd.files.fsck import Finding
from cozyd.files.rows import VERSIONS_USAGE
from cozyd.files.tree import TRASH_DIR
from cozyd.instance import Instance

service = Service("admin_files", __name__, url_prefix="/instances")

FILE_KINDS = ("file", "version")


@service.get("/<domain>/disk-usage", access=public)
def disk_usage(domain: str) -> Response:
    """What her files take, in bytes as text."""
    instance = stack().instance(domain)
    return answer(_usage(instance, trash=request.args.get("include") == "trash"))


@service.get("/<domain>/fsck", access=public)
def check(domain: str) -> Response:
    """Whether documents and contents agree: a line of JSON for each finding."""
    return _checked(stack().instance(domain), mend=False)


@service.post("/<domain>/fsck", access=public)
def mend(domain: str) -> Response:
    """As `check`, and what can be mended is."""
    return _checked(stack().instance(domain), mend=True)


@service.post("/<domain>/import-folder", access=public)
def import_folder(domain: str) -> Response:
    """Take a folder of this machine into her files; progress comes as lines of JSON."""
    instance = stack().instance(domain)
    steps = Import(instance.files).run(absolute_path(request.args.get("Folder", ""), source="Folder"), _path())
    return reported(_generated(steps))


@service.post("/<domain>/export-folder", access=public)
def export_folder(domain: str) -> Response:
    """Write her files to a folder of this machine; progress comes as lines of JSON."""
    steps = Export(stack().instance(domain).files).run(_path(), absolute_path(request.args.get("Folder", ""), source="Folder"))
    return reported(_generated(steps))


def _generated(steps: Iterator[Mapping[str, Any]]) -> Steps:
    yield from steps


def _path() -> str:
    path = request.args.get("Path") or "/"
    if not path.startswith("/"):
        raise BadRequest("Path must be absolute", source="Path")
    return path


def _usage(instance: Instance, *, trash: bool) -> dict[str, Any]:
    docs, files = instance.docs, instance.files
    used, quota = files.usage()
    versions = docs.total(VERSIONS_USAGE)
    found: dict[str, Any] = {"used": str(used), "doc_count": docs.info("io.cozy.files").count}
    found |= {"files": str(used - versions.sum), "versions": str(versions.sum), "versions_count": str(versions.count)}
    if quota is not None:
        found["quota"] = str(quota)
    if trash:
        found["trashed"] = str(files.size(files.dir(TRASH_DIR)))
    return found


def _checked(instance: Instance, *, mend: bool) -> Response:
    age = number("OrphanAge", None)
    orphan_age = ORPHAN_AGE if age is None else timedelta(seconds=age)
    steps = instance.checkup.run(mend=mend, contents=not flag("NoContents"), orphan_age=orphan_age)
    return reported(_told(steps, progress=flag("Progress"), all=not flag("FailFast")))


def _told(steps: Iterator[Finding | Mended | Progress], *, progress: bool, all: bool) -> Steps:
    """Findings, what became of them, progress, and a last line that sums up.

    :param all: do not stop at the first finding.
    """
    counts = {"findings": 0, "mended": 0}
    if progress:
        yield {"step": "begin"}
    for step in steps:
        if isinstance(step, Progress):
            if progress:
                yield {"step": step.step, "done": step.done, "of": step.of}
            continue
        counts["mended" if isinstance(step, Mended) else "findings"] += 1
        yield _mended(step) if isinstance(step, Mended) else _finding(step)
        if not all:
            break
    yield {"step": "done", **counts}


def _finding(finding: Finding) -> dict[str, Any]:
    """As the reference tells it, with id, path and what can be done."""
    found = {"type": finding.type, "id": finding.id, "path": finding.path, "mendable": finding.mendable}
    return found | {"is_file": finding.kind in FILE_KINDS, "is_version": finding.kind == "version"} | dict(finding.about)


def _mended(step: Mended) -> dict[str, Any]:
    return {"step": "mended", "type": step.finding.type, "id": step.finding.id, "path": step.finding.path}
