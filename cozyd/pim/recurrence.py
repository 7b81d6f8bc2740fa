"""Recurrence rules (RFC 5545, section 3.3.10): occurrences, and when the last one ends; bounded in steps (pure).

A rule that never matches costs a bounded search; nothing below a day is iterated.
"""

import calendar
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

MOST_STEPS = 20_000
EMPTY_YEARS = 40
"""For each year of an interval: a certain weekday that is 29 February comes after so many at most, as seldom as any day does."""
MOST_COUNTED = 10_000
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_OF_DAYS = frozenset(("FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST"))
_OF_TIMES = (("BYHOUR", 23), ("BYMINUTE", 59), ("BYSECOND", 59))
_OF_YEARS = frozenset(("BYYEARDAY", "BYWEEKNO"))
_KNOWN = _OF_DAYS | _OF_YEARS | {name for name, _ in _OF_TIMES}


class TooComplex(Exception):
    """A rule this module does not iterate: it counts as endless."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed rule.

    :param until: wall time in the zone of the start, inclusive.
    :param by_day: (nth or 0, weekday 0-6).
    :param by_time: hours, minutes and seconds; each empty: that of the start.
    """

    frequency: str
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    by_day: tuple[tuple[int, int], ...] = ()
    by_month_day: tuple[int, ...] = ()
    by_month: tuple[int, ...] = ()
    by_position: tuple[int, ...] = ()
    week_start: int = 0
    by_year_day: tuple[int, ...] = ()
    by_week: tuple[int, ...] = ()
    by_time: tuple[tuple[int, ...], ...] = ((), (), ())


def parse(text: str, until: datetime | None, *, dates: bool = False) -> Rule:
    """Read a rule.

    :param until: its UNTIL, as wall time of the start.
    :param dates: the start is a day: times of a day mean nothing (RFC 5545, section 3.3.10).
    :raises TooComplex: it has parts that are not iterated here, or is malformed.
    """
    parts = dict(part.partition("=")[::2] for part in text.upper().split(";") if part)
    if parts.get("FREQ") not in FREQUENCIES or not parts.keys() <= _KNOWN or (parts["FREQ"] != "YEARLY" and parts.keys() & _OF_YEARS):
        raise TooComplex
    try:
        return Rule(
            parts["FREQ"],
            max(1, int(parts.get("INTERVAL", "1"))),
            int(parts["COUNT"]) if "COUNT" in parts else None,
            until,
            tuple(_by_day(one) for one in parts.get("BYDAY", "").split(",") if one),
            _numbers(parts.get("BYMONTHDAY", "")),
            _numbers(parts.get("BYMONTH", "")),
            _numbers(parts.get("BYSETPOS", "")),
            DAYS.index(parts.get("WKST", "MO")),
            _numbers(parts.get("BYYEARDAY", "")),
            _numbers(parts.get("BYWEEKNO", "")),
            tuple(() if dates else _up_to(most, parts.get(name, "")) for name, most in _OF_TIMES),
        )
    except ValueError as cause:
        raise TooComplex from cause


def _by_day(text: str) -> tuple[int, int]:
    nth = text[:-2]
    return int(nth) if nth else 0, DAYS.index(text[-2:])


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(",") if one)


def _up_to(most: int, text: str) -> tuple[int, ...]:
    """Numbers from 0.

    :raises ValueError: one is none, or larger.
    """
    found = tuple(sorted(set(_numbers(text))))
    if found and not 0 <= found[0] <= found[-1] <= most:
        raise ValueError(text)
    return found


def occurrences(rule: Rule, start: datetime, *, beyond: datetime | None = None) -> Iterator[datetime]:
    """Wall times of the occurrences, the start first, in order.

    :param beyond: occurrences before it need not be given, which saves time where nothing is counted.
    :raises TooComplex: the search took too many steps.
    """
    given = 0
    first = _skip(rule, start, beyond) if rule.count is None else 0
    if first == 0:
        yield start
        given = 1
    last_found = _period(rule, start, first) or start
    for step in itertools.count(first):
        if step - first > MOST_STEPS:
            raise TooComplex
        period = _period(rule, start, step)
        if period is None or period.year - last_found.year > EMPTY_YEARS * rule.interval:
            return
        for found in _candidates(rule, start, period):
            if found <= start:
                continue
            if (rule.until is not None and found > rule.until) or (rule.count is not None and given >= rule.count):
                return
            given += 1
            last_found = found
            yield found


