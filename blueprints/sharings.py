"""`/sharings`: what is shared with other clouds, to be read (docs/http/sharings.md).

The documents are those of a cozy that moved in, and of calendars and address books shared on the same server.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from flask import Response, request

from blueprints import _jsonapi
from blueprints._request import Service, allow, asks, instance, principal, rule
from cozyd.auth.sets import SHARINGS
from cozyd.documents.store import Map, Query, Ref, Stored
from cozyd.errors import CozyError, Forbidden, NotFound
from cozyd.permissions import FILES, Rule, check_doctype, parse_rule

service = Service("sharings", __name__, url_prefix="/sharings")

SHARED = "io.cozy.shared"
MOST = 1000
_NOT_SHOWN = ("_id", "_rev", "credentials")


@service.get("/doctype/<doctype>", access=asks("GET"))
def by_doctype(doctype: str) -> Response:
    """The sharings with a rule on a doctype."""
    check_doctype(doctype)
    allow("GET", doctype)
    return _listed(one for one in _found({}) if doctype in _doctypes(one))


@service.get("/drives", access=rule("GET", FILES))
def drives() -> Response:
    """The shared drives that she takes part in."""
    return _listed(_found({"active": True, "drive": True}))


@service.get("/<id>", access=asks("GET"))
def show(id: str) -> Response:
    """One sharing, for who may read something of it."""
    try:
        found = instance().docs.get(Ref(SHARINGS, id))
    except NotFound:
        allow("GET", SHARINGS, {"_id": id})
        raise
    asking = principal()
    if asking.kind not in ("app", "client", "cli") or not any(asking.holds([rule]) for rule in _read_rules(found)):
        raise Forbidden
    return _jsonapi.answer(_resource(found))


# -- inside -------------------------------------------------------------------------------------------------------------


def _found(selector: Map) -> Sequence[Stored]:
    try:
        return instance().docs.find(SHARINGS, Query(selector, limit=MOST)).rows
    except NotFound:
        return ()


def _listed(found: Iterable[Stored]) -> Response:
    shown = [_resource(one) for one in found]
    return _jsonapi.answer(shown, meta={"count": len(shown)})


def _doctypes(sharing: Stored) -> set[str]:
    """What its rules are about."""
    rules = sharing.doc.get("rules")
    return {str(one.get("doctype")) for one in rules if isinstance(one, dict)} if isinstance(rules, list) else set()


def _read_rules(sharing: Stored) -> Sequence[Rule]:
    """What its rules are about, as rules to read all of that."""
    rules = sharing.doc.get("rules")
    found = []
    for one in rules if isinstance(rules, list) else ():
        if isinstance(one, dict):
            narrowed = {name: one[name] for name in ("selector", "values") if name in one}
            with suppress(CozyError):
                found.append(parse_rule("", {"type": one.get("doctype"), "verbs": ["GET"]} | narrowed))
    return found


def _resource(sharing: Stored) -> _jsonapi.Resource:
    """A sharing, without what opens the other clouds."""
    shown = {name: value for name, value in sharing.doc.items() if name not in _NOT_SHOWN}
    relationships = {"shared_docs": {"data": _shared(sharing.ref.id)}}
    links = {"self": f"/sharings/{sharing.ref.id}"}
    return _jsonapi.resource(SHARINGS, sharing.ref.id, shown, rev=sharing.rev, links=links, relationships=relationships)


def _shared(id: str) -> Sequence[Any] | None:
    """The documents of a sharing; None: nobody wants to know, or there are none."""
    if request.args.get("shared_docs", "true").lower() in ("false", "0"):
        return None
    try:
        rows = instance().docs.find(SHARED, Query({f"infos.{id}": {"$exists": True}}, limit=MOST)).rows
    except NotFound:
        return None
    named = [row.ref.id.partition("/") for row in rows if not (row.doc["infos"][id] or {}).get("removed")]
    return [{"id": name, "type": doctype} for doctype, _, name in named] or None
