"""The instances of a recurring object in a time range: to expand, to limit, and to tell who is busy (pure; RFC 4791, 9.6.5 and 9.9)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from cozyd.pim import recurrence, times
from cozyd.pim.caltimes import until_wall
from cozyd.pim.content import Component, Line, tree
from cozyd.pim.ical import main_of
from cozyd.pim.mapped import Context
from cozyd.pim.times import When
from cozyd.pim.zones import Zones, to_utc

MOST_INSTANCES = 5000
TODO = "VTODO"
"""The component whose ranges have a table of their own."""
_EARLIEST = datetime(100, 1, 1, tzinfo=UTC)
"""No rule is looked at before, so that there is room to take lengths from a time."""
_RECURRING = ("RRULE", "RDATE", "EXRULE", "EXDATE")
_TIMES = ("DTSTART", "DTEND", "DUE", "RECURRENCE-ID")


class TooMany(Exception):
    """The object has more instances in the range than are given out."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance.

    :param component: the master, or what overrides it there.
    :param start: of a todo without a start, its due time.
    :param original: the time its RECURRENCE-ID names; None where the object does not recur.
    """

    component: Component
    start: When
    end: When
    original: When | None

    def moments(self, zone: tzinfo | None) -> tuple[datetime, datetime]:
        """Start and end, UTC; floating times are read in a zone."""
        return moment(self.start, zone), moment(self.end, zone)


def moment(when: When, zone: tzinfo | None) -> datetime:
    """The moment of a time; all-day and floating ones are read in a zone, in UTC without one."""
    return to_utc(when.wall, zone) if when.floating else when.moment()


def touches(start: datetime, end: datetime, low: datetime, high: datetime) -> bool:
    """Whether a stretch of time, or a point, is in a range (RFC 4791, section 9.9)."""
    return start < high and (end > low or (start == end and start >= low))


def happens(calendar: Component, low: datetime, high: datetime, zone: tzinfo | None = None) -> bool:
    """Whether an object is in a range, as `of` has it; a todo without times by those of its making and its end (RFC 4791, section 9.9).

    :raises TooComplex, TooMany: as `of`.
    """
    main = main_of(calendar)
    if main.name != TODO or any(main.get(name) is not None for name in _TIMES):
        return bool(of(calendar, low, high, zone))
    context = Context(calendar, Zones(calendar))
    made, done = (_read(main, name, context) for name in ("CREATED", "COMPLETED"))
    if done is None:
        return made is None or moment(made, zone) < high
    known = [moment(one, zone) for one in (made, done) if one is not None]
    return any(low <= one for one in known) and any(one <= high for one in known)


def _touches(one: Instance, low: datetime, high: datetime, zone: tzinfo | None) -> bool:
    start, end = one.moments(zone)
    if one.component.name != TODO:
        return touches(start, end, low, high)
    begins, lasts = one.component.get("DTSTART") is not None, one.component.get("DURATION") is not None
    if begins and lasts:
        return low <= end and (start < high or end <= high)
    if begins and one.component.get("DUE") is not None:
        return (low < end or low <= start) and (start < high or end <= high)
    return low <= start < high if begins else low < end <= high


def of(calendar: Component, low: datetime, high: datetime, zone: tzinfo | None = None) -> list[Instance]:
    """The instances that touch a range, in order of their starts.

    :param zone: the zone of floating times.
    :raises TooComplex: a rule is not iterated here.
    :raises TooMany: there are more than 5,000.
    """
    found = []
    try:
        for one in _all(calendar, low, high, zone):
            if _touches(one, low, high, zone):
                found.append(one)
                if len(found) > MOST_INSTANCES:
                    raise TooMany
    except (ArithmeticError, ValueError) as cause:  # at the end of the calendar
        raise recurrence.TooComplex from cause
    return sorted(found, key=lambda one: one.moments(zone)[0])


def recurs(component: Component) -> bool:
    """Whether a master has more than one instance by a rule or a list of dates."""
    return component.get("RRULE") is not None or component.get("RDATE") is not None


def _all(calendar: Component, low: datetime, high: datetime, zone: tzinfo | None) -> Iterator[Instance]:
    context = Context(calendar, Zones(calendar))
    main = main_of(calendar)
    overriding = [one for one in calendar.components(main.name) if one.get("RECURRENCE-ID") is not None]
    start = _read(main, "DTSTART", context) or _read(main, "DUE", context)
    changed = {}
    for one in overriding:
        original = _read(one, "RECURRENCE-ID", context)
        if original is None:
            continue
        changed[_key(original, start)] = one
        found = _single(one, context, original)
        if found is not None:
            yield found
    if main in overriding or start is None:
        return
    if not recurs(main):
        found = _single(main, context, None)
        if found is not None:
            yield found
        return
    yield from _recurring(main, start, changed, context, (low, high, zone))


def _recurring(
    main: Component, start: When, changed: Mapping[str, Component], context: Context, range_: tuple[datetime, datetime, tzinfo | None]
) -> Iterator[Instance]:
    low, high, zone = max(range_[0], _EARLIEST), range_[1], range_[2]
    excluded = {_key(when, start) for when, _ in _listed(main, "EXDATE", context)} | changed.keys()
    later = _this_and_future(changed, start, context)
    most = max([_length(main, context), *(_length(one, context) + abs(delta) for _, one, delta in later)])
    own = zone if start.floating else None if start.utc else start.zone
    beyond = _wall(low - most - timedelta(days=1), own)
    seen: set[str] = set()
    for source in _sources(main, start, beyond, context):
        for when, end in source:
            if to_utc(when.wall, own) - timedelta(days=1) - most >= high:
                break
            key = _key(when, start)
            if key in excluded or key in seen:
                continue
            seen.add(key)
            component, moved = main, when
            for first, one, delta in later:
                if first <= when.wall:
                    component, moved = one, when.moved(delta)
            yield Instance(component, moved, end or _end(component, moved, context), when)


def _this_and_future(changed: Mapping[str, Component], start: When, context: Context) -> list[tuple[datetime, Component, timedelta]]:
    """Overriding components that hold for later instances too: from when, and by how much those move, as the master's clock has it."""
    found = []
    for one in changed.values():
        line = one.get("RECURRENCE-ID")
        original, now = _read(one, "RECURRENCE-ID", context), _read(one, "DTSTART", context)
        if line is not None and line.first("RANGE").upper() == "THISANDFUTURE" and original is not None and now is not None:
            since = _own_wall(original, start)
            found.append((since, one, _own_wall(now, start) - since))
    return sorted(found, key=lambda one: one[0])


