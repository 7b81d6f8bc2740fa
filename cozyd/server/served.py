"""Whom an instance serves: not while it is being deleted, blocked, or waits for new terms to be signed (docs/instances.md)."""

from collections.abc import Callable, Mapping

from cozyd.auth.values import Credentials
from cozyd.errors import Blocked, CozyError, NotFound, PaymentMissing, TermsNotSigned
from cozyd.instance import Instance

SERVED_WHEN_BLOCKED = ("/settings", "/apps", "/konnectors", "/compat", "/assets/", "/fonts/", "/favicon.ico", "/robots.txt")
SERVED_WHEN_MOVING = ("/move/",)
MOVING = frozenset(("IMPORTING", "MOVING"))


def check(instance: Instance, path: str, shown: Callable[[], Credentials] | None = None) -> None:
    """Pass, or say why the instance answers nothing on a path; the operator's tokens pass when it is blocked.

    :param shown: reads what the request shows of who is asking, which matters where it is refused; None: nothing yet.
    :raises NotFound: it is being deleted.
    :raises Blocked, TermsNotSigned: as the record says.
    """
    doc = instance.doc
    if doc.get("deleting"):
        raise NotFound("Instance not found")
    if not (doc.get("blocked") or doc.get("tos_latest")) or path.startswith(SERVED_WHEN_BLOCKED):
        return
    reason = str(doc.get("blocking_reason") or "UNKNOWN")
    if reason in MOVING and path.startswith(SERVED_WHEN_MOVING):
        return
    refused = _refusal(instance, doc, reason)
    if refused is not None and not _is_operator(instance, shown):
        raise refused


def _refusal(instance: Instance, doc: Mapping[str, object], reason: str) -> CozyError | None:
    if doc.get("blocked"):
        return PaymentMissing() if reason == PaymentMissing.REASON else Blocked(reason)
    waits = instance.settings.terms() == "late" and doc.get("onboarding_finished")
    return TermsNotSigned() if waits and instance.settings.manager_url("tos") else None


def _is_operator(instance: Instance, shown: Callable[[], Credentials] | None) -> bool:
    if shown is None:
        return False
    credentials = shown()
    try:
        return bool(credentials.bearer) and instance.auth.identify(credentials).kind == "cli"
    except CozyError:
        return False
