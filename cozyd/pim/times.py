"""Times of events and todos: lines of a calendar object <-> the forms of the JSON documents (docs/pim.md).

JSON forms: `2026-03-01` (all day), `2026-03-01T10:00:00+01:00` with a `timezone` beside it, `...Z` (UTC), no offset (floating).
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from cozyd.pim.content import Line, Parameters, make
from cozyd.pim.zones import Zones, named, to_utc

_DURATION = re.compile(r"([+-])?P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$")
ENDLESS = "9999-12-31T23:59:59Z"
WIDENED = timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class When:
    """A time as it stands in an object.

    :param wall: wall time; midnight of an all-day one.
    :param zone_name: TZID, empty when it has none.
    """

    wall: datetime
    all_day: bool = False
    utc: bool = False
    zone_name: str = ""
    zone: tzinfo | None = None

    @property
    def floating(self) -> bool:
        """Neither UTC, nor with a zone that is known."""
        return not self.utc and self.zone is None

    def moment(self) -> datetime:
        """The moment, UTC; floating times count as UTC."""
        return to_utc(self.wall, None if self.utc else self.zone)

    def text(self) -> str:
        """The JSON form."""
        if self.all_day:
            return self.wall.date().isoformat()
        plain = self.wall.isoformat(timespec="seconds")
        if self.utc:
            return plain + "Z"
        if self.zone is None:
            return plain
        offset = self.wall.replace(tzinfo=self.zone).utcoffset() or timedelta(0)
        return plain + _offset_text(offset)

    def key(self) -> str:
        """What names an occurrence in `overrides`: wall time without offset."""
        return self.wall.date().isoformat() if self.all_day else self.wall.isoformat(timespec="seconds")

    def moved(self, delta: timedelta) -> "When":
        """The same, later by a wall-time difference."""
        return When(self.wall + delta, self.all_day, self.utc, self.zone_name, self.zone)


def _offset_text(offset: timedelta) -> str:
    sign = "-" if offset < timedelta(0) else "+"
    minutes = abs(int(offset.total_seconds())) // 60
    return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"


def read(line: Line, zones: Zones) -> When | None:
    """The time of a line; None when it is none."""
    found = parse(line.value.strip(), line.first("TZID"), zones)
    if found is not None and line.first("VALUE").upper() == "DATE" and not found.all_day:
        return When(datetime.combine(found.wall.date(), datetime.min.time()), all_day=True)
    return found


def parse(text: str, zone_name: str, zones: Zones) -> When | None:
    """One value of a time property."""
    try:
        if len(text) == 8 and text.isascii() and text.isdigit():
            return When(datetime.combine(date(int(text[:4]), int(text[4:6]), int(text[6:])), datetime.min.time()), all_day=True)
        wall = _wall(text[:15])
    except ValueError:
        return None
    if text[15:] == "Z":
        return When(wall, utc=True)
    if text[15:]:
        return None
    return When(wall, zone_name=zone_name, zone=zones.find(zone_name) if zone_name else None)


def _wall(text: str) -> datetime:
    """The time of `20260301T100000`, five times as fast as `strptime`.

    A leap second is the second before it (RFC 5545, section 3.3.12).

    :raises ValueError: it is none.
    """
    if len(text) != 15 or text[8] != "T" or not text.isascii() or not (text[:8] + text[9:]).isdigit():
        raise ValueError(text)
    return datetime(int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[9:11]), int(text[11:13]), int(text[13:].replace("60", "59")))


def from_json(text: str, zone_name: str, zones: Zones | None = None) -> When | None:
    """The time of a JSON form; an offset that misfits the zone is an instant, and converted."""
    if len(text) == 10:
        try:
            return When(datetime.combine(date.fromisoformat(text), datetime.min.time()), all_day=True)
        except ValueError:
            return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    wall = moment.replace(tzinfo=None, microsecond=0)
    zone = (zones.find(zone_name) if zones is not None else named(zone_name)) if zone_name else None
    if moment.tzinfo is None:
        return When(wall, zone_name=zone_name if zone is not None else "", zone=zone)
    if zone is None:
        return When(_utc_wall(moment), utc=True)
    if wall.replace(tzinfo=zone).utcoffset() == moment.utcoffset() and not text.endswith(("Z", "z")):
        return When(wall, zone_name=zone_name, zone=zone)
    try:
        return When(moment.astimezone(zone).replace(tzinfo=None, microsecond=0), zone_name=zone_name, zone=zone)
    except (ValueError, OverflowError):
        return When(_utc_wall(moment), utc=True)


def fitted(text: str, zone_name: str) -> str:
    """A JSON form whose offset misfits the zone as the wall time there; any other as it is."""
    found = from_json(text, zone_name) if zone_name and len(text) > 10 else None
    if found is None or found.zone is None or found.wall.isoformat() == text[:19]:
        return text
    return found.text()


def _utc_wall(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    except OverflowError:
        return moment.replace(tzinfo=None, microsecond=0)


def write(name: str, when: When, old: Line | None = None) -> Line:
    """A line of a time; unknown parameters of the old one stay."""
    kept: Parameters = tuple(one for one in (old.parameters if old is not None else ()) if one[0] not in ("TZID", "VALUE"))
    if when.all_day:
        kept = (("VALUE", ("DATE",)), *kept)
    elif when.zone_name and not when.utc:
        kept = (("TZID", (when.zone_name,)), *kept)
    return make(name, value(when), kept)


def value(when: When) -> str:
    """A time as a value of a line."""
    plain = when.wall.isoformat(timespec="seconds").replace("-", "").replace(":", "")  # `strftime` leaves the zeros of early years out
    return plain[:8] if when.all_day else plain + ("Z" if when.utc else "")


def duration(text: str) -> tuple[int, timedelta] | None:
    """A DURATION: nominal days, and exact time; None when it is none."""
    found = _DURATION.match(text.strip().upper())
    if found is None or text.strip().upper().endswith("P"):
        return None
    sign = -1 if found.group(1) == "-" else 1
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[1:])
    try:
        return sign * (weeks * 7 + days), sign * timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        return None


def add(when: When, length: tuple[int, timedelta]) -> When:
    """A time plus a duration: days are of the wall, the rest is exact."""
    days, rest = length
    try:
        wall = when.wall + timedelta(days=days)
        if not rest or when.all_day:
            return When(wall + rest, when.all_day, when.utc, when.zone_name, when.zone)
        if when.zone is None:
            return When(wall + rest, when.all_day, when.utc, when.zone_name, when.zone)
        wall = (to_utc(wall, when.zone) + rest).astimezone(when.zone).replace(tzinfo=None)
        return When(wall, when.all_day, when.utc, when.zone_name, when.zone)
    except OverflowError:
        return when


def utc_text(moment: datetime) -> str:
    """A moment as bounds have it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
