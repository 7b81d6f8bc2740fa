"""`Maintenance`: konnectors that do not work for now, as the operator or the registries tell (docs/http/registry.md)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cozyd.apps.manifest import check_slug
from cozyd.apps.registry import Registries
from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored, Write
from cozyd.errors import Invalid, NotFound

DOCTYPE = "io.cozy.konnectors.maintenance"
ACTIVE, OPTIONS = "maintenance_activated", "maintenance_options"
FLAGS = ("flag_infra_maintenance", "flag_short_maintenance", "flag_disallow_manual_exec")


class Maintenance:
    """What is known of it; the operator's word counts before the registries'.

    :param common: documents of all instances.
    :param refresh: is called when somebody asks, to have registries asked anew soon; what is known counts meanwhile.
    """

    def __init__(self, common: Documents, registries: Registries, refresh: Callable[[], None] = lambda: None) -> None:
        self._common, self._registries, self._refresh = common, registries, refresh

    def of(self, slug: str) -> Mapping[str, Any] | None:
        """Options of an app that is in maintenance; None: it works, as far as is known without asking far away."""
        own = self._own(slug)
        if own is None:
            self._refresh()
            own = self._registries.known(slug) or {}
        options = own.get(OPTIONS)
        return (options if isinstance(options, Mapping) else {}) if own.get(ACTIVE) is True else None

    def told(self, app: Mapping[str, Any]) -> dict[str, Any]:
        """A registry's app with what the operator says of it."""
        own = self._own(str(app.get("slug")))
        return dict(app) if own is None else {**app, ACTIVE: True, OPTIONS: own[OPTIONS]}

    def all(self) -> list[dict[str, Any]]:
        """Every app in maintenance, those first that the operator named."""
        own = self.own()
        named = {one["slug"] for one in own}
        return [*own, *(app for app in self._registries.maintenance() if app.get("slug") not in named)]

    # -- the operator's -------------------------------------------------------------------------------------------------

    def own(self) -> list[dict[str, Any]]:
        """What the operator has put into maintenance."""
        try:
            rows: Sequence[Stored] = self._common.all(DOCTYPE).rows
        except NotFound:
            return []
        return [_without_ids(stored) for stored in rows]

    def begin(self, slug: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Put a konnector into maintenance, or change its options.

        :raises Invalid: the slug or the options are none.
        """
        if any(not isinstance(options.get(flag, False), bool) for flag in FLAGS) or not isinstance(options.get("messages", {}), Mapping):
            raise Invalid(f"Options of a maintenance are {', '.join(FLAGS)} (true or false) and messages", source="attributes")
        body = {"slug": check_slug(slug), "type": "konnector", ACTIVE: True, OPTIONS: dict(options)}

        def step() -> None:
            old = self._stored(slug)
            self._common.commit([Write(Ref(DOCTYPE, slug), body=body, rev=old.rev if old is not None else None)])

        self._common.retry(step)
        return body

    def end(self, slug: str) -> None:
        """Have a konnector work again.

        :raises NotFound: it does.
        """

        def step() -> None:
            old = self._stored(slug)
            if old is None:
                raise NotFound(f"{slug} is not in maintenance")
            self._common.commit([Write(old.ref, rev=old.rev, deleted=True)])

        self._common.retry(step)

    def _own(self, slug: str) -> dict[str, Any] | None:
        stored = self._stored(slug)
        return None if stored is None else _without_ids(stored)

    def _stored(self, slug: str) -> Stored | None:
        try:
            return self._common.get(Ref(DOCTYPE, slug))
        except NotFound:
            return None


def _without_ids(stored: Stored) -> dict[str, Any]:
    return {name: value for name, value in stored.doc.items() if not name.startswith("_")}
