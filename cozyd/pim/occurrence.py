"""Occurrences of a recurring object: overrides <-> EXDATE, RDATE and RECURRENCE-ID, moved starts, bounds (pure; docs/pim.md)."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim import recurrence, times
from cozyd.pim.calfields import FIELDS
from cozyd.pim.caltimes import read_end
from cozyd.pim.content import Component, Line
from cozyd.pim.fields import look, place, text_of, tidy
from cozyd.pim.mapped import Context
from cozyd.pim.times import ENDLESS, WIDENED, When
from cozyd.pim.zones import to_utc

_NOT_IN_OVERRIDES = frozenset(("timezone", "rrule"))
_LONGEST_EXPANSION = 5000
_END_OF = {"VEVENT": "end", "VTODO": "dueDate", "VJOURNAL": "end"}
"""The field of a component's end; a journal has none, and so nothing there."""


# -- overrides ----------------------------------------------------------------------------------------------------------


def read_overrides(calendar: Component, main: Component, context: Context) -> Doc | None:
    """`overrides`: original wall time -> what differs; `excluded` of an EXDATE, nothing of an RDATE."""
    zone = _main_zone(main, context)
    found: Doc = {key: {"excluded": True} for key, _ in _listed(main, "EXDATE", zone, context)}
    found |= {key: {} for key, _ in _listed(main, "RDATE", zone, context)}
    for child in _children(calendar, main):
        line = child.get("RECURRENCE-ID")
        when = times.read(line, context.zones) if line is not None else None
        if line is None or when is None:
            continue
        key = _in_zone(when, zone).key()
        found[key] = _difference(main, child, context)
        if line.first("RANGE").upper() == "THISANDFUTURE":
            found[key]["partial"] = True
    return found or None


def _children(calendar: Component, main: Component) -> list[Component]:
    return [one for one in calendar.components(main.name) if one is not main and one.get("RECURRENCE-ID") is not None]


def _main_zone(main: Component, context: Context) -> When | None:
    line = main.get("DTSTART")
    return times.read(line, context.zones) if line is not None else None


def _in_zone(when: When, start: When | None) -> When:
    """A time as wall time of the master's zone."""
    if start is None or when.all_day or start.all_day or start.zone is None or when.zone == start.zone or when.floating:
        return when
    try:
        wall = when.moment().astimezone(start.zone).replace(tzinfo=None)
    except OverflowError:  # the last day of all
        return when
    return When(wall, zone_name=start.zone_name, zone=start.zone)


def _listed(main: Component, name: str, start: When | None, context: Context) -> Iterator[tuple[str, Line]]:
    for line in main.all(name):
        for text in line.value.split(","):
            when = times.parse(text.strip().partition("/")[0], line.first("TZID"), context.zones)
            if when is not None:
                yield _in_zone(when, start).key(), line


def _difference(main: Component, child: Component, context: Context) -> Doc:
    found: Doc = {}
    for one in FIELDS[main.name]:
        if one.path in _NOT_IN_OVERRIDES:
            continue
        value = tidy(one.read(child, context))
        if one.path in ("start", "end", "dueDate") or value != tidy(one.read(main, context)):
            place(found, one.path, value)
            if value is None and one.path not in ("start", "end", "dueDate"):
                found[one.path] = None
    return found


def write_overrides(calendar: Component, main: Component, doc: Doc, context: Context) -> None:
    """Change exceptions and overridden instances so that they give the document's overrides."""
    given = doc.get("overrides")
    wanted: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    start = _main_zone(main, context)
    excluded = {key for key, value in wanted.items() if isinstance(value, Mapping) and value.get("excluded") is True}
    added = {key for key, value in wanted.items() if value == {} or value is None}
    _write_list(main, "EXDATE", excluded, start, context)
    _write_list(main, "RDATE", added, start, context)
    known = {}
    for child in _children(calendar, main):
        line = child.get("RECURRENCE-ID")
        when = times.read(line, context.zones) if line is not None else None
        known[_in_zone(when, start).key() if when is not None else ""] = child
    others = {key: value for key, value in wanted.items() if key not in excluded | added and isinstance(value, dict)}
    calendar.remove(*(child for key, child in known.items() if key not in others))
    for key, value in others.items():
        _write_child(calendar, main, known.get(key), key, value, doc, context)


