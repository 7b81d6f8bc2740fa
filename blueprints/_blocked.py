"""What is answered in the name of an instance that serves nobody: blocked, moving, or with terms to sign (docs/instances.md)."""

from flask import Response, request

from blueprints import _pages, _warnings
from blueprints._answers import redirect
from blueprints._documents import answer as json_answer
from blueprints._request import instance, logged_in
from cozyd.errors import Blocked, TermsNotSigned

_MOVING = frozenset(("IMPORTING", "MOVING"))
_SENTENCES = {"LOGIN_FAILED": "blocked.login", "PAYMENT_FAILED": "blocked.payment"}


def answer(error: Blocked | TermsNotSigned) -> Response:
    """A bare list of error objects for programs, a page or the way to who can help for people."""
    for_program = "json" in request.headers.get("Accept", "")
    if isinstance(error, TermsNotSigned):
        return json_answer(_warnings.listed(instance()), error.status) if for_program else redirect(_manager("tos"), 302)
    if error.reason in _MOVING:
        return _moving(error) if for_program else redirect(f"{request.host_url}move/importing", 302)
    if error.reason == "LOGIN_FAILED":
        return _page(error)
    if for_program:
        return json_answer(_warnings.blocked(instance(), error.status), error.status)
    manager = _manager("blocked")
    return redirect(manager, 302) if manager and logged_in() is not None else _page(error)


def _manager(page: str) -> str:
    return instance().settings.manager_url(page)


def _moving(error: Blocked) -> Response:
    return json_answer({"error": _pages.words()("blocked.moving")}, error.status)


def _page(error: Blocked) -> Response:
    text = _pages.words()(_SENTENCES.get(error.reason, "blocked.unknown"))
    return _pages.notice("blocked.title", text, error.status, contact=str(instance().context.get("support_address") or ""))
