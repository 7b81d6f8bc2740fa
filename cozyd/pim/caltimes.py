"""Start, end, zone and rule of events and todos <-> DTSTART, DTEND, DUE, DURATION, RRULE (pure; docs/pim.md)."""

import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim import times
from cozyd.pim.content import Component
from cozyd.pim.fields import is_text, items_of, text_of
from cozyd.pim.mapped import Context, Mapped, put_value
from cozyd.pim.times import When
from cozyd.pim.zones import Zones, named, to_utc

# -- times --------------------------------------------------------------------------------------------------------------


def _when(component: Component, name: str, context: Context) -> When | None:
    line = component.get(name)
    return times.read(line, context.zones) if line is not None else None


def read_start(component: Component, context: Context) -> Any:
    """DTSTART in the JSON form."""
    found = _when(component, "DTSTART", context)
    return found.text() if found is not None else None


def read_zone(component: Component, context: Context) -> Any:
    """The IANA name of the zone of the start, else of the due time."""
    for name in ("DTSTART", "DUE"):
        found = _when(component, name, context)
        if found is not None:
            return getattr(found.zone, "key", None) if found.zone is not None else None
    return None


def write_zone(component: Component, _value: Any, doc: Doc, context: Context) -> None:
    """A new zone gives start and end new lines; they read it from the document."""
    for name, path in (("DTSTART", "start"), ("DTEND", "end"), ("DUE", "dueDate")):
        if component.get(name) is not None:
            _write_time(component, name, doc.get(path), doc, context)


def write_start(component: Component, value: Any, doc: Doc, context: Context) -> None:
    """Have another start, in the zone of the document."""
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


def is_time(value: Any) -> bool:
    """Whether a value is a time in one of the JSON forms."""
    return isinstance(value, str) and times.from_json(value, "") is not None


def read_end(component: Component, context: Context, name: str = "DTEND") -> When | None:
    """The end of a component: its own line, or start plus duration."""
    found = _when(component, name, context)
    if found is not None:
        return found
    start, length = _when(component, "DTSTART", context), times.duration(component.value("DURATION"))
    return times.add(start, length) if start is not None and length is not None else None


def end(path: str, name: str) -> Mapped:
    """A field that is the end: its own property, or the start and a DURATION."""

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

    return Mapped(path, read_text, write_text, is_time)


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


def utc_time(path: str, name: str) -> Mapped:
    """A field that is a moment in UTC."""

    def read_utc(component: Component, context: Context) -> Any:
        found = _when(component, name, context)
        return times.utc_text(found.moment()) if found is not None else None

    def write_utc(component: Component, value: Any, _doc: Doc, context: Context) -> None:
        found = times.from_json(text_of(value), "", context.zones)
        put_value(
            component, name, times.value(When(found.moment().astimezone(UTC).replace(tzinfo=None), utc=True)) if found is not None else ""
        )

    return Mapped(path, read_utc, write_utc, is_time)


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


def read_rule(component: Component, context: Context) -> Any:
    """RRULE in the JSON form; `partial` where that does not say all."""
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


def write_rule(component: Component, value: Any, doc: Doc, context: Context) -> None:
    """Have another rule; one that JSON cannot say stays as it is."""
    if not isinstance(value, Mapping) or not text_of(value.get("frequency")):
        component.set("RRULE", None)
        return
    if value.get("partial") is True:
        return
    first, *more = _pieces(value)
    until = [f"UNTIL={_until_text(value['until'], doc, context)}"] if value.get("until") else []
    put_value(component, "RRULE", ";".join([first, *until, *more]))


def _pieces(value: Mapping[str, Any]) -> list[str]:
    """The parts of a rule but for UNTIL."""
    pieces = [f"FREQ={text_of(value['frequency']).upper()}"]
    for name, key in _RULE_NAMES.items():
        found = value.get(key)
        if found not in (None, "", []):
            shown = ",".join(str(one) for one in found) if isinstance(found, list) else str(found).upper()
            pieces.append(f"{name}={shown}")
    days = [f"{one.get('nthOfPeriod') or ''}{text_of(one.get('day')).upper()}" for one in items_of(value.get("byDay"))]
    return [*pieces, "BYDAY=" + ",".join(days)] if days else pieces


_DAY, _NUMBER = r"(?:MO|TU|WE|TH|FR|SA|SU)", r"[+-]?\d{1,3}"
_PIECE = re.compile(
    rf"FREQ=(?:SECOND|MINUTE|HOUR|DAI|WEEK|MONTH|YEAR)LY|(?:INTERVAL|COUNT)=[1-9]\d{{0,8}}|WKST={_DAY}"
    rf"|(?:BYMONTHDAY|BYMONTH|BYSETPOS)={_NUMBER}(?:,{_NUMBER})*|BYDAY=(?:{_NUMBER})?{_DAY}(?:,(?:{_NUMBER})?{_DAY})*"
)


def is_rule(value: Any) -> bool:
    """Whether a value is a rule that iCalendar can say."""
    if not isinstance(value, Mapping) or not is_text(value.get("frequency")):
        return False
    until, days = value.get("until"), value.get("byDay") or []
    if (until and not is_time(text_of(until)[:19])) or not isinstance(days, list) or len(items_of(days)) != len(days):
        return False
    return all(_PIECE.fullmatch(piece) for piece in _pieces(value))


def _until_text(value: Any, doc: Doc, context: Context) -> str:
    """UNTIL: a date of an all-day event, else UTC; floating stays so."""
    start = times.from_json(text_of(doc.get("start")), text_of(doc.get("timezone")), context.zones)
    until = times.from_json(text_of(value)[:19], "", context.zones)
    if until is None:
        return text_of(value)
    if start is not None and start.all_day:
        return times.value(When(until.wall, all_day=True))
    if start is None or (start.zone is None and not start.utc):
        return times.value(When(until.wall))
    return times.value(When(to_utc(until.wall, start.zone).replace(tzinfo=None), utc=True))
