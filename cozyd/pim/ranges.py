"""Which rows of a calendar touch a time range: by the rows, for recurring ones by their documents, at last by their texts."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from cozyd.documents.store import Map, Ref, Row, Stored
from cozyd.errors import CozyError
from cozyd.pim import ical, instances, occurrence
from cozyd.pim.recurrence import TooComplex
from cozyd.pim.rows import event_at, month_of, served_at
from cozyd.pim.times import ENDLESS, WIDENED, utc_text
from cozyd.pim.zones import to_utc

LOW, HIGH = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
MOST_MONTHS = 60
"""A longer range is looked up in the whole listing."""


def months(low: datetime | None, high: datetime | None) -> range | None:
    """The numbers of the months that a range touches; None of one that is open, or long."""
    if low is None or high is None or low <= LOW or high >= HIGH:
        return None
    found = range(month_of(_text(low)), month_of(_text(high)) + 1)
    return found if 0 < len(found) <= MOST_MONTHS else None


def touching(
    rows: Sequence[Row], low: datetime, high: datetime, zone: tzinfo | None, read: Callable[[Sequence[Row]], Mapping[Ref, Stored]]
) -> list[Row]:
    """The rows of what touches a range.

    :param zone: of all-day and floating times; None: UTC.
    :param read: gives the documents of rows.
    """
    first, last = _text(low), _text(high)
    near = [row for row in rows if not row.gone and _overlaps(row.value, first, last)]
    near = [
        row
        for row in near
        if not row.value.get("floats") or row.value["comp"] == instances.TODO or _floats_into(row.value, low, high, zone)
    ]
    docs = read([row for row in near if row.value.get("recurs") or _needs_text(row.value, first, last)])
    return [row for row in near if row.ref not in docs or _happens(row, docs[row.ref], low, high, zone)]


def _text(moment: datetime) -> str:
    """A moment as rows have it; the first and last ones as texts below and above all."""
    if moment <= LOW:
        return ""
    return "~" if moment >= HIGH else utc_text(moment)


def _overlaps(value: Map, first: str, last: str) -> bool:
    """Whether the bounds of a row touch a range; an undated todo may touch any, an undated journal none."""
    start, end = value.get("start"), value.get("end")
    if not start or not end:
        return bool(value["comp"] != "VJOURNAL")
    if value["comp"] == instances.TODO:
        return bool(start <= last and (end >= first or end == ENDLESS))
    return bool(start < last and (end > first or (start == end and start >= first) or end == ENDLESS))


def _needs_text(value: Map, first: str, last: str) -> bool:
    """Whether it takes the text of a todo to say: it has no time, none of a zone, or one at the edge of the range."""
    start, end = value.get("start"), value.get("end")
    return value["comp"] == instances.TODO and (not start or not end or bool(value.get("floats")) or not (first < end and start < last))


def _floats_into(value: Map, low: datetime, high: datetime, zone: tzinfo | None) -> bool:
    """The same for times of no zone, whose bounds are widened."""
    try:
        start, end = (to_utc(wall, zone) for wall in (_wall(value["start"]) + WIDENED, _wall(value["end"]) - WIDENED))
    except (OverflowError, ValueError, TypeError):
        return True
    return instances.touches(start, end, low, high)


def _wall(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


def _happens(row: Row, stored: Stored, low: datetime, high: datetime, zone: tzinfo | None) -> bool:
    try:
        event = event_at(row.key, stored)
        found = occurrence.happens_between(event, _within(low), _within(high), zone) if row.value["comp"] != instances.TODO else None
        return found if found is not None else instances.happens(ical.parse(served_at(row.key, stored)), _within(low), _within(high), zone)
    except (TooComplex, instances.TooMany, ArithmeticError, ValueError, TypeError, AttributeError, CozyError):
        return True  # better shown than lost; an app may store anything


def _within(moment: datetime) -> datetime:
    """A moment that a few years may be added to or taken from."""
    return min(max(moment, LOW + timedelta(days=4000)), HIGH - timedelta(days=4000))
