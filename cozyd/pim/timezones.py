"""A VTIMEZONE for an IANA zone that is new to an object: the rules in force in the years around now (pure)."""

from datetime import datetime, timedelta
from functools import lru_cache

from cozyd.pim.content import Component, Line, make
from cozyd.pim.zones import named

_YEAR = 2024  # a leap year whose rules stand for all
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def definition(name: str) -> Component:
    """The VTIMEZONE component of an IANA name."""
    children: list[Line | Component] = [make("TZID", name), *(_part(*one) for one in _changes(name))]
    return Component("VTIMEZONE", make("BEGIN", "VTIMEZONE"), children, make("END", "VTIMEZONE"))


def _part(kind: str, start: str, before: str, after: str, rule: str) -> Component:
    children: list[Line | Component] = [make("DTSTART", start), make("TZOFFSETFROM", before), make("TZOFFSETTO", after)]
    if rule:
        children.append(make("RRULE", rule))
    return Component(kind, make("BEGIN", kind), children, make("END", kind))


@lru_cache(maxsize=64)
def _changes(name: str) -> tuple[tuple[str, str, str, str, str], ...]:
    """The changes of offset in a year: kind, onset, offsets before and after, rule."""
    zone = named(name)
    first = datetime(_YEAR, 1, 1)
    found = []
    known = first.replace(tzinfo=zone).utcoffset() or timedelta(0)
    for hour in range(366 * 24):
        moment = first + timedelta(hours=hour)
        offset = moment.replace(tzinfo=zone, fold=1).utcoffset() or timedelta(0)
        if offset != known:
            onset = moment - (offset - known) if offset > known else moment
            onset = onset + (timedelta(0) if offset > known else known - offset)
            found.append((onset, known, offset))
            known = offset
    if not found:
        return (("STANDARD", "19700101T000000", _text(known), _text(known), ""),)
    largest = max(after for _, _, after in found)
    return tuple(
        ("DAYLIGHT" if after == largest else "STANDARD", onset.strftime("1970%m%dT%H%M%S"), _text(before), _text(after), _rule(onset))
        for onset, before, after in found
    )


def _rule(onset: datetime) -> str:
    nth = (onset.day - 1) // 7 + 1
    is_last = (onset + timedelta(days=7)).month != onset.month
    return f"FREQ=YEARLY;BYMONTH={onset.month};BYDAY={-1 if is_last else nth}{_DAYS[onset.weekday()]}"


def _text(offset: timedelta) -> str:
    minutes = int(offset.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
