"""`Feeds`: secret addresses where calendars, or address books, are read as one file, without a log-in (docs/pim.md).

Whoever has the address reads; nobody writes. The secret in it comes from the instance's own and the feed's turn, so that it can be shown
again, and ends when the turn moves on.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored
from cozyd.errors import Invalid, NotFound
from cozyd.pim.collections import Collection, Collections, Kind
from cozyd.pim.times import utc_text

FEEDS = "io.cozy.dav.feeds"
MOST = 100
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Feed:
    """One secret address.

    :param key: what stands in the address, before `.ics` or `.vcf`.
    :param collections: ids of what it shows.
    """

    id: str
    name: str
    kind: Kind
    key: str
    collections: tuple[str, ...]

    @property
    def file(self) -> str:
        """The last part of its address."""
        return f"{self.key}.{'ics' if self.kind == 'calendar' else 'vcf'}"


class Feeds:
    """One tenant's secret addresses.

    :param secret: of the instance.
    """

    def __init__(self, docs: Documents, known: Collections, secret: Callable[[], bytes], now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._collections = known
        self._secret = secret
        self._now = now

    def all(self) -> Sequence[Feed]:
        """All of them, oldest first."""
        try:
            return [self._feed(one) for one in self._docs.all(FEEDS).rows]
        except NotFound:
            return ()

    def make(self, name: str, collections: Sequence[str]) -> Feed:
        """A new address for one or more calendars, or one or more address books.

        :raises Invalid: none are named, they are of both kinds, or there are too many feeds.
        :raises NotFound: one is not there.
        """
        found = [self._collections.get(id) for id in dict.fromkeys(collections)]
        kinds = {one.kind for one in found}
        if len(kinds) != 1:
            raise Invalid("A link shows calendars, or address books: one at least, and not both", source="collections")
        if len(self.all()) >= MOST:
            raise Invalid(f"There are {MOST} links already", source="collections")
        shown = name.strip()[:_LONGEST_NAME] or ", ".join(one.props.get("name") or one.id for one in found)[:_LONGEST_NAME]
        ids = [one.id for one in found]
        body = {"name": shown, "kind": kinds.pop(), "collections": ids, "turn": 1, "created_at": utc_text(self._now())}
        return self._feed(self._docs.put(FEEDS, body))

    def reset(self, id: str) -> Feed:
        """Another address for the same; the old one shows nothing from now on.

        :raises NotFound: there is no such feed.
        """

        def write() -> Stored:
            stored = self._docs.get(Ref(FEEDS, id))
            return self._docs.put(FEEDS, {**stored.doc, "turn": int(stored.doc["turn"]) + 1})

        return self._feed(self._docs.retry(write))

    def remove(self, id: str) -> None:
        """Have an address show nothing any more.

        :raises NotFound: there is no such feed.
        """
        stored = self._docs.get(Ref(FEEDS, id))
        self._docs.delete(stored.ref, stored.rev)

    def open(self, key: str) -> tuple[Feed, Sequence[Collection]]:
        """What an address shows; collections that are gone are left out.

        :raises NotFound: nothing, or no more.
        """
        id = key.partition("-")[0]
        stored = self._docs.get_many(FEEDS, [id])[0] if id.isalnum() else None
        feed = self._feed(stored) if stored is not None else None
        if feed is None or not hmac.compare_digest(feed.key.encode(), key.encode()):
            raise NotFound("There is no such link")
        shown = [self._collections.get(id) for id in feed.collections if self._collections.has(id)]
        if not shown:
            raise NotFound("There is no such link")
        return feed, shown

    def _feed(self, stored: Stored) -> Feed:
        doc = stored.doc
        text = f"dav-feed\0{stored.ref.id}\0{doc['turn']}".encode()
        secret = hmac.new(self._secret(), text, hashlib.sha256).hexdigest()[:48]
        return Feed(stored.ref.id, str(doc["name"]), doc["kind"], f"{stored.ref.id}-{secret}", tuple(doc["collections"]))
