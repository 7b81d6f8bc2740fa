"""The operator's feature flags: of one instance, of contexts, of all instances (docs/http/settings.md, section Flags)."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Response

from blueprints._admin import stack
from blueprints._documents import answer
from blueprints._request import Service, body_bytes, public
from cozyd import jsons
from cozyd.documents.store import Doc, Ref
from cozyd.errors import BadRequest, NotFound
from cozyd.settings import flags

service = Service("admin_features", __name__, url_prefix="/instances")


@service.get("/<domain>/feature/flags", access=public)
def instance_flags(domain: str) -> Response:
    """An instance's own flags."""
    return answer(stack().instance(domain).doc.get("feature_flags") or {})


@service.patch("/<domain>/feature/flags", access=public)
def change_instance_flags(domain: str) -> Response:
    """Set flags of an instance; null removes one."""
    instance = stack().instance(domain)
    found = _patched(instance.doc.get("feature_flags") or {}, _changes())
    instance.amend(feature_flags=found or None)
    return answer(found)


@service.get("/<domain>/feature/sets", access=public)
def feature_sets(domain: str) -> Response:
    """The sets of flags that a managing service gives an instance."""
    return answer(stack().instance(domain).doc.get("feature_sets") or [])


@service.put("/<domain>/feature/sets", access=public)
def put_feature_sets(domain: str) -> Response:
    """Replace them."""
    given = jsons.load(body_bytes())
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise BadRequest("A list of names is expected")
    instance = stack().instance(domain)
    instance.amend(feature_sets=sorted(given) or None)
    return answer(sorted(given))


@service.get("/feature/defaults", access=public)
def defaults() -> Response:
    """The flags of all instances."""
    return answer(_read(flags.DEFAULTS))


@service.patch("/feature/defaults", access=public)
def change_defaults() -> Response:
    """Set some; null removes one."""
    changes = _changes()
    return answer(_change(flags.DEFAULTS, lambda old: _patched(old, changes)))


@service.get("/feature/contexts/<context>", access=public)
def ratios(context: str) -> Response:
    """Which values which shares of a context's instances have."""
    return answer(_read(flags.ratios_of(context)))


@service.patch("/feature/contexts/<context>", access=public)
def change_ratios(context: str) -> Response:
    """Set shares of flags; an empty list removes a flag."""
    changes = _changes()
    for name, shares in changes.items():
        _check_shares(name, shares)
    return answer(_change(flags.ratios_of(context), lambda old: _patched(old, {name: shares or None for name, shares in changes.items()})))


@service.get("/feature/config/<context>", access=public)
def of_configuration(context: str) -> Response:
    """The flags that the configuration gives a context."""
    contexts = stack().config.contexts
    found = contexts.get(context, contexts.get("default"))
    if found is None:
        raise NotFound(f"There is no context {context}")
    return answer(flags.of_context(found))


# -- inside -------------------------------------------------------------------------------------------------------------


def _changes() -> Doc:
    changes = jsons.load_object(body_bytes())
    if any(name.startswith("_") for name in changes):
        raise BadRequest("A flag's name does not begin with _")
    return changes


def _check_shares(name: str, shares: Any) -> None:
    """Refuse what gives nobody anything.

    :raises BadRequest: no list of `{ratio, value}`, or more than the whole.
    """
    if shares is None:
        return
    ratios = [share.get("ratio") if isinstance(share, dict) else None for share in shares] if isinstance(shares, list) else [None]
    if not all(isinstance(ratio, int | float) and not isinstance(ratio, bool) and 0 <= ratio <= 1 for ratio in ratios):
        raise BadRequest(f"{name} has to be a list of ratios from 0 to 1 and values", source=name)
    if sum(ratio or 0 for ratio in ratios) > 1.000001:
        raise BadRequest(f"The ratios of {name} are more than 1 together", source=name)


def _patched(old: Mapping[str, Any], changes: Mapping[str, Any]) -> Doc:
    return {name: value for name, value in {**old, **changes}.items() if value is not None}


def _read(ref: Ref) -> Doc:
    try:
        return {name: value for name, value in stack().drivers.common.get(ref).doc.items() if not name.startswith("_")}
    except NotFound:
        return {}


def _change(ref: Ref, change: Callable[[Doc], Doc]) -> Doc:
    common = stack().drivers.common

    def write() -> Doc:
        common.make(ref.doctype)
        known = common.get_many(ref.doctype, [ref.id])[0]
        found = change(_read(ref))
        common.put(ref.doctype, {**found, "_id": ref.id} | ({"_rev": known.rev} if known is not None else {}))
        return found

    return common.retry(write)
