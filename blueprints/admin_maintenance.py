"""The operator's konnectors in maintenance (docs/http/registry.md)."""

from typing import Any

from flask import Response, request

from blueprints import _jsonapi
from blueprints._admin import stack
from blueprints._request import Service, body_bytes, public
from cozyd import jsons
from cozyd.apps.maintenance import DOCTYPE

service = Service("admin_maintenance", __name__, url_prefix="/konnectors/maintenance")


@service.get("", access=public)
def list_maintenance() -> Response:
    """Those that the operator named, and with `Context` those that the registries tell."""
    rows = [_resource(one | {"level": "stack"}) for one in stack().apps.maintenance.own()]
    if request.args.get("Context"):
        rows += [_resource({**one, "level": "registry"}) for one in stack().apps.registries.maintenance()]
    return _jsonapi.answer(rows, meta={"count": len(rows)})


@service.put("/<slug>", access=public)
def begin_maintenance(slug: str) -> Response:
    """Put a konnector into maintenance; the attributes are its options."""
    attributes, _ = _jsonapi.attributes_of(jsons.load_object(body_bytes()))
    stack().apps.maintenance.begin(slug, attributes)
    return Response(status=204)


@service.delete("/<slug>", access=public)
def end_maintenance(slug: str) -> Response:
    """Have a konnector work again."""
    stack().apps.maintenance.end(slug)
    return Response(status=204)


def _resource(one: dict[str, Any]) -> dict[str, Any]:
    return _jsonapi.resource(DOCTYPE, str(one["slug"]), one)
