"""`Ancestry`: which folders the files and folders of some writes are in, and were in (docs/jobs.md)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cozyd import jsons
from cozyd.documents import Documents
from cozyd.documents.store import Map, Write
from cozyd.errors import CozyError
from cozyd.files.lookup import Lookup
from cozyd.permissions import FILES


class Ancestry:
    """Reads what reactions have to know of a batch, as they cannot read themselves: where everything is, where it will be, and, of what
    is in the trash, where it was before.

    It is for one batch: what was looked up once is known.
    """

    def __init__(self, docs: Documents, lookup: Lookup, batch: Sequence[Write]) -> None:
        self._docs = docs
        self._lookup = lookup
        self._batch = batch
        mine = {write.ref.id: write for write in batch if write.ref.doctype == FILES}
        known = docs.get_many(FILES, [id for id, write in mine.items() if write.rev is not None])
        self._states: dict[str, list[Map]] = {id: [_fields(write)] for id, write in mine.items()}
        for stored in known:
            if stored is not None:
                self._states[stored.ref.id].append(stored.doc)
        self._over: dict[str, Sequence[str]] = {}
        self._above: dict[Sequence[str], Mapping[str, Sequence[str]]] = {}

    def told(self) -> Sequence[Write]:
        """The batch, in which each write of a file or folder has in `about` the ids of all folders above it."""
        return [
            replace(write, about={**write.about, **self._all_above(write.ref.id)}) if write.ref.doctype == FILES else write
            for write in self._batch
        ]

    def _all_above(self, id: str) -> Mapping[str, Sequence[str]]:
        """The same for all that lie in one folder, so it is made once."""
        over = tuple(self._directly_over(id))
        if over not in self._above:
            found: dict[str, None] = {}
            left = list(over)
            while left:
                one = left.pop()
                if one not in found:
                    found[one] = None
                    left += self._directly_over(one)
            self._above[over] = {"above": list(found)}
        return self._above[over]

    def _directly_over(self, id: str) -> Sequence[str]:
        """The folders that something is in, in each of its states; and those on the way to where it was before it went to the trash."""
        if id not in self._over:
            states = self._states.get(id)
            if states is None:
                states = [stored.doc for stored in self._docs.get_many(FILES, [id]) if stored is not None]
            parents = [str(doc["dir_id"]) for doc in states if doc.get("dir_id")]
            self._over[id] = list(dict.fromkeys([*parents, *self._before_the_trash(states)]))
        return self._over[id]

    def _before_the_trash(self, states: Iterable[Map]) -> Sequence[str]:
        paths = {doc["restore_path"] for doc in states if isinstance(doc.get("restore_path"), str)}
        found: list[str] = []
        for path in paths:
            try:
                found += self._lookup.on_the_way(path)
            except CozyError:  # another server wrote what is no path
                continue
        return found


def _fields(write: Write) -> Map:
    """What a write says of its document."""
    if isinstance(write.body, bytes):
        return jsons.load_object(write.body)
    return write.body or {name: value for name, value in (write.patch or {}).items() if value is not ...}
