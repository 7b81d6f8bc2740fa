"""`/sync/shares`: calendars and address books shared with other people of this server (docs/http/sync.md)."""

import contextlib
from typing import cast

from flask import Response, redirect, request

from blueprints import _pages, feeds
from blueprints._request import Service, instance, owner
from cozyd import neighbours
from cozyd.errors import CozyError, Invalid, NotFound
from cozyd.stack import Stack

service = Service("shares", __name__, url_prefix="/sync/shares", errors="page")


@service.post("", access=owner)
def add() -> Response:
    """Share a calendar or an address book; with whom it is shared already, the right is changed."""
    _pages.check_csrf()
    try:
        member = _stack().instance(request.form.get("person", "").strip().removeprefix("https://").removeprefix("http://").rstrip("/"))
        collection = instance().pim.collection(request.form.get("collection", ""))
        neighbours.share(instance(), member, collection, read_only=request.form.get("write") != "1")
    except (NotFound, Invalid):
        return feeds.page(error=_pages.words()("shares.nobody"), status=422)
    return _back()


@service.post("/<id>/revoke", access=owner)
def revoke(id: str) -> Response:
    """Take back what she shares. What is not shared any more is fine."""
    _pages.check_csrf()
    with contextlib.suppress(NotFound):
        neighbours.revoke(_stack().instance, instance(), id)
    return _back()


@service.post("/<id>/leave", access=owner)
def leave(id: str) -> Response:
    """Have something that is shared with her no more."""
    _pages.check_csrf()
    with contextlib.suppress(CozyError):
        neighbours.leave(instance(), id)
    return _back()


def _stack() -> Stack:
    return cast(Stack, request.environ["cozyd.stack"])


def _back() -> Response:
    return cast(Response, redirect("/sync/links", 303))
