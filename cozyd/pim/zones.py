"""Time zones of one object: IANA names, vendors' spellings, Windows' names, or the object's own VTIMEZONE (RFC 5545, 3.6.5).

Nothing here is kept from one object to the next, so no object's zone can change another's (docs/pim.md).
"""

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cozyd.pim.content import Component
from cozyd.pim.windows import WINDOWS

_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})(\d{2})?$")
_BYDAY = re.compile(r"([+-]?\d)?(MO|TU|WE|TH|FR|SA|SU)$")
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


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
    """One STANDARD or DAYLIGHT part of a VTIMEZONE."""

    start: datetime
    offset: timedelta
    month: int
    nth: int
    weekday: int
    until: datetime | None

    def onset(self, year: int) -> datetime | None:
        """When it begins in a year, wall time."""
        if not self.month or year < self.start.year:
            return self.start if year == self.start.year else None
        try:
            return self._yearly_onset(year)
        except OverflowError:  # a day that the last year of all has not
            return None

    def _yearly_onset(self, year: int) -> datetime | None:
        if self.nth > 0:
            first = datetime(year, self.month, 1)
            day = first + timedelta(days=(self.weekday - first.weekday()) % 7 + 7 * (self.nth - 1))
        else:
            last = datetime(year, self.month, calendar.monthrange(year, self.month)[1])
            day = last - timedelta(days=(last.weekday() - self.weekday) % 7 + 7 * (-self.nth - 1))
        found = day.replace(hour=self.start.hour, minute=self.start.minute, second=self.start.second)
        return None if self.until is not None and found > self.until else found


class OwnZone(tzinfo):
    """A zone with the rules of an object's VTIMEZONE."""

    def __init__(self, name: str, observances: Sequence[_Observance]) -> None:
        self.key = name
        self._observances = observances

    def utcoffset(self, moment: datetime | None) -> timedelta:
        """The offset at a wall time."""
        if moment is None:
            return self._observances[0].offset
        wall = moment.replace(tzinfo=None)
        found: tuple[datetime, timedelta] | None = None
        for one in self._observances:
            for year in (wall.year, wall.year - 1):
                onset = one.onset(year) or (one.start if not one.month else None)
                if onset is not None and onset <= wall and (found is None or onset > found[0]):
                    found = (onset, one.offset)
        return found[1] if found is not None else self._observances[0].offset

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
        found = [one for part in definition.components("STANDARD", "DAYLIGHT")[:64] if (one := _observance(part)) is not None]
        return OwnZone(name, sorted(found, key=lambda one: one.start)) if found else None


def _observance(part: Component) -> _Observance | None:
    offset = _OFFSET.match(part.value("TZOFFSETTO").strip())
    try:
        start = datetime.strptime(part.value("DTSTART").strip()[:15], "%Y%m%dT%H%M%S")
    except ValueError:
        return None
    if offset is None:
        return None
    sign = -1 if offset.group(1) == "-" else 1
    length = timedelta(hours=int(offset.group(2)), minutes=int(offset.group(3)), seconds=int(offset.group(4) or 0))
    if length >= timedelta(hours=24):
        return None
    month, nth, weekday, until = _yearly(part.value("RRULE"))
    return _Observance(start, sign * length, month, nth, weekday, until)


def _yearly(rule: str) -> tuple[int, int, int, datetime | None]:
    """Month, nth, weekday and end of a yearly rule; month 0 when it is none of this kind."""
    parts = dict(part.partition("=")[::2] for part in rule.upper().split(";") if part)
    day = _BYDAY.match(parts.get("BYDAY", ""))
    month = parts.get("BYMONTH", "")
    if parts.get("FREQ") != "YEARLY" or day is None or re.fullmatch(r"0?[1-9]|1[0-2]", month) is None:
        return 0, 0, 0, None
    until = None
    try:
        until = datetime.strptime(parts.get("UNTIL", "")[:8], "%Y%m%d") + timedelta(days=1)
    except ValueError:
        until = None
    return int(month), int(day.group(1) or 1), _DAYS.index(day.group(2)), until


def to_utc(wall: datetime, zone: tzinfo | None) -> datetime:
    """The moment of a wall time; without a zone it counts as UTC."""
    if zone is None:
        return wall.replace(tzinfo=UTC)
    offset = wall.replace(tzinfo=zone).utcoffset() or timedelta(0)
    try:
        return wall.replace(tzinfo=timezone(offset)).astimezone(UTC)
    except OverflowError:
        return wall.replace(tzinfo=UTC)