def _write_list(main: Component, name: str, wanted: set[str], start: When | None, context: Context) -> None:
    have: dict[str, Line] = dict(_listed(main, name, start, context))
    for line in main.all(name):
        texts = [text for text in line.value.split(",") if _key_of(text, line, start, context) in wanted]
        if not texts:
            main.remove(line)
        elif len(texts) != len(line.value.split(",")):
            main.replace(line, line.with_value(",".join(texts)))
    for key in sorted(wanted - have.keys()):
        when = _from_key(key, start, context)
        if when is not None:
            main.insert(times.write(name, when), after=(name, "RRULE", "DTSTART"))


def _key_of(text: str, line: Line, start: When | None, context: Context) -> str:
    when = times.parse(text.strip().partition("/")[0], line.first("TZID"), context.zones)
    return _in_zone(when, start).key() if when is not None else ""


def _from_key(key: str, start: When | None, context: Context) -> When | None:
    """The time a key means: wall time in the master's zone."""
    found = times.from_json(key, "", context.zones)
    if found is None or start is None or found.all_day:
        return found
    return When(found.wall, start.all_day, start.utc, start.zone_name, start.zone)


def _write_child(calendar: Component, main: Component, child: Component | None, key: str, value: Doc, doc: Doc, context: Context) -> None:
    if child is None:
        when = _from_key(key, _main_zone(main, context), context)
        if when is None:
            return
        child = _new_child(main, when, context)
        calendar.children.insert(_behind(calendar, main), child)
    before = _difference(main, child, context)
    merged = {name: item for name, item in doc.items() if name != "overrides"} | dict(value)
    for one in FIELDS[main.name]:
        if one.path in _NOT_IN_OVERRIDES or one.path not in value or not one.takes(value[one.path]):
            continue
        if tidy(value[one.path]) != tidy(look(before, one.path)):
            one.write(child, value[one.path], merged, context)


def _new_child(main: Component, when: When, context: Context) -> Component:
    """An overridden instance that is as the master would be there."""
    start = _main_zone(main, context)
    skipped = ("RRULE", "EXDATE", "RDATE", "EXRULE", "DTSTART", "DTEND", "DUE", "DURATION", "RECURRENCE-ID")
    children: list[Line | Component] = [one for one in main.children if not (isinstance(one, Line) and one.name in skipped)]
    children += [times.write("RECURRENCE-ID", when), times.write("DTSTART", when)]
    name = "DTEND" if main.name == "VEVENT" else "DUE"
    end = read_end(main, context, name)
    if end is not None and start is not None:
        children.append(times.write(name, _moved(when, end.wall - start.wall)))
    return Component(main.name, main.begin, children, main.end)


def _behind(calendar: Component, main: Component) -> int:
    return max(number for number, one in enumerate(calendar.children) if isinstance(one, Component) and one.name == main.name) + 1


# -- a moved start ------------------------------------------------------------------------------------------------------


def shift(calendar: Component, main: Component, delta: timedelta, context: Context) -> None:
    """The start has moved: exceptions and the names of overridden instances move by the same wall time."""
    for name in ("EXDATE", "RDATE"):
        for listed in main.all(name):
            moved = [_shifted(text, listed, delta, context) for text in listed.value.split(",")]
            main.replace(listed, listed.with_value(",".join(moved)))
    for child in _children(calendar, main):
        line = child.get("RECURRENCE-ID")
        when = times.read(line, context.zones) if line is not None else None
        if line is not None and when is not None:
            child.replace(line, line.with_value(times.value(_moved(when, delta))))


def _shifted(text: str, line: Line, delta: timedelta, context: Context) -> str:
    head, slash, rest = text.strip().partition("/")
    when = times.parse(head, line.first("TZID"), context.zones)
    return f"{times.value(_moved(when, delta))}{slash}{rest}" if when is not None else text


def moved_key(key: str, delta: timedelta) -> str:
    """A key of `overrides` after the start has moved."""
    found = times.from_json(key, "")
    return _moved(found, delta).key() if found is not None else key


def _moved(when: When, delta: timedelta) -> When:
    """A time that has moved; at the ends of the calendar it stays."""
    try:
        return when.moved(delta)
    except OverflowError:
        return when


