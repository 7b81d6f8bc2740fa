"""Services of web apps as triggers: each one of the manifest that says when it runs has one, with worker `service`."""

import logging
from collections.abc import Mapping
from typing import Any

from cozyd.documents.store import Doc
from cozyd.errors import CozyError, NotFound
from cozyd.jobs import Jobs
from cozyd.jobs.triggers import NewTrigger

log = logging.getLogger("cozyd.apps")

WORKER = "service"
BY_HAND = "@at 2000-01-01T00:00:00.000Z"
_SAME = ("type", "file", "trigger", "debounce")


class Services:
    """One instance's services.

    :param jobs: makes their triggers.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def follow(self, slug: str, old: Doc, new: Doc) -> dict[str, Any]:
        """Have the triggers that the new document's services want; the services with the ids of these.

        :param old: the document before, empty of a first install.
        :param new: the document now, empty of an app that is removed.
        """
        before, after = _of(old), _of(new)
        found: dict[str, Any] = {}
        for name, service in after.items():
            known = before.get(name)
            if known is not None and all(known.get(key) == service.get(key) for key in _SAME) and self._is_there(known):
                found[name] = {**service, "trigger_id": known["trigger_id"]}
                continue
            self._end(known)
            found[name] = {**service, "trigger_id": self._begin(slug, name, service)}
        for name, service in before.items():
            if name not in after:
                self._end(service)
        return found

    def _begin(self, slug: str, name: str, service: Mapping[str, Any]) -> str:
        when = str(service.get("trigger") or "").strip()
        if not when or when == BY_HAND:
            return ""
        type, _, arguments = when.partition(" ")
        message, debounce = {"slug": slug, "name": name}, str(service.get("debounce") or "")
        try:
            self._jobs.worker(WORKER)
            new = NewTrigger(type, arguments.strip(), WORKER, message, debounce, made_by=slug, changed_by=slug)
            return self._jobs.triggers.create(new).id
        except CozyError as error:
            log.warning("the service %s of %s has no trigger: %s", name, slug, error)
            return ""

    def _is_there(self, service: Mapping[str, Any]) -> bool:
        """Whether a service has its trigger: it may have been deleted, or could not be made then."""
        try:
            self._jobs.triggers.get(str(service.get("trigger_id") or ""))
        except NotFound:
            return False
        return True

    def _end(self, service: Mapping[str, Any] | None) -> None:
        id = str((service or {}).get("trigger_id") or "")
        if not id:
            return
        try:
            self._jobs.triggers.delete(id)
        except NotFound:
            return


def _of(doc: Doc) -> dict[str, dict[str, Any]]:
    found = doc.get("services")
    return {name: service for name, service in found.items() if isinstance(service, dict)} if isinstance(found, dict) else {}
