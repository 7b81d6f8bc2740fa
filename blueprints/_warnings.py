"""What stands in the way of using an instance, as error objects: she moved, new terms wait, it is blocked (docs/http/settings.md)."""

from blueprints._jsonapi import Resource
from cozyd.instance import Instance


def listed(instance: Instance) -> list[Resource]:
    """The warnings of an instance, none for most."""
    settings = instance.settings
    found: list[Resource] = []
    moved = settings.moved_to()
    if moved is not None:
        links = {"related": moved} if moved else {}
        found.append(_warning(410, "Cozy has been moved", "moved", "This cloud has moved to a new address", links))
    if settings.terms() != "fine":
        manager = settings.manager_url("tos")
        links = {"self": manager} if manager else {}
        found.append(_warning(402, "TOS Updated", "tos-updated", "The terms of service have been updated", links))
    return found


def blocked(instance: Instance, status: int) -> list[Resource]:
    """Why nobody but the operator is served."""
    return listed(instance) or [_warning(status, "Blocked", "UNKNOWN", "This cloud is blocked", {})]


def _warning(status: int, title: str, code: str, detail: str, links: Resource) -> Resource:
    found: Resource = {"status": str(status), "title": title, "code": code, "detail": detail, "source": {}}
    return found | ({"links": links} if links else {})
