"""The operator's view of search: make an index anew; check documents against their descriptions (docs/search.md)."""

import hashlib
from typing import Any

from flask import Response, request

from blueprints._admin import Steps, reported, stack
from blueprints._request import Service, public
from cozyd.descriptions import described, problems
from cozyd.errors import Conflict, CozyError, NotFound
from cozyd.files.thumbnails import is_read
from cozyd.instance import Instance
from cozyd.jobs.job import NewJob

service = Service("admin_search", __name__, url_prefix="/instances")

PAGE = 500


@service.post("/<domain>/search/rebuild", access=public)
def rebuild(domain: str) -> Response:
    """Read all documents into the index again, and ask for the contents of files."""
    return reported(_rebuilt(stack().instance(domain)))


@service.get("/<domain>/doctypes/check", access=public)
def check(domain: str) -> Response:
    """Compare documents with the descriptions of their doctypes: a line of JSON for each that differs."""
    wanted = [name for name in request.args.get("Doctypes", "").split(",") if name] or list(described())
    return reported(_checked(stack().instance(domain), wanted))


def _rebuilt(instance: Instance) -> Steps:
    yield {"step": "begin"}
    instance.search.rebuild()
    asked = 0
    for doc in _documents(instance, "io.cozy.files"):
        if doc.get("type") == "file" and is_read(str(doc.get("mime", ""))) and not doc.get("encrypted"):
            asked += _ask(instance, doc)
    yield {"step": "done", "documents": instance.search.counts(), "contents": asked}


def _ask(instance: Instance, doc: dict[str, Any]) -> int:
    """Ask for the words of a content; asked for within the same minute, they are on their way."""
    id = hashlib.sha256(f"indexer {doc['_id']} {instance.now():%Y%m%d%H%M}".encode()).hexdigest()[:32]
    try:
        instance.jobs.push_new(NewJob("indexer", {"file": doc["_id"]}), id=id)
    except (Conflict, NotFound):
        return 0
    return 1


def _checked(instance: Instance, doctypes: list[str]) -> Steps:
    yield {"step": "begin"}
    looked = wrong = 0
    for doctype in doctypes:
        for doc in _documents(instance, doctype):
            looked += 1
            found = problems(doctype, doc)
            wrong += bool(found)
            for problem in found:
                yield {"doctype": doctype, "id": doc["_id"], "path": problem.path, "problem": problem.text}
    yield {"step": "done", "documents": looked, "wrong": wrong}


def _documents(instance: Instance, doctype: str) -> Any:
    """Every document of a doctype, but its design documents."""
    start, first = "", True
    while True:
        try:
            rows = instance.docs.all(doctype, start=start, limit=PAGE).rows
        except CozyError:
            return
        for stored in rows if first else rows[1:]:
            if not stored.ref.id.startswith("_design/"):
                yield stored.doc
        if len(rows) < PAGE:
            return
        start, first = rows[-1].ref.id, False