# -- bounds -------------------------------------------------------------------------------------------------------------


def bounds(doc: Doc, kind: str) -> Doc | None:
    """UTC from the first start to the last end; endless rules end in 9999; floating and all-day ones are widened by 14 h.

    None of what has no times, or none that a calendar knows.
    """
    try:
        return _bounds(doc, kind)
    except (ArithmeticError, ValueError, TypeError, AttributeError, KeyError):  # an app may store anything
        return None


def _bounds(doc: Doc, kind: str) -> Doc | None:
    zone_name = text_of(doc.get("timezone"))
    start = times.from_json(text_of(doc.get("start")), zone_name)
    end = times.from_json(text_of(doc.get(_END_OF[kind])), zone_name)
    first = start or end
    if first is None:
        return None
    moments = [(first.moment(), _end_moment(first, end))]
    later = _moved_later(doc, zone_name)
    for key, value in _override_items(doc):
        until = times.from_json(text_of(value.get(_END_OF[kind])), zone_name)
        given = until if start is None and until is not None and not value.get("start") else None
        changed = given or times.from_json(text_of(value.get("start")) or key, zone_name)
        if changed is not None and value.get("excluded") is not True:
            lasting = moments[0][1] - moments[0][0] + later
            moments.append((changed.moment(), _end_moment(changed, until) if until else _widened(changed.moment(), lasting)))
    low, high = min(moment for moment, _ in moments), max(until for _, until in moments)
    endless = False
    if isinstance(doc.get("rrule"), Mapping):
        last = _last(doc["rrule"], first)
        endless = last is None
        if last is not None:
            lasting = moments[0][1] - moments[0][0] + later
            high = max(high, _widened(to_utc(last, None if first.utc else first.zone), lasting + _slack(doc, first, lasting)))
    if first.floating or first.all_day:
        low, high = _widened(low, -WIDENED), _widened(high, WIDENED)
    return {"start": times.utc_text(low), "end": ENDLESS if endless else times.utc_text(high)}


def _slack(doc: Doc, first: When, lasting: timedelta) -> timedelta:
    """By how much the last instance may end later than the length of the first says.

    Days may have more hours there, and of an offset without a name only the object's own zone knows how it changes.
    """
    if first.utc:
        return timedelta(0) if text_of(doc.get("start")).endswith("Z") else WIDENED
    return timedelta(hours=3) if first.zone is not None and lasting >= timedelta(hours=22) else timedelta(0)


def _moved_later(doc: Doc, zone_name: str) -> timedelta:
    """By how much overrides that hold for later instances too (THISANDFUTURE) may move or lengthen the last one."""
    found = timedelta(0)
    for key, value in _override_items(doc):
        original, start = times.from_json(key, zone_name), times.from_json(text_of(value.get("start")), zone_name)
        end = times.from_json(text_of(value.get("end")), zone_name)
        if value.get("partial") and original is not None and start is not None:
            found = max(found, (end or start).moment() - original.moment())
    return found


def is_fixed(doc: Doc) -> bool:
    """Whether the times of a document are moments; all-day and floating ones are not."""
    zone_name = text_of(doc.get("timezone"))
    first = times.from_json(text_of(doc.get("start")) or text_of(doc.get("dueDate")), zone_name)
    return first is not None and not first.floating and not first.all_day


def _widened(moment: datetime, delta: timedelta) -> datetime:
    try:
        return moment + delta
    except OverflowError:
        return moment


def _override_items(doc: Doc) -> list[tuple[str, Doc]]:
    overrides = doc.get("overrides")
    if not isinstance(overrides, Mapping):
        return []
    return [(key, value or {}) for key, value in overrides.items() if value is None or isinstance(value, dict)]


def _end_moment(start: When, end: When | None) -> datetime:
    if end is not None and end.moment() >= start.moment():
        return end.moment()
    return start.moment() + timedelta(days=1) if start.all_day else start.moment()


