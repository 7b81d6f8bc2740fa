"""`Doctype`: what the rooms know about one doctype; the table of them is `cozyd/doctypes.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cozyd.documents.store import Change, Doc, DocumentStore, Map, Write


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """A Mango index that comes with the doctype; `name` is the design document's too."""

    name: str
    fields: tuple[str, ...]
    where: Map | None = None


@dataclass(frozen=True, slots=True)
class Doctype:
    """One doctype's rules.

    :param normalise: pure; from the new body and the old one (None: created) to what is stored, on JSON writes.
    :param seal: pure; from a body to what is stored of it, on every kind of write, replicas' too.
    :param follow_up: pure; the writes that a change asks for in the same commit, on every kind of write.
    :param complete: a write with what it has to bring along, read from the store; never changes the body.
    :param ripple: pure but for reading; from the changes of a commit, of all doctypes that name it, to more writes of the same commit.
    :param protected: names of design documents that doors refuse to delete.
    :param indexes: made with the instance.
    :param lenient: a taken unique row is left out instead of refusing the document.
    """

    name: str
    normalise: Callable[[Doc, Doc | None], Doc] | None = None
    seal: Callable[[Doc], Doc] | None = None
    follow_up: Callable[[Change], Sequence[Write]] | None = None
    complete: Callable[[Write, "DocumentStore"], Write] | None = None
    ripple: Callable[[Sequence[Change], "DocumentStore"], Sequence[Write]] | None = None
    protected: frozenset[str] = frozenset()
    indexes: Sequence[IndexDefinition] = ()
    lenient: bool = False
