"""A VTIMEZONE for an IANA zone that is new to an object: the rules in force in the years around now (pure)."""

from calendar import monthrange
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

from cozyd.errors import Invalid
from cozyd.pim.content import Component, Line, make, tree
from cozyd.pim.zones import Zones, named

_YEARS = range(2024, 2038)
"""In so many years a date falls on every day of the week."""
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def definition(name: str) -> Component:
    """The VTIMEZONE component of an IANA name."""
    children: list[Line | Component] = [make("TZID", name), *(_part(*one) for one in _changes(name))]
    return Component("VTIMEZONE", make("BEGIN", "VTIMEZONE"), children, make("END", "VTIMEZONE"))


def _part(kind: str, before: str, after: str, start: str, rule: str) -> Component:
    children: list[Line | Component] = [make("DTSTART", start), make("TZOFFSETFROM", before), make("TZOFFSETTO", after)]
    if rule:
        children.append(make("RRULE", rule))
    return Component(kind, make("BEGIN", kind), children, make("END", kind))


def whole(text: str) -> str:
    """The zone of a calendar as CalDAV has it: an object with a VTIMEZONE (RFC 4791, section 5.2.2); of a bare IANA name one is made."""
    if "BEGIN:VTIMEZONE" in text.upper() or named(text.strip()) is None:
        return text
    lines = (make("BEGIN", "VCALENDAR"), make("VERSION", "2.0"), make("PRODID", "-//cozyd//cozyd//EN"))
    return (b"".join(line.raw for line in lines) + definition(text.strip()).render() + b"END:VCALENDAR\r\n").decode()


def name_of(text: str) -> str:
    """The IANA name of such a zone, empty where it has none (RFC 7809, section 5.2)."""
    return str(getattr(zone_of(text), "key", ""))


def zone_of(text: str) -> tzinfo | None:
    """The zone of a calendar object with a VTIMEZONE, or of a bare IANA name; None where there is none."""
    if "BEGIN:VTIMEZONE" not in text.upper():
        return named(text.strip()) if text.strip() else None
    try:
        calendar = tree(text.strip().encode(), "VCALENDAR")
    except Invalid:
        return None
    zones = calendar.components("VTIMEZONE")
    return Zones(calendar).find(zones[0].value("TZID")) if zones else None


@lru_cache(maxsize=64)
def _changes(name: str) -> tuple[tuple[str, str, str, str, str], ...]:
    """The changes of offset in a year: kind, offsets before and after, first onset, rule."""
    zone = named(name)

    def offset(moment: datetime) -> timedelta:
        return moment.astimezone(zone).utcoffset() or timedelta(0)

    years = [_of_year(year, offset) for year in _YEARS]
    if not years[0]:
        known = _text(offset(datetime(_YEARS[0], 1, 1, tzinfo=UTC)))
        return (("STANDARD", known, known, "19700101T000000", ""),)
    largest = max(after for _, _, after in years[0])
    alike = [year for year in years if [one[1:] for one in year] == [one[1:] for one in years[0]]]
    return tuple(
        ("DAYLIGHT" if after == largest else "STANDARD", _text(before), _text(after), *_begun([year[number][0] for year in alike]))
        for number, (_, before, after) in enumerate(years[0])
    )


def _of_year(year: int, offset: Callable[[datetime], timedelta]) -> list[tuple[datetime, timedelta, timedelta]]:
    """Onset, offset before and offset after of each change in a year."""
    first = datetime(year, 1, 1, tzinfo=UTC)
    found = []
    for day in range(366):
        before, after = first + timedelta(days=day), first + timedelta(days=day + 1)
        if offset(before) != offset(after):
            found.append((_onset(before, after, offset), offset(before), offset(after)))
    return found


def _onset(before: datetime, after: datetime, offset: Callable[[datetime], timedelta]) -> datetime:
    """When the offset changes between two moments, as wall time of the offset that ends: to the minute."""
    known = offset(before)
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) / 2
        before, after = (middle, after) if offset(middle) == known else (before, middle)
    return (after.replace(second=0, microsecond=0) + known).replace(tzinfo=None)


def _begun(onsets: Sequence[datetime]) -> tuple[str, str]:
    """The first onset of 1970 by the rule of these, one for each year, and the rule."""
    onset = onsets[0]
    same = [one for one in onsets if (one.month, one.weekday()) == (onset.month, onset.weekday())]
    days = {one.day for one in same}
    length = min(monthrange(one.year, one.month)[1] for one in same)
    day = _DAYS[onset.weekday()]
    if min(days) > length - 7:
        window, by = range(monthrange(1970, onset.month)[1] - 6, monthrange(1970, onset.month)[1] + 1), f"BYDAY=-1{day}"
    elif len({(one - 1) // 7 for one in days}) == 1:
        nth = (onset.day - 1) // 7
        window, by = range(nth * 7 + 1, nth * 7 + 8), f"BYDAY={nth + 1}{day}"
    else:
        window = range(min(days), min(days) + 7)
        by = f"BYMONTHDAY={','.join(map(str, window))};BYDAY={day}"
    first = next(one for one in window if date(1970, onset.month, one).weekday() == onset.weekday())
    return f"1970{onset.month:02d}{first:02d}T{onset:%H%M%S}", f"FREQ=YEARLY;BYMONTH={onset.month};{by}"


def _text(offset: timedelta) -> str:
    minutes = int(offset.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
