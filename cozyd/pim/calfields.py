"""The fields of events and todos and the properties they map to (pure; docs/pim.md has the table)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim import alarms, times
from cozyd.pim.content import Component, Line, escape, make, parts, unescape
from cozyd.pim.fields import items_of, text_of
from cozyd.pim.times import When
from cozyd.pim.zones import Zones, named, to_utc

DAY_NAMES = ("mo", "tu", "we", "th", "fr", "sa", "su")
MOST_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class Context:
    """What reading and writing needs beside the component."""

    calendar: Component
    zones: Zones


@dataclass(frozen=True, slots=True)
class Mapped:
    """One JSON field and how a component has it.

    :param write: component, new value, whole document, context.
    """

    path: str
    read: Callable[[Component, Context], Any]
    write: Callable[[Component, Any, Doc, Context], None]


def _set(component: Component, name: str, value: str, old: Line | None = None) -> None:
    """Have a property with this value, or none."""
    before = old or component.get(name)
    if not value:
        component.set(name, None)
    else:
        component.set(name, before.with_value(value) if before is not None else make(name, value))


def _text(path: str, name: str, *dropped: str) -> Mapped:
    """A field that is one text property; what repeats its old text in another form goes when it changes."""

    def write_text(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
        old = component.get(name)
        if old is not None and old.first("ALTREP"):
            component.replace(old, old.with_parameter("ALTREP", ()))
        _set(component, name, escape(text_of(value)))
        for other in dropped:
            component.remove(*component.all(other))

    return Mapped(path, lambda component, _: unescape(component.value(name)) or None, write_text)


def _word(path: str, name: str, words: Mapping[str, str] | None = None) -> Mapped:
    """A field that is one keyword; `words`: as it is written -> as JSON has it."""
    back = {value: key for key, value in (words or {}).items()}

    def read_word(component: Component, _: Context) -> Any:
        word = component.value(name).strip()
        return (words.get(word.upper(), word.lower()) if words is not None else word) or None

    def write_word(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
        _set(component, name, back.get(text_of(value), text_of(value).upper() if words is not None else text_of(value)))

    return Mapped(path, read_word, write_word)


def _number(path: str, name: str) -> Mapped:
    def read_number(component: Component, _: Context) -> Any:
        text = component.value(name).strip()
        return int(text) if re.fullmatch(r"[+-]?\d{1,9}", text) else None

    def write_number(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
        _set(component, name, str(value) if isinstance(value, int) and not isinstance(value, bool) else "")

    return Mapped(path, read_number, write_number)


# -- times --------------------------------------------------------------------------------------------------------------


def _when(component: Component, name: str, context: Context) -> When | None:
    line = component.get(name)
    return times.read(line, context.zones) if line is not None else None


def _read_start(component: Component, context: Context) -> Any:
    found = _when(component, "DTSTART", context)
    return found.text() if found is not None else None


def _read_zone(component: Component, context: Context) -> Any:
    for name in ("DTSTART", "DUE"):
        found = _when(component, name, context)
        if found is not None:
            return getattr(found.zone, "key", None) if found.zone is not None else None
    return None


def _write_zone(component: Component, _value: Any, doc: Doc, context: Context) -> None:
    """A new zone gives start and end new lines; they read it from the document."""
    for name, path in (("DTSTART", "start"), ("DTEND", "end"), ("DUE", "dueDate")):
        if component.get(name) is not None:
            _write_time(component, name, doc.get(path), doc, context)


def _write_start(component: Component, value: Any, doc: Doc, context: Context) -> None:
    _write_time(component, "DTSTART", value, doc, context)


def _write_time(component: Component, name: str, value: Any, doc: Doc, context: Context) -> None:
    old = component.get(name)
    zone_name = text_of(doc.get("timezone"))
    known = times.read(old, context.zones) if old is not None else None
    if known is not None and known.zone is not None and getattr(known.zone, "key", "") == zone_name:
        zone_name = known.zone_name  # the spelling that is there
    when = times.from_json(text_of(value), zone_name, context.zones)
    if when is None:
        component.set(name, None)
        return
    component.set(name, times.write(name, when, old), after=("DTSTART", "DTSTAMP", "UID"))
    if when.zone_name:
        _ensure_zone(context.calendar, when.zone_name)


def _ensure_zone(calendar: Component, name: str) -> None:
    """A TZID that is new to the object gets its VTIMEZONE."""
    if any(one.value("TZID") == name for one in calendar.components("VTIMEZONE")) or named(name) is None:
        return
    from cozyd.pim.timezones import definition

    first = next((number for number, child in enumerate(calendar.children) if isinstance(child, Component)), len(calendar.children))
    calendar.children.insert(first, definition(name))


def read_end(component: Component, context: Context, name: str = "DTEND") -> When | None:
    """The end of a component: its own line, or start plus duration."""
    found = _when(component, name, context)
    if found is not None:
        return found
    start, length = _when(component, "DTSTART", context), times.duration(component.value("DURATION"))
    return times.add(start, length) if start is not None and length is not None else None


def _end(path: str, name: str) -> Mapped:
    def read_text(component: Component, context: Context) -> Any:
        found = read_end(component, context, name)
        return found.text() if found is not None else None

    def write_text(component: Component, value: Any, doc: Doc, context: Context) -> None:
        line = component.get("DURATION")
        if line is not None and component.get(name) is None and text_of(value):
            length = _length(component, value, doc, context)
            if length is not None:
                component.replace(line, line.with_value(length))
                return
        if line is not None:
            component.remove(line)
        _write_time(component, name, value, doc, context)

    return Mapped(path, read_text, write_text)


def _length(component: Component, value: Any, doc: Doc, context: Context) -> str | None:
    """The DURATION from the start to a new end."""
    start = _when(component, "DTSTART", context)
    end = times.from_json(text_of(value), text_of(doc.get("timezone")), context.zones)
    if start is None or end is None or end.wall < start.wall:
        return None
    if start.all_day or end.all_day:
        return f"P{(end.wall - start.wall).days}D"
    seconds = int((end.moment() - start.moment()).total_seconds())
    if seconds < 0:
        return None
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return (
        "PT"
        + (f"{hours}H" if hours else "")
        + (f"{minutes}M" if minutes else "")
        + (f"{seconds}S" if seconds or not (hours or minutes) else "")
    )


def _utc_time(path: str, name: str) -> Mapped:
    def read_utc(component: Component, context: Context) -> Any:
        found = _when(component, name, context)
        return times.utc_text(found.moment()) if found is not None else None

    def write_utc(component: Component, value: Any, _doc: Doc, context: Context) -> None:
        found = times.from_json(text_of(value), "", context.zones)
        _set(component, name, times.value(When(found.moment().astimezone(UTC).replace(tzinfo=None), utc=True)) if found is not None else "")

    return Mapped(path, read_utc, write_utc)


# -- rules --------------------------------------------------------------------------------------------------------------

_RULE_NAMES = {
    "INTERVAL": "interval",
    "COUNT": "count",
    "BYMONTHDAY": "byMonthDay",
    "BYMONTH": "byMonth",
    "BYSETPOS": "bySetPosition",
    "WKST": "firstDayOfWeek",
}


def until_wall(text: str, start: When | None, zones: Zones) -> When | None:
    """UNTIL as wall time of the start."""
    found = times.parse(text, "", zones)
    if found is None or start is None or not found.utc or start.zone is None:
        return found
    try:
        wall = found.moment().astimezone(start.zone).replace(tzinfo=None)
    except (OverflowError, ValueError):
        return found
    return When(wall, zone_name=start.zone_name, zone=start.zone)


def _read_rule(component: Component, context: Context) -> Any:
    lines = component.all("RRULE")
    if not lines:
        return None
    given = dict(part.partition("=")[::2] for part in lines[0].value.upper().split(";") if part)
    found: Doc = {"frequency": given.get("FREQ", "").lower()}
    for name, key in _RULE_NAMES.items():
        if name in given:
            found[key] = _rule_value(name, given[name])
    if given.get("BYDAY"):
        found["byDay"] = [_day(one) for one in given["BYDAY"].split(",")]
    if "UNTIL" in given:
        until = until_wall(given["UNTIL"], _when(component, "DTSTART", context), context.zones)
        found["until"] = until.key() if until is not None else None
    known = {"FREQ", "BYDAY", "UNTIL", *_RULE_NAMES}
    if len(lines) > 1 or not given.keys() <= known or component.get("EXRULE") is not None:
        found["partial"] = True
    return found


def _rule_value(name: str, text: str) -> Any:
    if name == "WKST":
        return text.lower()
    numbers = [int(one) for one in text.split(",") if re.fullmatch(r"[+-]?\d{1,6}", one)]
    return (numbers[0] if numbers else None) if name in ("INTERVAL", "COUNT") else numbers


def _day(text: str) -> Doc:
    nth = re.match(r"[+-]?\d{1,2}", text)
    found: Doc = {"day": text[-2:].lower()}
    return found | ({"nthOfPeriod": int(nth.group())} if nth else {})


def _write_rule(component: Component, value: Any, doc: Doc, context: Context) -> None:
    if not isinstance(value, Mapping) or not text_of(value.get("frequency")):
        component.set("RRULE", None)
        return
    if value.get("partial") is True:
        return
    pieces = [f"FREQ={text_of(value['frequency']).upper()}"]
    if value.get("until"):
        pieces.append(f"UNTIL={_until_text(value['until'], doc, context)}")
    for name, key in _RULE_NAMES.items():
        found = value.get(key)
        if found not in (None, "", []):
            shown = ",".join(str(one) for one in found) if isinstance(found, list) else str(found).upper()
            pieces.append(f"{name}={shown}")
    days = [f"{one.get('nthOfPeriod') or ''}{text_of(one.get('day')).upper()}" for one in items_of(value.get("byDay"))]
    if days:
        pieces.append("BYDAY=" + ",".join(days))
    _set(component, "RRULE", ";".join(pieces))


def _until_text(value: Any, doc: Doc, context: Context) -> str:
    """UNTIL: a date of an all-day event, else UTC; floating stays so."""
    start = times.from_json(text_of(doc.get("start")), text_of(doc.get("timezone")), context.zones)
    until = times.from_json(text_of(value)[:19], "", context.zones)
    if until is None:
        return text_of(value)
    if start is not None and start.all_day:
        return until.wall.strftime("%Y%m%d")
    if start is None or (start.zone is None and not start.utc):
        return until.wall.strftime("%Y%m%dT%H%M%S")
    return to_utc(until.wall, start.zone).strftime("%Y%m%dT%H%M%SZ")


# -- lists --------------------------------------------------------------------------------------------------------------


def _read_tags(component: Component, _: Context) -> Any:
    return [unescape(one) for line in component.all("CATEGORIES") for one in parts(line.value, ",") if one.strip()] or None


def _write_tags(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
    component.remove(*component.all("CATEGORIES")[1:])
    names = [text_of(one) for one in value] if isinstance(value, list) else []
    _set(component, "CATEGORIES", ",".join(escape(name) for name in names if name))


def _read_geo(component: Component, _: Context) -> Any:
    found = component.value("GEO").split(";")
    try:
        return [float(found[1]), float(found[0])] if len(found) == 2 else None
    except ValueError:
        return None


def _write_geo(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
    good = isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | float) for one in value)
    _set(component, "GEO", f"{value[1]};{value[0]}" if good else "")


def _mail(value: str) -> str:
    return value.strip()[7:] if value.strip().lower().startswith("mailto:") else value.strip()


def _person(line: Line) -> Doc:
    found: Doc = {"email": _mail(line.value)}
    return found | ({"name": line.first("CN")} if line.first("CN") else {})


def _read_organizer(component: Component, _: Context) -> Any:
    line = component.get("ORGANIZER")
    return _person(line) if line is not None else None


def _as_person(value: Any) -> Doc:
    return {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}


def _write_organizer(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
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


def _read_attendees(component: Component, _: Context) -> Any:
    found = []
    for line in component.all("ATTENDEE")[:MOST_ITEMS]:
        person = _person(line)
        person |= {key: line.first(name).upper() for name, key in _ATTENDEE if line.first(name)}
        if line.first("RSVP"):
            person["rsvp"] = line.first("RSVP").upper() == "TRUE"
        found.append(person)
    return found or None


def _write_attendees(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
    """Known people keep their lines and unknown parameters; only what differs is rewritten."""
    wanted = [_as_person(one) for one in value] if isinstance(value, list) else []
    lines = {_mail(line.value).lower(): line for line in reversed(component.all("ATTENDEE"))}
    kept: set[int] = set()
    for person in wanted:
        old = lines.get(text_of(person.get("email")).lower())
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


def _links(path: str, name: str) -> Mapped:
    """ATTACH and CONFERENCE: links; inline attachments stay in the text."""
    label, media = ("FILENAME", "FMTTYPE") if name == "ATTACH" else ("LABEL", "")

    def mine(line: Line) -> bool:
        return line.first("VALUE").upper() != "BINARY" and line.first("ENCODING").upper() != "BASE64"

    def read_links(component: Component, _: Context) -> Any:
        found = []
        for line in [one for one in component.all(name) if mine(one)][:MOST_ITEMS]:
            item: Doc = {"uri": line.value.strip()}
            if line.first(label):
                item["name" if name == "ATTACH" else "label"] = line.first(label)
            if media and line.first(media):
                item["mime"] = line.first(media)
            found.append(item)
        return found or None

    def write_links(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
        lines = {line.value.strip(): line for line in component.all(name) if mine(line)}
        wanted = [item for item in items_of(value) if text_of(item.get("uri"))]
        component.remove(*(line for uri, line in lines.items() if uri not in {text_of(item["uri"]) for item in wanted}))
        for item in wanted:
            old = lines.get(text_of(item["uri"]))
            line = old or make(name, text_of(item["uri"]), (("VALUE", ("URI",)),) if name == "CONFERENCE" else ())
            shown = text_of(item.get("name" if name == "ATTACH" else "label"))
            if line.first(label) != shown:
                line = line.with_parameter(label, (shown,) if shown else ())
            if media and line.first(media) != text_of(item.get("mime")):
                line = line.with_parameter(media, (text_of(item.get("mime")),) if item.get("mime") else ())
            if old is None:
                component.insert(line, after=(name,))
            elif line is not old:
                component.replace(old, line)

    return Mapped(path, read_links, write_links)


# -- todos --------------------------------------------------------------------------------------------------------------


def _read_completed(component: Component, _: Context) -> Any:
    return component.value("STATUS").strip().upper() == "COMPLETED" or component.get("COMPLETED") is not None or None


def _write_completed(component: Component, value: Any, doc: Doc, context: Context) -> None:
    """Ticked: STATUS, COMPLETED and 100; unticked: NEEDS-ACTION, no COMPLETED, 0."""
    if value is not True:
        _set(component, "STATUS", "NEEDS-ACTION")
        component.set("COMPLETED", None)
        if component.get("PERCENT-COMPLETE") is not None:
            _set(component, "PERCENT-COMPLETE", "0")
        return
    _set(component, "STATUS", "COMPLETED")
    _set(component, "PERCENT-COMPLETE", "100")
    at = text_of(doc.get("completedAt")) or text_of((doc.get("cozyMetadata") or {}).get("updatedAt"))
    found = times.from_json(at, "", context.zones)
    if found is not None and not found.all_day:
        _set(component, "COMPLETED", times.value(When(found.moment().replace(tzinfo=None), utc=True)))


def _parent_line(component: Component) -> Line | None:
    return next((line for line in component.all("RELATED-TO") if line.first("RELTYPE").upper() in ("", "PARENT")), None)


def _read_parent(component: Component, _: Context) -> Any:
    line = _parent_line(component)
    return unescape(line.value) if line is not None else None


def _write_parent(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
    line = _parent_line(component)
    if line is not None and text_of(value):
        component.replace(line, line.with_value(escape(text_of(value))))
    elif line is not None:
        component.remove(line)
    elif text_of(value):
        component.insert(make("RELATED-TO", escape(text_of(value)), (("RELTYPE", ("PARENT",)),)))


_PRIVACY = {"PUBLIC": "public", "PRIVATE": "private", "CONFIDENTIAL": "secret"}
_SHARED: tuple[Mapped, ...] = (
    Mapped("timezone", _read_zone, _write_zone),
    Mapped("start", _read_start, _write_start),
    Mapped("rrule", _read_rule, _write_rule),
    _text("location", "LOCATION", "X-APPLE-STRUCTURED-LOCATION"),
    _text("url", "URL"),
    Mapped("geo", _read_geo, _write_geo),
    _word("privacy", "CLASS", _PRIVACY),
    _number("priority", "PRIORITY"),
    Mapped("tags", _read_tags, _write_tags),
    _word("color", "COLOR"),
    Mapped("organizer", _read_organizer, _write_organizer),
    Mapped("attendee", _read_attendees, _write_attendees),
    Mapped("alarms", lambda component, _: alarms.read(component), lambda c, value, _doc, _context: alarms.write(c, value)),
    _links("attachments", "ATTACH"),
    _links("conference", "CONFERENCE"),
)
EVENT_FIELDS: tuple[Mapped, ...] = (
    *_SHARED,
    _text("label", "SUMMARY"),
    _text("description", "DESCRIPTION", "X-ALT-DESC"),
    _end("end", "DTEND"),
    _word("status", "STATUS"),
    _word("freeBusy", "TRANSP", {"OPAQUE": "busy", "TRANSPARENT": "free"}),
)
TODO_FIELDS: tuple[Mapped, ...] = (
    *_SHARED,
    _text("summary", "SUMMARY"),
    _text("description", "DESCRIPTION", "X-ALT-DESC"),
    _end("dueDate", "DUE"),
    _word("status", "STATUS"),
    _number("percent", "PERCENT-COMPLETE"),
    _utc_time("completedAt", "COMPLETED"),
    Mapped("completed", _read_completed, _write_completed),
    Mapped("parent", _read_parent, _write_parent),
    _number("order", "X-APPLE-SORT-ORDER"),
)
JOURNAL_FIELDS: tuple[Mapped, ...] = (
    *_SHARED,
    _text("summary", "SUMMARY"),
    _text("description", "DESCRIPTION", "X-ALT-DESC"),
    _word("status", "STATUS"),
)
FIELDS: Mapping[str, tuple[Mapped, ...]] = {"VEVENT": EVENT_FIELDS, "VTODO": TODO_FIELDS, "VJOURNAL": JOURNAL_FIELDS}
