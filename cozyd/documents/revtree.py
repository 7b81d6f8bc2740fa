"""Revision trees: merge, winner, stemming, difference (pure), as CouchDB's.

A revision is `<generation>-<hash>`. A tree knows each revision's parent (None: a root, or its ancestors were stemmed away)
and which leaves are deletions. The winner is the live leaf of the highest generation, then the greatest hash as text; when
every leaf is a deletion, the best of those.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cozyd import jsons
from cozyd.documents.malformed import Malformed

REVISIONS_LIMIT = 1000
_LOCAL_REVISION = re.compile(r"0-([0-9]{1,15})")
_REVISION = re.compile(r"[1-9][0-9]{0,9}-[0-9a-zA-Z]{1,64}")


def is_revision(text: Any) -> bool:
    """Whether a value has the form of a revision."""
    return isinstance(text, str) and _REVISION.fullmatch(text) is not None


def generation(rev: str) -> int:
    """The number before the dash."""
    return int(rev.partition("-")[0])


def rank(rev: str) -> tuple[int, str]:
    """What revisions are compared by."""
    number, _, digest = rev.partition("-")
    return int(number), digest


def leaves_of(parents: Mapping[str, str | None]) -> set[str]:
    """Revisions nothing replaced."""
    return parents.keys() - set(parents.values())


def next_rev(parent: str | None, content: Any, *, deleted: bool) -> str:
    """The revision an edit gives: the same edit of the same revision gives the same one, wherever it is made.

    :param content: the new fields, or the patch.
    """
    digest = hashlib.md5(usedforsecurity=False)
    digest.update(f"{parent or ''}|{int(deleted)}|".encode())
    digest.update(jsons.canonical(content))
    return f"{generation(parent) + 1 if parent else 1}-{digest.hexdigest()}"


def next_local(rev: Any) -> int:
    """The number that follows the revision of a `_local` document; None: there was none.

    :raises Malformed: it has another form than `0-N`.
    """
    if rev is None:
        return 1
    found = _LOCAL_REVISION.fullmatch(rev) if isinstance(rev, str) else None
    if found is None:
        raise Malformed("Invalid rev format")
    return int(found.group(1)) + 1


@dataclass(slots=True)
class Tree:
    """A document's revisions.

    :param parents: revision -> the one it replaced, None of a root.
    :param deleted: revisions that are deletions.
    """

    parents: dict[str, str | None] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    @property
    def leaves(self) -> Sequence[str]:
        """Revisions nothing replaced: the winner first, then live ones, then deletions, each best first."""
        return sorted(leaves_of(self.parents), key=lambda rev: (rev not in self.deleted, rank(rev)), reverse=True)

    @property
    def winner(self) -> str:
        """The winning leaf."""
        return self.leaves[0]

    @property
    def conflicts(self) -> Sequence[str]:
        """Live leaves that lost, best first."""
        return [rev for rev in self.leaves[1:] if rev not in self.deleted]

    def path(self, rev: str) -> Sequence[str]:
        """From `rev` back to its oldest kept ancestor."""
        found: list[str] = []
        at: str | None = rev
        while at is not None and at in self.parents:
            found.append(at)
            at = self.parents[at]
        return found

    def grown_into(self, rev: str) -> Sequence[str]:
        """The leaves that a revision grew into, best first."""
        return [leaf for leaf in self.leaves if rev in self.path(leaf)]

    def merge(self, path: Sequence[str], *, deleted: bool) -> bool:
        """Add a branch, given from its leaf back to its oldest known ancestor.

        :returns: whether anything new came: the revision, or ancestors of known ones.
        """
        changed = False
        if deleted and path[0] not in self.parents:
            self.deleted.add(path[0])
        for rev, parent in zip(path, [*path[1:], None], strict=True):
            if rev not in self.parents or (self.parents[rev] is None and parent is not None):
                self.parents[rev] = parent
                changed = True
        return changed

    def stem(self, limit: int = REVISIONS_LIMIT) -> Sequence[str]:
        """Forget what lies more than `limit` revisions behind every leaf; answers what was forgotten."""
        kept: set[str] = set()
        for leaf in self.leaves:
            kept.update(self.path(leaf)[:limit])
        gone = [rev for rev in self.parents if rev not in kept]
        for rev in gone:
            del self.parents[rev]
        for rev, parent in self.parents.items():
            if parent is not None and parent not in kept:
                self.parents[rev] = None
        return gone

    def missing(self, revs: Iterable[str]) -> Sequence[str]:
        """Which of these revisions the tree does not know."""
        return [rev for rev in dict.fromkeys(revs) if rev not in self.parents]

    def possible_ancestors(self, missing: Sequence[str]) -> Sequence[str]:
        """Leaves of a lower generation than some missing revision: a replica may send only what came after them."""
        highest = max((generation(rev) for rev in missing), default=0)
        return [leaf for leaf in self.leaves if generation(leaf) < highest]

    def purge(self, rev: str) -> Sequence[str]:
        """Forget a leaf and the ancestors that only it had; answers them."""
        if rev not in self.leaves:
            return ()
        gone = []
        others = {one for leaf in self.leaves if leaf != rev for one in self.path(leaf)}
        for one in self.path(rev):
            if one in others:
                break
            gone.append(one)
        for one in gone:
            del self.parents[one]
            self.deleted.discard(one)
        return gone


def revisions_of(path: Sequence[str]) -> dict[str, Any]:
    """The member `_revisions` of a revision: where its path starts, and the hashes back to the oldest kept ancestor."""
    return {"start": generation(path[0]), "ids": [rev.partition("-")[2] for rev in path]}


def given_path(doc: Mapping[str, Any]) -> Sequence[str]:
    """The branch a replica sends: `_rev` back along `_revisions`; either is enough.

    :raises Malformed: one of them has not the form of a revision, `_revisions` has not its own, or there is neither.
    """
    revisions = doc.get("_revisions")
    path = [doc.get("_rev")]
    if revisions is not None:
        start, ids = (revisions.get("start"), revisions.get("ids")) if isinstance(revisions, Mapping) else (None, None)
        if not isinstance(start, int) or not isinstance(ids, list):
            raise Malformed("_revisions has a number `start` and an array `ids`")
        if ids and path[0] in (None, f"{start}-{ids[0]}"):
            path = [f"{start - back}-{digest}" for back, digest in enumerate(ids) if start - back > 0]
    if not path or not all(map(is_revision, path)):
        raise Malformed("Invalid rev format")
    return [str(rev) for rev in path]
