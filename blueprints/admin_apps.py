"""The operator's view of apps: install, update, remove, list (docs/cli.md)."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from flask import Response, request

from blueprints import _jsonapi
from blueprints._admin import reported, stack
from blueprints._request import Service, flag, public
from cozyd import jsons
from cozyd.apps import DOCTYPES, Kind, Order
from cozyd.errors import BadRequest
from cozyd.instance import Instance

service = Service("admin_apps", __name__, url_prefix="/instances")


@service.get("/<domain>/apps", access=public)
def list_apps(domain: str) -> Response:
    """What is installed, web apps and konnectors."""
    apps = stack().instance(domain).apps
    kinds: tuple[Kind, ...] = ("webapp", "konnector")
    found = [stored for kind in kinds for stored in apps.list(kind)]
    return _jsonapi.answer([_jsonapi.resource(stored.ref.doctype, stored.ref.id, _shown(stored.doc), rev=stored.rev) for stored in found])


@service.post("/<domain>/apps/<slug>", access=public)
def install(domain: str, slug: str) -> Response:
    """Install an app; each state comes as a line of JSON."""
    source = request.args.get("Source") or f"registry://{slug}/stable"
    order = Order(_kind(), slug, source, acked=True, parameters=_parameters())
    return reported(_steps(stack().instance(domain), order, update=False))


@service.put("/<domain>/apps/<slug>", access=public)
def update(domain: str, slug: str) -> Response:
    """Update an app; each state comes as a line of JSON."""
    order = Order(_kind(), slug, request.args.get("Source", ""), acked=flag("PermissionsAcked"), parameters=_parameters())
    return reported(_steps(stack().instance(domain), order, update=True))


@service.delete("/<domain>/apps/<slug>", access=public)
def remove(domain: str, slug: str) -> Response:
    """Remove an app."""
    removed, is_gone = stack().instance(domain).apps.remove(_kind(), slug)
    shown = _jsonapi.resource(removed.ref.doctype, removed.ref.id, _shown(removed.doc))
    return _jsonapi.answer(shown, status=200 if is_gone else 202)


@service.post("/<domain>/fixers/service-triggers", access=public)
def fix_service_triggers(domain: str) -> Response:
    """Have each service of each app its trigger, where one is missing."""
    stack().instance(domain).apps.mend_services()
    return Response(status=204)


def _steps(instance: Instance, order: Order, *, update: bool) -> Any:
    def steps() -> Iterator[Mapping[str, Any]]:
        ways = instance.apps.update if update else instance.apps.install
        yield _shown(ways(order, lambda _: None).doc)

    return steps()


def _kind() -> Kind:
    kind = request.args.get("Kind") or "webapp"
    if kind not in DOCTYPES:
        raise BadRequest("Kind must be webapp or konnector", source="Kind")
    return cast(Kind, kind)


def _parameters() -> Mapping[str, Any] | None:
    given = request.args.get("Parameters")
    return jsons.load_object(given) if given else None


def _shown(doc: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in doc.items() if name not in ("_id", "_rev")}
