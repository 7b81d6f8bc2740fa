"""MKCALENDAR, extended MKCOL and PROPPATCH of address books and calendars (RFC 4791, 5.3.1; RFC 5689; RFC 4918, 9.2)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, tostring
from xml.sax.saxutils import escape

from cozyd.errors import BadRequest, Forbidden, Invalid, MethodNotAllowed
from cozyd.pim import Kind, ical
from cozyd.pim.timezones import zone_of
from cozyd.pim.zones import named
from dav import push, xml
from dav.access import XML, StartResponse, Visit, answer
from dav.properties import CR, PROTECTED, SETTABLE, C, D, Seen, settable

LARGEST_PROPERTY = 64 * 1024
_ID = re.compile(r"[^/\x00-\x1f\x7f]{1,120}")
_OF_CALDAV = frozenset(("valid-calendar-data", "supported-calendar-component", "max-resource-size", "valid-timezone"))
_COMPONENTS = f"{C}supported-calendar-component-set"


@dataclass(slots=True)
class Changes:
    """What a body sets and removes: by the room's names, dead properties by Clark names, and what is refused."""

    ours: dict[str, str] = field(default_factory=dict)
    dead: dict[str, str | None] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def make(visit: Visit, id: str, tree: Element | None, method: str, start_response: StartResponse) -> Iterable[bytes]:
    """Make a collection.

    :raises Forbidden, Invalid, MethodNotAllowed: what stands in the way, by its RFC's name.
    """
    if visit.pim.has(id):
        if method == "MKCALENDAR":
            raise Invalid("There is something already", source="resource-must-be-null")
        raise MethodNotAllowed("There is something already")
    if not _ID.fullmatch(id) or id == push.PLACE:
        raise Invalid("The name is too long, or has control characters", source="calendar-collection-location-ok")
    kind = "calendar" if method == "MKCALENDAR" else _wanted_kind(tree)
    changes = _changes(tree, kind, made=True)
    if kind is None:
        raise Invalid("Only address books and calendars are made here", source="valid-resourcetype")
    if not all(visit.may("POST", doctype) for doctype in (ical.COMPONENTS.values() if kind == "calendar" else ("io.cozy.contacts",))):
        raise Forbidden("This password may not make it", source="need-privileges")
    if changes.refused:
        return _refused(changes, method, start_response)
    changes.ours.setdefault("components", " ".join(ical.COMPONENTS))
    visit.pim.make(kind, changes.ours, id=id, dead={name: text for name, text in changes.dead.items() if text is not None})
    return answer(start_response, 201, [("Cache-Control", "no-cache")])


def _refused(changes: Changes, method: str, start_response: StartResponse) -> Iterable[bytes]:
    root = "C:mkcalendar-response" if method == "MKCALENDAR" else "D:mkcol-response"
    names = 'xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"'
    body = f'<?xml version="1.0" encoding="utf-8"?>\n<{root} {names}>{_propstats(changes)}</{root}>'
    return answer(start_response, 403, [("Content-Type", XML)], body.encode())


def change(visit: Visit, seen: Seen, tree: Element | None, start_response: StartResponse, *, minimal: bool) -> Iterable[bytes]:
    """PROPPATCH: all of it, or nothing.

    :raises Forbidden: the visitor may not.
    """
    if tree is None or tree.tag != f"{D}propertyupdate":
        raise BadRequest("A PROPPATCH has a propertyupdate")
    collection = seen.collection
    if collection is None or not visit.manages(collection):
        raise Forbidden("This may not be changed", source="need-privileges")
    changes = _changes(tree, collection.kind, made=False)
    if not changes.names and not changes.refused:
        raise BadRequest("A PROPPATCH sets or removes something")
    if not changes.refused:
        dead = {name: text for name, text in (dict(collection.dead) | changes.dead).items() if text is not None}
        visit.pim.change(collection, changes.ours, dead=dead)
        if minimal:
            return answer(start_response, 200, [("Preference-Applied", "return=minimal")])
    body = f"<D:response><D:href>{xml.href(seen.path)}</D:href>{_propstats(changes)}</D:response>"
    return xml.answer_multistatus(start_response, [body])


