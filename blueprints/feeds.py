"""`/sync/links`: secret addresses for reading calendars and address books; the calendar of birthdays (docs/http/sync.md)."""

import contextlib
import hashlib
from typing import cast

from flask import Response, redirect, request

from blueprints import _pages
from blueprints._request import Service, by_secret, instance, owner
from cozyd import neighbours
from cozyd.errors import Conflict, Invalid, NotFound
from cozyd.pim import birthdays
from cozyd.stack import Stack

service = Service("links", __name__, url_prefix="/sync", errors="page")
NAMES = {"contacts": "kind.contacts", "calendar": "kind.calendar", birthdays.ID: "kind.birthdays"}


@service.get("/feeds/<file>", access=by_secret)
def read(file: str) -> Response:
    """The file of a secret address; programs that look again every hour are answered 304 while nothing has changed."""
    key, _, ending = file.rpartition(".")
    pim = instance().pim
    feed, shown = pim.feeds.open(key)
    if feed.file != f"{key}.{ending}":
        raise NotFound("There is no such link")
    state = "\0".join([feed.name, *(f"{one.id} {one.token}" for one in shown)])
    answer = Response(status=200, content_type=f"text/{'calendar' if feed.kind == 'calendar' else 'vcard'}; charset=utf-8")
    answer.set_etag(hashlib.sha256(state.encode()).hexdigest()[:32])
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.headers["X-Robots-Tag"] = "noindex"
    answer.headers["Referrer-Policy"] = "no-referrer"
    if request.if_none_match.contains_weak(answer.get_etag()[0] or ""):
        answer.status_code = 304
    elif request.method != "HEAD":
        answer.set_data(pim.exported(shown, name=feed.name))
    return answer


@service.get("/links", access=owner)
def links() -> Response:
    """Her links, and the form for another."""
    return page()


@service.post("/links", access=owner)
def add_link() -> Response:
    """Make a link for what is ticked."""
    _pages.check_csrf()
    try:
        instance().pim.feeds.make(request.form.get("name", ""), request.form.getlist("collection"))
    except (Invalid, NotFound):
        return page(error=_pages.words()("links.empty"), status=422)
    return _back()


@service.post("/links/<id>/reset", access=owner)
def reset_link(id: str) -> Response:
    """Another address for the same; the old one ends."""
    _pages.check_csrf()
    with contextlib.suppress(NotFound):
        instance().pim.feeds.reset(id)
    return _back()


@service.post("/links/<id>/remove", access=owner)
def remove_link(id: str) -> Response:
    """End a link. One that is gone already is fine."""
    _pages.check_csrf()
    with contextlib.suppress(NotFound):
        instance().pim.feeds.remove(id)
    return _back()


@service.post("/birthdays", access=owner)
def toggle_birthdays() -> Response:
    """Make the calendar of birthdays, or take it away: `on` says which."""
    _pages.check_csrf()
    pim = instance().pim
    with contextlib.suppress(NotFound, Conflict):
        if request.form.get("on") == "1":
            pim.make("calendar", {"name": _pages.words()("kind.birthdays")}, id=birthdays.ID)
        else:
            pim.remove(pim.collection(birthdays.ID))
    return _back()


def _back() -> Response:
    return cast(Response, redirect("/sync/links", 303))


def page(*, error: str = "", status: int = 200) -> Response:
    """The page of links, birthdays and shares."""
    token, words, pim = _pages.csrf_token(), _pages.words(), instance().pim
    names = {one.id: one.props.get("name") or words(NAMES.get(one.id, "kind.other")) for one in pim.collections()}
    stack: Stack = request.environ["cozyd.stack"]
    shown = _pages.page(
        "links.html",
        status,
        name=instance().public_name(),
        csrf=token,
        error=error,
        feeds=pim.feeds.all(),
        calendars=[(one.id, names[one.id]) for one in pim.collections() if one.kind == "calendar"],
        books=[(one.id, names[one.id]) for one in pim.collections() if one.kind == "book"],
        names=lambda ids: ", ".join(names[id] for id in ids if id in names),
        base=f"{request.scheme}://{request.host}/sync/feeds/",
        birthdays=pim.has(birthdays.ID),
        given=[(one, names.get(one.collection, "")) for one in neighbours.given(instance())],
        taken=[(one.id, str(one.own.doc.get("description", "")), one.owner.domain) for one in neighbours.taken(stack.instance, instance())],
    )
    return _pages.with_csrf(shown, token, "/sync")
