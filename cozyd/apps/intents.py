"""Intents: an app asks for something to be done, and is told which apps can (docs/http/intents.md)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored
from cozyd.errors import Forbidden, Invalid

INTENTS = "io.cozy.intents"
APPS = "io.cozy.apps"


class Intents:
    """One instance's intents.

    :param installed: gives the web apps she has.
    :param known: gives apps she could install, as registries tell them; empty when they are away.
    :param host: the address of an app's host, from its slug, without a slash at the end.
    """

    def __init__(
        self,
        docs: Documents,
        installed: Callable[[], Sequence[Stored]],
        known: Callable[[], Sequence[Mapping[str, Any]]],
        host: Callable[[str], str],
    ) -> None:
        self._docs = docs
        self._installed = installed
        self._known = known
        self._host = host

    def create(self, client: str, action: str, type: str, permissions: Sequence[str]) -> Stored:
        """A new intent with the apps that can do it.

        :param client: slug of the app that asks.
        :raises Invalid: it has no action or type.
        """
        for name, value in (("action", action), ("type", type)):
            if not value:
                raise Invalid(f"{name.capitalize()} is missing", source=name)
        ref = Ref(INTENTS, self._docs.new_id())
        installed = self._installed()
        services = [
            {"slug": app.doc["slug"], "href": self._address(str(app.doc["slug"]), href, ref.id)}
            for app in installed
            for href in _hrefs(app.doc, action, type)[:1]
        ]
        body: dict[str, Any] = {
            "_id": ref.id,
            "action": action,
            "type": type,
            "permissions": list(permissions) or None,
            "client": f"{APPS}/{client}",
            "services": services or None,
            "availableApps": None if services else self._available(action, type, {app.doc["slug"] for app in installed}) or None,
        }
        return self._docs.put(INTENTS, body)

    def get(self, id: str, slug: str) -> Stored:
        """An intent, for an app that serves it.

        :raises NotFound: there is none.
        :raises Forbidden: this app does not serve it.
        """
        found = self._docs.get(Ref(INTENTS, id))
        if not any(service.get("slug") == slug for service in found.doc.get("services") or ()):
            raise Forbidden
        return found

    # -- inside -----------------------------------------------------------------------------------------------------

    def _address(self, slug: str, href: str, id: str) -> str:
        """Where the service is opened; the intent is its only parameter, and stands before the fragment."""
        parts = urlsplit(href)
        return self._host(slug) + urlunsplit(("", "", f"/{parts.path.lstrip('/')}", f"intent={id}", parts.fragment))

    def _available(self, action: str, type: str, have: set[str]) -> list[dict[str, str]]:
        found = []
        for app in self._known():
            manifest = (app.get("latest_version") or {}).get("manifest") or {}
            if app.get("type") == "webapp" and app["slug"] not in have and _hrefs(manifest, action, type):
                found.append({"slug": str(app["slug"]), "name": str(manifest.get("name") or app["slug"])})
        return found


def _hrefs(manifest: Mapping[str, Any], action: str, type: str) -> list[str]:
    """Where a manifest has this intent served."""
    return [
        str(intent.get("href") or "/")
        for intent in manifest.get("intents") or ()
        if str(intent.get("action") or "").upper() == action.upper() and any(_takes(one, type) for one in _listed(intent.get("type")))
    ]


def _listed(given: Any) -> Sequence[Any]:
    return given if isinstance(given, list) else [given]


def _takes(pattern: Any, type: str) -> bool:
    if isinstance(pattern, str) and pattern.endswith("/*"):
        return type.partition("/")[0] == pattern[:-2]
    return bool(pattern == type)
