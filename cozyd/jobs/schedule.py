"""When a timed trigger is due: pure functions of its arguments and of time, in UTC (docs/jobs.md).

A *slot* is a moment at which a trigger is due. `after` gives the next one, `last` the one that came last; both are functions of
the arguments alone, so that no process has to remember anything.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Protocol

from cronsim import CronSim, CronSimError

from cozyd.errors import TriggerUnparsable

LONGEST_ARGUMENTS = 1_000
"""Characters; a cron string of more than this is somebody's joke."""
DAY = timedelta(days=1)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+|[-+]?0")
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class Schedule(Protocol):
    """The slots of a trigger."""

    def after(self, time: datetime) -> datetime | None:
        """The first slot behind a time; None: there is none."""

    def last(self, time: datetime) -> datetime | None:
        """The last slot not behind a time; None: there is none."""


@dataclass(frozen=True, slots=True)
class Once:
    """One moment (`@at`, `@in`)."""

    moment: datetime

    def after(self, time: datetime) -> datetime | None:
        """See `Schedule.after`."""
        return self.moment if self.moment > time else None

    def last(self, time: datetime) -> datetime | None:
        """See `Schedule.last`."""
        return self.moment if self.moment <= time else None


@dataclass(frozen=True, slots=True)
class Every:
    """Each so much time, counted from a beginning (`@every`)."""

    beginning: datetime
    period: timedelta

    def after(self, time: datetime) -> datetime | None:
        """See `Schedule.after`."""
        return self._slot(max(0, (time - self.beginning) // self.period) + 1)

    def last(self, time: datetime) -> datetime | None:
        """See `Schedule.last`."""
        number = (time - self.beginning) // self.period
        return self._slot(number) if number > 0 else None

    def _slot(self, number: int) -> datetime | None:
        try:
            return self.beginning + number * self.period
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron string of six fields, seconds first, in UTC: it knows no time that is skipped or comes twice."""

    text: str

    def after(self, time: datetime) -> datetime | None:
        """See `Schedule.after`."""
        return next(CronSim(self.text, time), None)

    def last(self, time: datetime) -> datetime | None:
        """See `Schedule.last`."""
        whole = time.replace(microsecond=0)
        return next(CronSim(self.text, whole + timedelta(seconds=1), reverse=True), None)


def schedule_of(type: str, arguments: str, *, since: datetime, seed: str) -> Schedule:
    """The schedule of a timed trigger.

    :param type: `@at`, `@in`, `@every`, `@cron`, `@hourly`, `@daily`, `@weekly`, `@monthly`.
    :param since: when the trigger was made, or got its arguments.
    :param seed: what random picks depend on, so that they are always the same.
    :raises TriggerUnparsable: the arguments cannot be read.
    """
    if len(arguments) > LONGEST_ARGUMENTS:
        raise unparsable()
    return _READERS[type](arguments, since, seed)


def duration(text: str) -> timedelta:
    """A duration as Go writes it: `10m`, `1h30m`, `1.5s`.

    :raises ValueError: it is none, or beyond a thousand years.
    """
    if len(text) > LONGEST_ARGUMENTS or not _DURATION.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no duration")
    seconds = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))
    if seconds > 1000 * 366 * 86_400:
        raise ValueError("the duration is too long")
    return timedelta(seconds=-seconds if text.startswith("-") else seconds)


def unparsable() -> TriggerUnparsable:
    """The error of arguments that cannot be read."""
    return TriggerUnparsable("Trigger unparsable")


# -- moments ------------------------------------------------------------------------------------------------------------


def _at(text: str, _since: datetime, _seed: str) -> Schedule:
    try:
        if not _MOMENT.fullmatch(text):
            raise unparsable()
        return Once(datetime.fromisoformat(text.upper()).astimezone(UTC))
    except (ValueError, OverflowError) as cause:
        raise unparsable() from cause


def _in(text: str, since: datetime, _seed: str) -> Schedule:
    try:
        return Once(since + _readable(text))
    except OverflowError as cause:
        raise unparsable() from cause


def _every(text: str, since: datetime, _seed: str) -> Schedule:
    return Every(since, max(timedelta(seconds=1), _readable(text)))


def _readable(text: str) -> timedelta:
    try:
        return duration(text)
    except ValueError as cause:
        raise unparsable() from cause


# -- cron ---------------------------------------------------------------------------------------------------------------

_TERM = re.compile(r"(\*|\?|[0-9]{1,4}|[a-z]{3})(-([0-9]{1,4}|[a-z]{3}))?(/[0-9]{1,4})?")
_NAMED = {"@yearly": "0 0 0 1 1 *", "@annually": "0 0 0 1 1 *", "@monthly": "0 0 0 1 * *", "@weekly": "0 0 0 * * 0"}
_NAMED |= {"@daily": "0 0 0 * * *", "@midnight": "0 0 0 * * *", "@hourly": "0 0 * * * *"}
_RANGES = ("0-59", "0-59", "0-23", "1-31", "1-12", "0-6")


def _cron(text: str, since: datetime, seed: str) -> Schedule:
    words = text.lower().split()
    if len(words) == 2 and words[0] == "@every":
        return _every(words[1], since, seed)
    fields = _NAMED[words[0]].split() if len(words) == 1 and words[0] in _NAMED else words
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise unparsable()
    return _checked(" ".join(_field(field, range) for field, range in zip(fields, _RANGES, strict=True)))


def _field(text: str, range: str) -> str:
    """A field as cronsim reads it: `?` is `*`; a star with a step is a restriction to the reference, so it loses its star."""
    terms = text.split(",")
    if not all(_TERM.fullmatch(term) for term in terms) or (range == "0-6" and "7" in re.split(r"[-,/]", re.sub(r"/\d+", "", text))):
        raise unparsable()
    return ",".join(re.sub(r"^[*?](?=/)", range, term) if re.search(r"/(?!1$)", term) else _whole(term) for term in terms)


def _whole(term: str) -> str:
    return re.sub(r"^[*?](/1)?$", "*", term)


def _checked(text: str) -> Cron:
    """A cron string that cronsim takes; a day that no month has is refused."""
    try:
        CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as cause:
        raise unparsable() from cause
    return Cron(text)


# -- @hourly ... @monthly -----------------------------------------------------------------------------------------------

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_HOUR = re.compile(r"([0-9]{1,2})(am|pm)")


@dataclass(slots=True)
class _Wish:
    """What a periodic trigger leaves to chance."""

    days: Sequence[int]
    after: int = 0
    before: int = 24


def _periodic(days: Sequence[int], read_days: Callable[[list[str]], Sequence[int]] | None, pattern: str) -> Callable[..., Schedule]:
    """A reader of `[on ...] [before ...|after ...|between ... and ...]`.

    :param days: those to choose from when none are named.
    :param read_days: takes the words behind `on` off the list; None: the type knows no days.
    :param pattern: the cron string of a day and an hour.
    """

    def read(text: str, _since: datetime, seed: str) -> Schedule:
        wish = _Wish(days)
        words = text.split()
        while words:
            word = words.pop(0)
            if word == "on" and read_days is not None:
                wish.days = read_days(words)
            elif word in ("before", "and"):
                wish.before = _hour(words) or 24
            elif word in ("after", "between"):
                wish.after = _hour(words)
            else:
                raise unparsable()
        if wish.after >= wish.before:
            raise unparsable()
        chance = Random(hashlib.sha256(seed.encode()).digest())  # noqa: S311 - no secret
        second, minute, hour = chance.randrange(60), chance.randrange(60), chance.randrange(wish.after, wish.before)
        return Cron(f"{second} {minute} " + pattern.format(hour=hour, day=chance.choice(wish.days)))

    return read


def _hour(words: list[str]) -> int:
    found = _HOUR.fullmatch(_word(words))
    if found is None or not 1 <= int(found[1]) <= 12:
        raise unparsable()
    return int(found[1]) % 12 + (12 if found[2] == "pm" else 0)


def _word(words: list[str]) -> str:
    if not words:
        raise unparsable()
    return words.pop(0)


def _weekdays(words: list[str]) -> Sequence[int]:
    found: list[int] = []
    for part in _word(words).split(","):
        if part in ("weekday", "weekend"):
            found += (1, 2, 3, 4, 5) if part == "weekday" else (0, 6)
            continue
        first, dash, last = part.partition("-")
        start = _weekday(first)
        end = _weekday(last) if dash else start
        if dash and start == end:
            raise unparsable()
        found += [day % 7 for day in range(start, end + 1 if end >= start else end + 8)]
    return found


def _weekday(name: str) -> int:
    for number, day in enumerate(_DAYS):
        if name in (day, day[:3]):
            return number
    raise unparsable()


def _days_of_month(words: list[str]) -> Sequence[int]:
    if _word(words) != "the":
        raise unparsable()
    found: list[int] = []
    for part in _word(words).split(","):
        first, dash, last = part.partition("-")
        start = _day_of_month(first)
        end = _day_of_month(last) if dash else start
        if dash and start >= end:
            raise unparsable()
        found += range(start, end + 1)
    return found


def _day_of_month(text: str) -> int:
    if not re.fullmatch("[0-9]{1,2}", text) or not 1 <= int(text) <= 31:
        raise unparsable()
    return int(text)


_READERS: dict[str, Callable[[str, datetime, str], Schedule]] = {
    "@at": _at,
    "@in": _in,
    "@every": _every,
    "@cron": _cron,
    "@hourly": _periodic((0,), None, "* * * *"),
    "@daily": _periodic((0,), None, "{hour} * * *"),
    "@weekly": _periodic(range(7), _weekdays, "{hour} * * {day}"),
    "@monthly": _periodic(range(1, 29), _days_of_month, "{hour} {day} * *"),
}
TIMED = frozenset(_READERS)
"""The types of triggers that are due at a time."""
