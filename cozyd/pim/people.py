"""ORGANIZER and ATTENDEE of events and todos (pure; docs/pim.md)."""

from collections.abc import Mapping
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim.content import Component, Line, make
from cozyd.pim.fields import text_of
from cozyd.pim.mapped import MOST_ITEMS, Context


def _mail(value: str) -> str:
    return value.strip()[7:] if value.strip().lower().startswith("mailto:") else value.strip()


def _person(line: Line) -> Doc:
    found: Doc = {"email": _mail(line.value)}
    return found | ({"name": line.first("CN")} if line.first("CN") else {})


def read_organizer(component: Component, _: Context) -> Any:
    """Who organizes it."""
    line = component.get("ORGANIZER")
    return _person(line) if line is not None else None


def _as_person(value: Any) -> Doc:
    return {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}


def write_organizer(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
    """Have another organizer; unknown parameters stay."""
    person = _as_person(value)
    old = component.get("ORGANIZER")
    if not person:
        component.set("ORGANIZER", None)
        return
    line = old or make("ORGANIZER", "")
    component.set("ORGANIZER", _with_person(line, person))


def _with_person(line: Line, person: Doc) -> Line:
    mail, name = text_of(person.get("email")), text_of(person.get("name"))
    if _mail(line.value).lower() != mail.lower() or not line.value:
        line = line.with_value(f"mailto:{mail}" if mail else "invalid:nomail")
    return line.with_parameter("CN", (name,) if name else ()) if line.first("CN") != name else line


_ATTENDEE = (("PARTSTAT", "status"), ("ROLE", "role"), ("CUTYPE", "kind"))


def read_attendees(component: Component, _: Context) -> Any:
    """Who is invited."""
    found = []
    for line in component.all("ATTENDEE")[:MOST_ITEMS]:
        person = _person(line)
        person |= {key: line.first(name).upper() for name, key in _ATTENDEE if line.first(name)}
        if line.first("RSVP"):
            person["rsvp"] = line.first("RSVP").upper() == "TRUE"
        found.append(person)
    return found or None


def write_attendees(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
    """Known people keep their lines and unknown parameters; only what differs is rewritten."""
    wanted = [_as_person(one) for one in value] if isinstance(value, list) else []
    lines: dict[str, list[Line]] = {}
    for line in component.all("ATTENDEE"):
        lines.setdefault(_mail(line.value).lower(), []).append(line)
    kept: set[int] = set()
    for person in wanted:
        known = lines.get(text_of(person.get("email")).lower())
        old = known.pop(0) if known else None
        line = _with_person(old or make("ATTENDEE", ""), person)
        for name, key in _ATTENDEE:
            if line.first(name).upper() != text_of(person.get(key)).upper():
                line = line.with_parameter(name, (text_of(person.get(key)),) if person.get(key) else ())
        if isinstance(person.get("rsvp"), bool) and (line.first("RSVP").upper() == "TRUE") != person["rsvp"]:
            line = line.with_parameter("RSVP", ("TRUE",) if person["rsvp"] else ())
        if old is None:
            component.insert(line, after=("ATTENDEE", "ORGANIZER"))
        elif line is not old:
            component.replace(old, line)
        kept.add(id(line))
    component.remove(*(line for line in component.all("ATTENDEE") if id(line) not in kept))