def _sources(main: Component, start: When, beyond: datetime, context: Context) -> Iterator[Iterator[tuple[When, When | None]]]:
    """The dates listed, and what each rule gives: each in order, with the end of a period where it has one."""
    yield iter(sorted(_listed(main, "RDATE", context), key=lambda one: one[0].wall))
    yield iter([(start, None)])
    barred = {wall for line in main.all("EXRULE") for wall in _walls(line, start, None, context)}
    for line in main.all("RRULE"):
        walls = (wall for wall in _walls(line, start, beyond, context) if wall not in barred)
        yield ((When(wall, start.all_day, start.utc, start.zone_name, start.zone), None) for wall in walls)


def _walls(line: Line, start: When, beyond: datetime | None, context: Context) -> Iterator[datetime]:
    parts = dict(part.partition("=")[::2] for part in line.value.upper().split(";") if part)
    until = until_wall(parts["UNTIL"], start, context.zones) if "UNTIL" in parts else None
    last = None
    if until is not None:
        last = until.wall + timedelta(days=1, seconds=-1) if until.all_day else until.wall
    rule = recurrence.parse(line.value, last, dates=start.all_day)
    given = recurrence.occurrences(rule, start.wall, beyond=beyond)
    for number, wall in enumerate(given):
        if number > recurrence.MOST_STEPS:
            raise recurrence.TooComplex
        yield wall


def _listed(main: Component, name: str, context: Context) -> Iterator[tuple[When, When | None]]:
    for line in main.all(name):
        for text in line.value.split(","):
            head, _, tail = text.strip().partition("/")
            when = times.parse(head, line.first("TZID"), context.zones)
            if when is None:
                continue
            length = times.duration(tail) if tail.upper().startswith(("P", "+P")) else None
            end = times.add(when, length) if length is not None else times.parse(tail, line.first("TZID"), context.zones) if tail else None
            yield when, end


def _single(component: Component, context: Context, original: When | None) -> Instance | None:
    start = _read(component, "DTSTART", context)
    if start is None:
        start = _read(component, "DUE", context) or (original if component.name != "VEVENT" else None)
    return Instance(component, start, _end(component, start, context), original) if start is not None else None


def _end(component: Component, start: When, context: Context) -> When:
    """The end of an instance that starts then: its component's duration, exact (RFC 5545, section 3.8.5.3)."""
    length = times.duration(component.value("DURATION"))
    if length is not None:
        return times.add(start, length)
    first = _read(component, "DTSTART", context)
    last = _read(component, "DTEND" if component.name == "VEVENT" else "DUE", context)
    if first is None or last is None or first.all_day != last.all_day:
        return start.moved(timedelta(days=1)) if start.all_day and component.name != TODO else start
    if start.all_day or first.floating or last.floating:
        return start.moved(max(last.wall - first.wall, timedelta(0)))
    return times.add(start, (0, max(last.moment() - first.moment(), timedelta(0))))


def _length(component: Component, context: Context) -> timedelta:
    start = _read(component, "DTSTART", context)
    return _end(component, start, context).wall - start.wall if start is not None else timedelta(0)


def _read(component: Component, name: str, context: Context) -> When | None:
    line = component.get(name)
    return times.read(line, context.zones) if line is not None else None


