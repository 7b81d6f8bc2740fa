"""`Upkeep`: old jobs are removed, forgotten ones called done (docs/http/jobs.md)."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta

from cozyd.documents import Documents
from cozyd.documents.store import Change, Ref, Write
from cozyd.errors import BadRequest, NotFound
from cozyd.files.tree import read_time, write_time
from cozyd.jobs.job import BY_STATE, JOBS, OPEN, OPEN_KEY, Job

KEPT = 50
"""How many jobs of each worker and state always stay."""
FORGOTTEN_AFTER = timedelta(hours=1)
KEEP_FOR = "2W"
LONGEST = 365_000.0
"""Days of a period: there are no years before the first."""
AT_ONCE = 500
_PERIOD = re.compile(r"(?:[0-9]{1,5}[YMWDhms]){1,7}")
_PART = re.compile(r"([0-9]+)([YMWDhms])")
_UNITS = {"Y": 365.0, "M": 30.0, "W": 7.0, "D": 1.0, "h": 1 / 24, "m": 1 / 1440, "s": 1 / 86_400}


class Upkeep:
    """One tenant's.

    :param abandon: calls an open job done that nobody runs.
    """

    def __init__(self, docs: Documents, get: Callable[[str], Job], abandon: Callable[[Job], bool], now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._get = get
        self._abandon = abandon
        self._now = now

    def clean(self) -> int:
        """Call those jobs done that are open for more than an hour and run nowhere; how many."""
        count = 0
        for row in self._docs.rows(BY_STATE, (OPEN_KEY,)):
            try:
                job = self._get(row.ref.id)
            except NotFound:
                continue
            began = read_time(str(job.doc.get("queued_at" if job.state == "queued" else "started_at")))
            if job.state in OPEN and self._now() - began > FORGOTTEN_AFTER:
                count += self._abandon(job)
        return count

    def purge(self, period: str = "", workers: Collection[str] = ()) -> int:
        """Remove what ended, and was pushed longer ago than a period; the newest 50 of each worker and state stay. How many went.

        :param period: a number and a unit: `3W`, `2M`; empty: two weeks.
        :param workers: only of these; empty: of all.
        :raises BadRequest: it is no period.
        """
        before = write_time(self._now() - period_of(period or KEEP_FOR))
        count = 0
        batch: list[Write] = []
        for write in self._old(before, workers):
            batch.append(write)
            if len(batch) >= AT_ONCE:
                count += self._delete(batch)
                batch = []
        return count + self._delete(batch)

    def _old(self, before: str, workers: Collection[str]) -> Iterator[Write]:
        for state in ("done", "errored"):
            seen: Counter[str] = Counter()
            for row in self._docs.rows(BY_STATE, (state,), descending=True):
                _, worker, queued_at = row.key
                seen[worker] += 1
                if seen[worker] > KEPT and str(queued_at) < before and (not workers or worker in workers):
                    yield Write(Ref(JOBS, row.ref.id), rev=row.rev, deleted=True)

    def _delete(self, batch: list[Write]) -> int:
        return sum(isinstance(answer, Change) for answer in self._docs.commit_each(batch)) if batch else 0


def period_of(text: str) -> timedelta:
    """A period as `3W` or `1M15D`; a month has 30 days, a year 365.

    :raises BadRequest: it is none.
    """
    if not _PERIOD.fullmatch(text):
        raise BadRequest(f"{text[:20]!r} is no period: numbers, each with one of Y M W D h m s", source="duration")
    return timedelta(days=min(LONGEST, sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))))