def rule_of(rrule: Mapping[str, Any]) -> recurrence.Rule:
    """The rule of a document.

    :raises TooComplex: it is not iterated here.
    """
    if rrule.get("partial") is True:
        raise recurrence.TooComplex
    until = times.from_json(text_of(rrule.get("until")), "")
    days = [f"{one.get('nthOfPeriod') or ''}{text_of(one.get('day'))}" for one in rrule.get("byDay") or () if isinstance(one, dict)]
    pieces = [f"FREQ={text_of(rrule.get('frequency'))}"]
    for name, key in (("INTERVAL", "interval"), ("COUNT", "count"), ("WKST", "firstDayOfWeek")):
        if rrule.get(key):
            pieces.append(f"{name}={rrule[key]}")
    for name, key in (("BYMONTHDAY", "byMonthDay"), ("BYMONTH", "byMonth"), ("BYSETPOS", "bySetPosition")):
        if isinstance(rrule.get(key), list):
            pieces.append(f"{name}={','.join(map(str, rrule[key]))}")
    if days:
        pieces.append("BYDAY=" + ",".join(days))
    end = None
    if until is not None:
        end = until.wall + timedelta(days=1) - timedelta(seconds=1) if until.all_day else until.wall
    return recurrence.parse(";".join(pieces), end)


def _last(rrule: Mapping[str, Any], start: When) -> datetime | None:
    try:
        return recurrence.last(rule_of(rrule), start.wall)
    except recurrence.TooComplex:
        return None


def happens_between(doc: Doc, low: datetime, high: datetime, floating: tzinfo | None = None) -> bool | None:
    """Whether some occurrence of an event touches a time range (RFC 4791, section 9.9).

    :param floating: the zone of all-day and floating times; None: UTC.
    :returns: None: the document does not say enough, its text has to.
    """
    zone_name = text_of(doc.get("timezone"))
    start = times.from_json(text_of(doc.get("start")), zone_name)
    end = times.from_json(text_of(doc.get("end")), zone_name)
    overrides = dict(_override_items(doc))
    if start is None or (start.utc and not text_of(doc.get("start")).endswith("Z")):  # a zone without a name
        return None
    if doc.get("orphan") or any(not value or value.get("partial") for value in overrides.values()):  # a date may have a length of its own
        return None
    length = _end_moment(start, end) - start.moment()
    zone = floating if start.floating else None if start.utc else start.zone
    if zone is not None and not start.floating and length >= timedelta(hours=22):  # there are days of 23 and of 25 hours
        return None
    if any(_override_touches(key, value, doc, length, (low, high, zone)) for key, value in overrides.items()):
        return True
    return _rule_touches(doc.get("rrule"), start, length, overrides.keys(), (low, high, zone))


Range = tuple[datetime, datetime, tzinfo | None]


def _rule_touches(rrule: Any, start: When, length: timedelta, overridden: Collection[str], given: Range) -> bool | None:
    low, high, zone = given
    beyond = _wall_of(low - length - timedelta(days=1), zone)
    try:
        walls = recurrence.occurrences(rule_of(rrule), start.wall, beyond=beyond) if isinstance(rrule, Mapping) else iter((start.wall,))
        for number, wall in enumerate(walls):
            moment = to_utc(wall, zone)
            if moment >= high or number > _LONGEST_EXPANSION:
                return number > _LONGEST_EXPANSION
            until = to_utc(wall + length, zone) if start.floating else moment + length
            if When(wall, start.all_day).key() not in overridden and (until > low or (not length and moment >= low)):
                return True
    except recurrence.TooComplex:
        return None
    return False


def _override_touches(key: str, value: Doc, doc: Doc, length: timedelta, given: Range) -> bool:
    if value.get("excluded") is True:
        return False
    low, high, zone = given
    zone_name = text_of(doc.get("timezone"))
    start = times.from_json(text_of(value.get("start")) or key, zone_name)
    if start is None:
        return True
    end = times.from_json(text_of(value.get("end")), zone_name)
    first = to_utc(start.wall, zone) if start.floating else start.moment()
    lasting = _end_moment(start, end) - start.moment() if end is not None else length
    until = to_utc(start.wall + lasting, zone) if start.floating else first + lasting
    return first < high and (until > low or (until == first and first >= low))


def _wall_of(moment: datetime, zone: Any) -> datetime:
    try:
        return moment.astimezone(zone or UTC).replace(tzinfo=None)
    except (OverflowError, ValueError):
        return moment.replace(tzinfo=None)
