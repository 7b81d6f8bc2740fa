"""A konnector goes with its accounts: they are deleted first, what cleans up after them runs, then the konnector itself goes."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from cozyd.accounts import ACCOUNTS
from cozyd.apps.runs import Runs
from cozyd.documents import Documents
from cozyd.documents.store import Ref
from cozyd.errors import Conflict, CozyError, NotFound
from cozyd.jobs import Jobs
from cozyd.jobs.trigger import CLIENT

log = logging.getLogger("cozyd.apps")

KONNECTOR, DELETED = "konnector", "account-deleted"
LOOKED_EVERY, WITHIN = 0.5, 600.0


class Leaving:
    """One instance's.

    :param remove: removes a konnector without accounts, by its slug.
    """

    def __init__(self, docs: Documents, jobs: Jobs, runs: Runs, remove: Callable[[str], object]) -> None:
        self._docs = docs
        self._jobs = jobs
        self._runs = runs
        self._remove = remove

    def accounts_of(self, slug: str) -> Sequence[Ref]:
        """The accounts that a konnector runs with."""
        messages = [trigger.message for trigger in self._jobs.triggers.all() if trigger.worker in (KONNECTOR, CLIENT)]
        wanted = {one.get("account") for one in messages if isinstance(one, dict) and one.get("konnector") == slug}
        ids = sorted(id for id in wanted if isinstance(id, str) and id)
        return [stored.ref for stored in self._docs.get_many(ACCOUNTS, ids) if stored is not None] if ids else []

    def begin(self, slug: str, accounts: Sequence[Ref], key: str) -> None:
        """Delete the accounts, and in the background the konnector when nothing cleans up any more."""
        for ref in accounts:
            try:
                self._docs.retry(partial(self._delete, ref))
            except (NotFound, Conflict):
                continue  # somebody else was faster
        ids = {ref.id for ref in accounts}
        self._runs.start(key, lambda _: self._go(slug, ids), lambda: self._runs.forget(key))

    def _delete(self, ref: Ref) -> None:
        self._docs.delete(ref, self._docs.get(ref).rev)

    def _go(self, slug: str, accounts: set[str]) -> None:
        ends = time.monotonic() + WITHIN
        while self._is_cleaned_up_after(slug, accounts) and time.monotonic() < ends:
            if self._runs.rest(LOOKED_EVERY):
                return  # the process stops: her next DELETE finds no accounts
        try:
            self._remove(slug)
        except CozyError as error:
            log.warning("the konnector %s could not be removed: %s", slug, error.detail)

    def _is_cleaned_up_after(self, slug: str, accounts: set[str]) -> bool:
        """Whether a job is open that an account's end has made."""
        for job in self._jobs.queue(DELETED):
            event = job.event or {}
            doc = event.get("old") or event.get("doc")
            if isinstance(doc, dict) and doc.get("_id") in accounts:
                return True
        messages = [job.message for job in self._jobs.queue(KONNECTOR)]
        return any(isinstance(one, dict) and one.get("konnector") == slug and one.get("account_deleted") is True for one in messages)
