"""Time zones of one object: IANA names, vendors' spellings, Windows' names, or the object's own VTIMEZONE (RFC 5545, 3.6.5).

Nothing here is kept from one object to the next, so no object's zone can change another's (docs/pim.md).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cozyd.pim.content import Component
from cozyd.pim.recurrence import Rule, TooComplex, in_year
from cozyd.pim.recurrence import parse as recurrence_rule
from cozyd.pim.windows import WINDOWS

_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})(\d{2})?$")
MOST_DATES = 500
"""Rules and listed dates of one zone."""


def named(name: str) -> ZoneInfo | None:
    """The IANA zone a name means; None when it means none."""
    plain = WINDOWS.get(name, name)
    pieces = [piece for piece in plain.split("/") if piece]
    for length in (3, 2, 1):
        candidate = "/".join(pieces[-length:])
        if len(pieces) >= length and (length > 1 or len(pieces) == 1):
            try:
                return ZoneInfo(candidate)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                continue
    return None


@dataclass(frozen=True, slots=True)
class _Observance:
    """One STANDARD or DAYLIGHT part of a VTIMEZONE.

    :param start: its first onset, wall time of the offset before.
    :param rule: of the other ones; its UNTIL is wall time of the offset before, too.
    """

    start: datetime
    before: timedelta
    offset: timedelta
    rule: Rule | None = None

    def onsets(self, year: int) -> Sequence[datetime]:
        """When it begins in a year, wall time of the offset before."""
        if year < self.start.year:
            return ()
        if self.rule is None:
            return (self.start,)
        try:
            found = in_year(self.rule, self.start, year)
        except (OverflowError, ValueError):  # a day that the last year of all has not
            return ()
        return [one for one in found if one >= self.start and (self.rule.until is None or one <= self.rule.until)]


class OwnZone(tzinfo):
    """A zone with the rules of an object's VTIMEZONE."""

    def __init__(self, name: str, observances: Sequence[_Observance]) -> None:
        self.key = name
        self._observances = observances
        self._known: dict[int, Sequence[tuple[datetime, timedelta, timedelta]]] = {}

    def _changes(self, year: int) -> Sequence[tuple[datetime, timedelta, timedelta]]:
        """The latest changes of offset that count in a year: onset, offset before and offset after, in order."""
        if year not in self._known:
            found = [(at, one.before, one.offset) for one in self._observances for at in one.onsets(year)]
            found += [(max(at), one.before, one.offset) for one in self._observances if (at := self._last(one, year - 1))]
            self._known[year] = sorted(found, key=lambda change: change[0] - change[1])
        return self._known[year]

    @staticmethod
    def _last(one: _Observance, year: int) -> Sequence[datetime]:
        """The onsets of the last year up to one that had any."""
        until = one.rule.until if one.rule is not None else None
        latest = min(year, until.year) if until is not None else year
        return one.onsets(latest) or one.onsets(latest - 1) or ((one.start,) if one.start.year <= year else ())

    def utcoffset(self, moment: datetime | None) -> timedelta:
        """The offset at a wall time: where clocks skip it the one before, where they show it twice the first one, as RFC 5545 has it."""
        if moment is None:
            return self._observances[0].offset
        wall, found = moment.replace(tzinfo=None, fold=0), self._observances[0].before
        for onset, before, after in self._changes(wall.year):
            edges = (onset, onset + (after - before))
            if wall >= (min(edges) if moment.fold else max(edges)):
                found = after
        return found

    def fromutc(self, moment: datetime) -> datetime:
        """Its wall time."""
        utc, found = moment.replace(tzinfo=None, fold=0), self._observances[0].before
        for onset, before, after in self._changes(utc.year):
            if utc >= onset - before:
                found = after
        wall = moment + found
        return wall if self.utcoffset(wall) == found else wall.replace(fold=1)

    def dst(self, moment: datetime | None) -> timedelta:  # noqa: ARG002
        """Not told apart."""
        return timedelta(0)

    def tzname(self, moment: datetime | None) -> str:  # noqa: ARG002
        """Its name, verbatim."""
        return self.key


class Zones:
    """The zones of one calendar object."""

    def __init__(self, calendar: Component) -> None:
        self._own = {one.value("TZID"): one for one in calendar.components("VTIMEZONE")}
        self._known: dict[str, tzinfo | None] = {}

    def find(self, name: str) -> tzinfo | None:
        """The zone of a TZID: IANA, else the object's own rules, else none: floating."""
        if name not in self._known:
            self._known[name] = named(name) or self._from_rules(name)
        return self._known[name]

    def _from_rules(self, name: str) -> OwnZone | None:
        definition = self._own.get(name)
        if definition is None:
            return None
        found = [one for part in definition.components("STANDARD", "DAYLIGHT")[:64] for one in _observances(part)]
        return OwnZone(name, sorted(found[:MOST_DATES], key=lambda one: one.start)) if found else None


def _observances(part: Component) -> Sequence[_Observance]:
    """What one part says; each date it lists is one without a rule."""
    offset = _offset(part.value("TZOFFSETTO"))
    start = _wall(part.value("DTSTART"))
    if offset is None or start is None:
        return ()
    before = _offset(part.value("TZOFFSETFROM"))
    before = offset if before is None else before
    listed = [_wall(text) for line in part.all("RDATE") for text in line.value.split(",")]
    found = [_Observance(start, before, offset, _yearly(part.value("RRULE"), before))]
    return found + [_Observance(one, before, offset) for one in listed if one is not None]


def _wall(text: str) -> datetime | None:
    try:
        return datetime.strptime(text.strip()[:15], "%Y%m%dT%H%M%S")
    except ValueError:
        return None


def _offset(text: str) -> timedelta | None:
    found = _OFFSET.match(text.strip())
    if found is None:
        return None
    length = timedelta(hours=int(found.group(2)), minutes=int(found.group(3)), seconds=int(found.group(4) or 0))
    return None if length >= timedelta(hours=24) else length * (-1 if found.group(1) == "-" else 1)


def _yearly(text: str, before: timedelta) -> Rule | None:
    """The rule of a part; None when it is none of each year."""
    parts = dict(piece.partition("=")[::2] for piece in text.upper().split(";") if piece)
    given = parts.get("UNTIL", "")
    until = _wall(given if "T" in given else given[:8] + "T235959") if given else None
    if until is not None and given.endswith("Z"):
        until = _moved(until, before)
    try:
        rule = recurrence_rule(text, until)
    except TooComplex:
        return None
    return rule if rule.frequency == "YEARLY" and rule.interval == 1 and rule.count is None else None


def _moved(wall: datetime, delta: timedelta) -> datetime:
    try:
        return wall + delta
    except OverflowError:
        return wall


def to_utc(wall: datetime, zone: tzinfo | None) -> datetime:
    """The moment of a wall time; without a zone it counts as UTC."""
    if zone is None:
        return wall.replace(tzinfo=UTC)
    offset = wall.replace(tzinfo=zone).utcoffset() or timedelta(0)
    try:
        return wall.replace(tzinfo=timezone(offset)).astimezone(UTC)
    except OverflowError:
        return wall.replace(tzinfo=UTC)
