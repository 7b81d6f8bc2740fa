"""Methods of the CalDAV and CardDAV mount that Radicale's application leaves to us (docs/dav.md has what is served of which RFC)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cozyd.errors import BadRequest, Conflict, Forbidden, Invalid, MethodNotAllowed, NotFound
from dav import collections, properties, push, reports, resources, xml
from dav.access import Environ, StartResponse, Visit
from dav.conditions import depth_of
from dav.properties import USER, D, Lister, Seen
from dav.shelves import is_shared

DEEPEST_PATH = 3


class Request:
    """One request, taken apart.

    :param parts: of the path below the mount.
    """

    def __init__(self, visit: Visit, parts: list[str], environ: Environ, start_response: StartResponse) -> None:
        self.visit = visit
        self.parts = parts
        self.environ = environ
        self.start_response = start_response
        self.method: str = environ["REQUEST_METHOD"]
        self.root: str = environ["SCRIPT_NAME"]
        prefer = f"{environ.get('HTTP_PREFER', '')},{'return=minimal' if environ.get('HTTP_BRIEF', '').lower() == 't' else ''}"
        self.minimal = "return=minimal" in prefer.replace(" ", "").lower()

    def seen(self) -> Seen:
        """The collection of the path, or what is above it.

        :raises NotFound: there is none.
        """
        collection = self.visit.collection(self.parts[1]) if len(self.parts) > 1 else None
        if collection is not None:
            self.environ["cozyd.collection_kind"] = collection.kind
        return Seen(self.visit, self.root, collection, top=not self.parts)

    def depth(self, default: str) -> str:
        """The Depth header.

        :raises BadRequest: it is none.
        """
        return depth_of(self.environ.get("HTTP_DEPTH", ""), default)[0]

    def tree(self) -> Any:
        """The body as XML."""
        return xml.parse(xml.read_body(self.environ))


def serve(request: Request) -> Iterable[bytes]:
    """Answer a request of a method that is ours.

    :raises CozyError: it is refused.
    """
    parts = request.parts
    _check_place(request)
    if parts[1:2] == [push.PLACE] and len(parts) == DEEPEST_PATH:
        push.check_method(request.method)
        return push.unregister(Seen(request.visit, request.root), parts[2], request.start_response)
    known = _RESOURCE if len(parts) == DEEPEST_PATH else _COLLECTION
    found = known.get(request.method)
    if found is None:
        raise MethodNotAllowed("This method is not served here", allow=", ".join(dict.fromkeys(("OPTIONS", *known, "DELETE"))))
    return found(request)


def _check_place(request: Request) -> None:
    """:raises BadRequest, NotFound: the path leads nowhere. Conflict: nothing can be made there (RFC 4918, section 9.7.1)."""
    try:
        check_path(request.parts)
    except NotFound as cause:
        if request.method in ("PUT", "MKCOL", "MKCALENDAR"):
            raise Conflict("There is nothing to make it in") from cause
        raise


def check_path(parts: list[str]) -> None:
    """:raises BadRequest, NotFound: the path leads nowhere here."""
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise BadRequest("The path climbs")
    if parts and parts[0] != USER:
        raise NotFound("There is no such principal")
    if len(parts) > DEEPEST_PATH:
        raise NotFound("There is nothing below a resource")


def check_removal(visit: Visit, parts: list[str]) -> None:
    """:raises BadRequest, NotFound: there is no such collection, nor anything else. Forbidden: it may not be removed."""
    check_path(parts)
    if len(parts) > 1:
        found = visit.collection(parts[1])
        if not is_shared(found.id) and not visit.manages(found, "DELETE"):
            raise Forbidden("This password may not remove it", source="need-privileges")


# -- reading ------------------------------------------------------------------------------------------------------------


def _propfind(request: Request) -> Iterable[bytes]:
    depth, tree = request.depth("infinity"), request.tree()
    if depth == "infinity" and len(request.parts) != DEEPEST_PATH:
        raise Invalid("One level at a time: Depth is 0 or 1", source="propfind-finite-depth")
    if tree is not None and tree.tag != f"{D}propfind":
        raise BadRequest("A PROPFIND has a propfind")
    names, options = xml.asked(tree), _options(tree, minimal=request.minimal)
    seen = request.seen()
    if len(request.parts) == DEEPEST_PATH:
        rows = request.visit.pim.rows(seen.of(), hrefs=[request.parts[2]])
        if not rows:
            raise NotFound("There is no such resource")
        return xml.answer_multistatus(request.start_response, [Lister(seen, names, **options)(request.parts[2], rows[0].value)])
    found = _listing(seen, names, depth, options)
    if depth_of(request.environ.get("HTTP_DEPTH", ""))[1]:
        next(found)
    return xml.answer_multistatus(request.start_response, found)


def _listing(seen: Seen, names: list[str] | None, depth: str, options: Mapping[str, Any]) -> Iterator[str]:
    yield properties.response(seen, names, **options)
    if depth == "0":
        return
    if seen.top:
        yield properties.response(Seen(seen.visit, seen.root), names, **options)
    elif seen.collection is None:
        for one in seen.visit.collections.values():
            yield properties.response(Seen(seen.visit, seen.root, one), names, **options)
    else:
        lister = Lister(seen, names, **options)
        for row in seen.visit.pim.rows(seen.collection):
            yield lister(row.key[1], row.value)


def _options(tree: Any, *, minimal: bool) -> Mapping[str, Any]:
    """How properties are told: by name only; of all, with what `include` names beside them (RFC 4918, section 9.1).

    :raises BadRequest: none are asked for.
    """
    only_names = tree is not None and tree.find(f"{D}propname") is not None
    if tree is not None and not only_names and all(tree.find(f"{D}{name}") is None for name in ("prop", "allprop")):
        raise BadRequest("A PROPFIND asks for properties")
    return {"only_names": only_names, "minimal": minimal, "more": xml.included(tree)}


def _report(request: Request) -> Iterable[bytes]:
    request.depth("0")
    tree = request.tree()
    if tree is None:
        raise BadRequest("A REPORT needs a body")
    href = request.parts[2] if len(request.parts) == DEEPEST_PATH else ""
    if href and not request.visit.pim.rows(request.seen().of(), hrefs=[href]):
        raise NotFound("There is no such resource")
    return reports.answer_report(reports.Asked(request.seen(), href, tree, minimal=request.minimal), request.start_response)


# -- changing -----------------------------------------------------------------------------------------------------------


def _proppatch(request: Request) -> Iterable[bytes]:
    if len(request.parts) == DEEPEST_PATH:
        request.seen()
        raise Invalid("The properties of resources are in their texts", source="cannot-modify-protected-property")
    return collections.change(request.visit, request.seen(), request.tree(), request.start_response, minimal=request.minimal)


def _make(request: Request) -> Iterable[bytes]:
    if len(request.parts) != 2:
        raise Invalid("Address books and calendars are made right below the principal", source="calendar-collection-location-ok")
    tree = request.tree()
    if tree is not None and tree.tag not in (f"{D}mkcol", f"{properties.C}mkcalendar"):
        raise BadRequest("The body is of another method")
    return collections.make(request.visit, request.parts[1], tree, request.method, request.start_response)


def _make_below(request: Request) -> Iterable[bytes]:
    if not request.visit.pim.has(request.parts[1]):
        raise Conflict("There is nothing to make it in")
    raise Invalid("Nothing is made inside of an address book or calendar", source="calendar-collection-location-ok")


def _of_resource(serve: Callable[..., Iterable[bytes]]) -> Callable[[Request], Iterable[bytes]]:
    return lambda request: serve(request.visit, request.seen(), request.parts[2], request.environ, request.start_response)


def _put(request: Request) -> Iterable[bytes]:
    try:
        seen = request.seen()
    except NotFound as cause:
        raise Conflict("There is no such collection to put it in") from cause
    return resources.put(request.visit, seen, request.parts[2], request.environ, request.start_response)


def _of_collection(serve: Callable[..., Iterable[bytes]]) -> Callable[[Request], Iterable[bytes]]:
    return lambda request: serve(request.visit, request.seen(), request.environ, request.start_response)


def _post(request: Request) -> Iterable[bytes]:
    """A registration for push messages, or something to add."""
    if "xml" in request.environ.get("CONTENT_TYPE", ""):
        tree = request.tree()
        if push.is_registration(tree):
            return push.register(request.seen(), tree, request.environ, request.start_response)
    return resources.post(request.visit, request.seen(), request.environ, request.start_response)


Serve = Callable[[Request], Iterable[bytes]]
_COLLECTION: Mapping[str, Serve] = {
    "GET": _of_collection(resources.get_all),
    "HEAD": _of_collection(resources.get_all),
    "POST": _post,
    "PROPFIND": _propfind,
    "PROPPATCH": _proppatch,
    "REPORT": _report,
    "MKCOL": _make,
    "MKCALENDAR": _make,
}
_RESOURCE: Mapping[str, Serve] = {
    "GET": _of_resource(resources.get),
    "HEAD": _of_resource(resources.get),
    "PUT": _put,
    "DELETE": _of_resource(resources.delete),
    "COPY": _of_resource(resources.copy),
    "MOVE": _of_resource(resources.move),
    "PROPFIND": _propfind,
    "PROPPATCH": _proppatch,
    "REPORT": _report,
    "MKCOL": _make_below,
    "MKCALENDAR": _make_below,
}