def _key(when: When, start: When | None) -> str:
    """What names an instance: wall time in the master's zone."""
    return when.key() if start is None or when.all_day else When(_own_wall(when, start)).key()


def _own_wall(when: When, start: When) -> datetime:
    """A time as the clock of the master's zone has it."""
    if when.all_day or when.floating or start.floating or start.all_day:
        return when.wall
    return when.moment().astimezone(UTC if start.utc else start.zone).replace(tzinfo=None)


def _wall(at: datetime, zone: tzinfo | None) -> datetime:
    try:
        return at.astimezone(zone or UTC).replace(tzinfo=None)
    except (OverflowError, ValueError):
        return at.replace(tzinfo=None)


# -- what is given out --------------------------------------------------------------------------------------------------


def expanded(calendar: Component, low: datetime, high: datetime, zone: tzinfo | None = None) -> Component:
    """The object as single instances in UTC, without rules and time zones (RFC 4791, section 9.6.5).

    One with a rule that is not iterated here stays as it is.
    :raises TooMany: there are more than 5,000.
    """
    try:
        found = of(calendar, low, high, zone)
    except recurrence.TooComplex:
        return calendar
    lines: list[Line | Component] = [child for child in calendar.children if isinstance(child, Line)]
    context = Context(calendar, Zones(calendar))
    return Component(calendar.name, calendar.begin, [*lines, *(_written(one, context) for one in found)], calendar.end)


def _written(one: Instance, context: Context) -> Component:
    start, end = _utc(one.start), _utc(one.end)
    length = times.duration(one.component.value("DURATION"))
    lasts = length is not None and times.add(start, length) == end  # days of UTC all have 24 hours
    kept: list[Line | Component] = []
    for child in one.component.children:
        if not isinstance(child, Line) or child.name not in (*_TIMES, *_RECURRING, "DURATION"):
            kept.append(child)
        elif child.name == "DTSTART":
            kept.append(times.write("DTSTART", start, child))
        elif child.name in ("DTEND", "DUE"):
            kept.append(times.write(child.name, end, child))
        elif child.name == "DURATION" and lasts:
            kept.append(child)
    own = any(isinstance(child, Line) and child.name in ("DTEND", "DUE", "DURATION") for child in kept)
    if not own and (length is not None or end != _utc(_end(one.component, one.start, context))):
        kept.append(times.write("DTEND" if one.component.name == "VEVENT" else "DUE", end))
    if one.original is not None:
        kept.append(times.write("RECURRENCE-ID", _utc(one.original)))
    return Component(one.component.name, one.component.begin, kept, one.component.end)


def _utc(when: When) -> When:
    return when if when.all_day or when.floating or when.utc else When(when.moment().replace(tzinfo=None), utc=True)


def limited(calendar: Component, low: datetime, high: datetime, zone: tzinfo | None = None) -> Component:
    """The object with those overriding components only that bear on a range (RFC 4791, section 9.6.6)."""
    context = Context(calendar, Zones(calendar))
    main = main_of(calendar)

    def bears(one: Component) -> bool:
        line, original = one.get("RECURRENCE-ID"), _read(one, "RECURRENCE-ID", context)
        if line is None or original is None or one is main or line.first("RANGE").upper() == "THISANDFUTURE":
            return True
        try:
            now, before = _single(one, context, original), Instance(main, original, _end(main, original, context), original)
            return any(found is not None and touches(*found.moments(zone), low, high) for found in (now, before))
        except ArithmeticError:  # as in `of`
            return True

    kept = [child for child in calendar.children if not isinstance(child, Component) or child.name != main.name or bears(child)]
    return Component(calendar.name, calendar.begin, kept, calendar.end)


# -- free and busy ------------------------------------------------------------------------------------------------------


def busy(texts: Sequence[bytes], low: datetime, high: datetime, zone: tzinfo | None = None) -> dict[str, list[tuple[datetime, datetime]]]:
    """BUSY and BUSY-TENTATIVE stretches of a range, merged (RFC 4791, section 7.10).

    :param texts: calendar objects; what is no event, free or cancelled counts for nothing.
    """
    found: dict[str, list[tuple[datetime, datetime]]] = {"BUSY": [], "BUSY-TENTATIVE": []}
    for text in texts:
        calendar = tree(text, "VCALENDAR")
        if main_of(calendar).name != "VEVENT":
            continue
        try:
            given = of(calendar, low, high, zone)
        except (recurrence.TooComplex, TooMany):
            continue
        for one in given:
            status = one.component.value("STATUS").strip().upper()
            if one.component.value("TRANSP").strip().upper() != "TRANSPARENT" and status != "CANCELLED":
                start, end = one.moments(zone)
                found["BUSY-TENTATIVE" if status == "TENTATIVE" else "BUSY"].append((max(start, low), min(end, high)))
    return {kind: merged(stretches) for kind, stretches in found.items()}


def merged(stretches: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Stretches of time in order, those that touch as one."""
    found: list[tuple[datetime, datetime]] = []
    for start, end in sorted(stretches):
        if start == end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