def _skip(rule: Rule, start: datetime, beyond: datetime | None) -> int:
    """How many whole periods may be left out."""
    if beyond is None or beyond <= start:
        return 0
    days = {"DAILY": 1, "WEEKLY": 7, "MONTHLY": 31, "YEARLY": 366}[rule.frequency] * rule.interval
    return max(0, (beyond - start).days // days - 2)


def _period(rule: Rule, start: datetime, step: int) -> datetime | None:
    """The first day of a period; None beyond the calendar."""
    try:
        if rule.frequency == "DAILY":
            return start + timedelta(days=step * rule.interval)
        if rule.frequency == "WEEKLY":
            first = start - timedelta(days=(start.weekday() - rule.week_start) % 7)
            return first + timedelta(weeks=step * rule.interval)
        months = step * rule.interval * (12 if rule.frequency == "YEARLY" else 1)
        month = start.month - 1 + months if rule.frequency == "MONTHLY" else months
        return start.replace(year=start.year + month // 12, month=month % 12 + 1, day=1)
    except (OverflowError, ValueError):
        return None


def in_year(rule: Rule, start: datetime, year: int) -> Sequence[datetime]:
    """The occurrences of a yearly rule in a year, were it of every one."""
    return [start] if year == start.year else _candidates(rule, start, start.replace(year=year, month=1, day=1))


def _candidates(rule: Rule, start: datetime, period: datetime) -> Sequence[datetime]:
    """The occurrences of one period, in order."""
    if rule.frequency == "DAILY":
        found = [period] if _is_allowed(rule, period) else []
    elif rule.frequency == "WEEKLY":
        wanted = {weekday for _, weekday in rule.by_day} or {start.weekday()}
        days = [period + timedelta(days=number) for number in range(7)]
        found = [day for day in days if day.weekday() in wanted and (not rule.by_month or day.month in rule.by_month)]
    elif rule.frequency == "MONTHLY":
        found = _in_month(rule, start, period) if not rule.by_month or period.month in rule.by_month else []
    else:
        found = _numbered(rule, start, period) if rule.by_year_day or rule.by_week else _in_year(rule, start, period)
    if any(rule.by_time):
        at = (start.hour, start.minute, start.second)
        times = list(itertools.product(*(given or (own,) for given, own in zip(rule.by_time, at, strict=True))))
        found = [day.replace(hour=hour, minute=minute, second=second) for day in found for hour, minute, second in times]
    if rule.by_position and found:
        size = len(found)
        places = {position - 1 if position > 0 else size + position for position in rule.by_position}
        found = [day for place, day in enumerate(found) if place in places]
    return found


def _numbered(rule: Rule, start: datetime, year: datetime) -> list[datetime]:
    """The days of a year by their numbers, or those of their weeks; without BYDAY those of weeks are on the day of the start."""
    length = 366 if calendar.isleap(year.year) else 365
    numbers = {number if number > 0 else length + number + 1 for number in rule.by_year_day} or range(1, length + 1)
    first = year.replace(month=1, day=1)
    weekdays = {weekday for _, weekday in rule.by_day} or (set(range(7)) if rule.by_year_day or rule.by_month_day else {start.weekday()})
    days = [first + timedelta(days=number - 1) for number in sorted(numbers) if 1 <= number <= length]
    days = [day for day in days if day.weekday() in weekdays and _is_allowed(rule, day)]
    return [day for day in days if _in_weeks(rule, day)] if rule.by_week else days


def _in_weeks(rule: Rule, day: datetime) -> bool:
    """Whether a day is in one of BYWEEKNO's weeks: the first has at least four days of its year."""
    middle = _middle(rule, day)
    number = (middle.timetuple().tm_yday - 1) // 7 + 1
    last = (_middle(rule, middle.replace(month=12, day=28)).timetuple().tm_yday - 1) // 7 + 1
    return number in rule.by_week or number - last - 1 in rule.by_week


def _middle(rule: Rule, day: datetime) -> datetime:
    """The fourth day of a day's week."""
    return day + timedelta(days=3 - (day.weekday() - rule.week_start) % 7)


def _is_allowed(rule: Rule, day: datetime) -> bool:
    if rule.by_month and day.month not in rule.by_month:
        return False
    if rule.by_day and day.weekday() not in {weekday for _, weekday in rule.by_day}:
        return False
    length = calendar.monthrange(day.year, day.month)[1]
    return not rule.by_month_day or day.day in rule.by_month_day or day.day - length - 1 in rule.by_month_day


def _in_month(rule: Rule, start: datetime, month: datetime) -> list[datetime]:
    length = calendar.monthrange(month.year, month.month)[1]
    days = [month.replace(day=number) for number in range(1, length + 1)]
    if rule.by_month_day:
        days = [day for day in days if day.day in rule.by_month_day or day.day - length - 1 in rule.by_month_day]
    if rule.by_day:
        return [day for day in days if _is_nth(rule, day, day.day, length)]
    if not rule.by_month_day:
        days = [day for day in days if day.day == start.day]
    return days


def _is_nth(rule: Rule, day: datetime, number: int, length: int) -> bool:
    """Whether a day is one of BYDAY's, counted in its month or year."""
    forward, backward = (number - 1) // 7 + 1, -((length - number) // 7 + 1)
    return any(weekday == day.weekday() and nth in (0, forward, backward) for nth, weekday in rule.by_day)


def _in_year(rule: Rule, start: datetime, year: datetime) -> list[datetime]:
    if rule.by_day and not rule.by_month:
        length = 366 if calendar.isleap(year.year) else 365
        first = year.replace(month=1, day=1)
        days = [first + timedelta(days=number) for number in range(length)]
        days = [day for number, day in enumerate(days, 1) if _is_nth(rule, day, number, length)]
        return [day for day in days if _is_allowed(rule, day)] if rule.by_month_day else days
    months = rule.by_month or (range(1, 13) if rule.by_month_day else (start.month,))
    valid = [month for month in sorted(set(months)) if 1 <= month <= 12]
    return [day for month in valid for day in _in_month(rule, start, year.replace(month=month, day=1))]


def last(rule: Rule, start: datetime) -> datetime | None:
    """The last occurrence; None: endless, or too costly to say."""
    if rule.until is not None:
        return max(start, rule.until)
    if rule.count is None or rule.count > MOST_COUNTED:
        return None
    try:
        found = deque(itertools.islice(occurrences(rule, start), rule.count), maxlen=1).pop()
    except TooComplex:
        return None
    return found