def _propstats(changes: Changes) -> str:
    """200 for all, or 403 for those refused, 424 for the others."""
    if not changes.refused:
        return _propstat(dict.fromkeys(changes.names), "200 OK")
    others = [name for name in dict.fromkeys(changes.names) if name not in changes.refused]
    found = "".join(_propstat([name], "403 Forbidden", error) for name, error in changes.refused.items())
    return found + (_propstat(others, "424 Failed Dependency") if others else "")


def _propstat(names: Iterable[str], status: str, error: str = "") -> str:
    prefix = "C" if error in _OF_CALDAV else "D"
    told = f"<D:error><{prefix}:{error}/></D:error>" if error else ""
    props = "".join(xml.element(name) for name in names)
    return f"<D:propstat><D:prop>{props}</D:prop><D:status>HTTP/1.1 {status}</D:status>{told}</D:propstat>"


def _changes(tree: Element | None, kind: Kind | None, *, made: bool) -> Changes:
    """What a body asks for, in its order: the last one counts; elements that mean nothing are ignored (RFC 4918, section 17).

    :param kind: of the collection.
    :param made: it is being made: its components may be chosen.
    """
    changes = Changes()
    for step in tree if tree is not None else ():
        if step.tag not in (f"{D}set", f"{D}remove"):
            continue
        for element in step.iterfind(f"{D}prop/*"):
            if element.tag == f"{D}resourcetype":
                if not made or _kind(element) is None:
                    changes.refused[element.tag] = "valid-resourcetype" if made else "cannot-modify-protected-property"
            elif step.tag == f"{D}remove":
                _remove(changes, element.tag, settable(kind))
            else:
                _set(changes, element, settable(kind), made=made)
    return changes


def _wanted_kind(tree: Element | None) -> Kind | None:
    """The kind of collection that an extended MKCOL asks for."""
    found = tree.find(f"{D}set/{D}prop/{D}resourcetype") if tree is not None else None
    return _kind(found) if found is not None else None


def _kind(element: Element) -> Kind | None:
    names = {child.tag for child in element}
    if not names <= {f"{D}collection", f"{C}calendar", f"{CR}addressbook"}:
        return None
    return "calendar" if f"{C}calendar" in names else "book" if f"{CR}addressbook" in names else None


def _remove(changes: Changes, name: str, ours: Mapping[str, str]) -> None:
    changes.names.append(name)
    if name in PROTECTED:
        changes.refused[name] = "cannot-modify-protected-property"
    elif name in ours:
        changes.ours[ours[name]] = ""
    else:
        changes.dead[name] = None


def _set(changes: Changes, element: Element, ours: Mapping[str, str], *, made: bool) -> None:
    name = element.tag
    changes.names.append(name)
    if name == _COMPONENTS and made:
        given = [(child.get("name") or "").upper() for child in element]
        if not set(given) <= ical.COMPONENTS.keys() or not given:
            changes.refused[name] = "supported-calendar-component"
        changes.ours["components"] = " ".join(given)
    elif name in PROTECTED:
        changes.refused[name] = "cannot-modify-protected-property"
    elif name in ours:
        _set_ours(changes, element)
    else:
        changes.dead[name] = _whole(element)


def _set_ours(changes: Changes, element: Element) -> None:
    name, text = SETTABLE[element.tag], "".join(element.itertext()).strip()
    if name == "transparent":
        text = "true" if element.find(f"{C}transparent") is not None else ""
    elif element.tag == f"{C}calendar-timezone-id" and text and named(text) is None:
        changes.refused[element.tag] = "valid-timezone"
    elif name == "timezone" and text and zone_of(text) is None:
        changes.refused[element.tag] = "valid-calendar-data"
    if len(text) > LARGEST_PROPERTY:
        changes.refused[element.tag] = "max-resource-size"
    changes.ours[name] = text


def _whole(element: Element) -> str:
    """A dead property as it came, namespaces included."""
    element.tail = None
    text = tostring(element, encoding="unicode", short_empty_elements=True)
    if len(text) > LARGEST_PROPERTY:
        raise Invalid(f"The property is too large: {escape(element.tag)}")
    return text
