"""What an edit makes of a body, whatever the driver (pure)."""

from collections.abc import Collection
from typing import Any

from cozyd import jsons
from cozyd.documents.store import LARGEST_DOCUMENT, Change, Doc, Map, Ref, Stored
from cozyd.errors import BadRequest, Invalid, TooLarge

CONTROL = frozenset(
    ("_id", "_rev", "_deleted", "_revisions", "_attachments", "_conflicts", "_deleted_conflicts", "_revs_info", "_local_seq")
)
"""Members of a body that say something about it and are not stored."""


def clean(body: Map) -> Doc:
    """A body, or a patch, without its control members, attachments among them.

    :raises Invalid: an unknown member that starts with an underscore.
    """
    fields = {}
    for name, value in body.items():
        if name[:1] != "_":
            fields[name] = value
        elif name not in CONTROL:
            raise Invalid(f"Bad special document member: {name}")
    return fields


def text_of(ref: Ref, fields: Doc) -> bytes:
    """The text of a document's fields.

    :raises TooLarge: it is beyond what a document may have.
    """
    text = jsons.dump(fields)
    if len(text) > LARGEST_DOCUMENT:
        raise TooLarge(ref.id, error="document_too_large")
    return text


def check_id(id: Any) -> str:
    """An id that a replica sends.

    :raises BadRequest: it is none.
    """
    if not isinstance(id, str) or not id or (id.startswith("_") and not id.startswith("_design/")):
        raise BadRequest("Only reserved document ids may start with underscore.", error="illegal_docid")
    return id


def patched(fields: Doc, patch: Map) -> Doc:
    """Fields with some of them replaced (`...`: removed)."""
    found = dict(fields)
    for name, value in patch.items():
        if value is ...:
            found.pop(name, None)
        else:
            found[name] = value
    return found


def change_of(old: Stored | None, new: Stored, *, seq: str, about: Map, bodied: bool, patched: Collection[str] | None = None) -> Change:
    """What a write did.

    :param old: the live document before it.
    :param bodied: the write said what a tombstone holds; else the change shows the last fields under the new revision.
    :param patched: fields of a patch.
    """
    if not new.deleted:
        return Change("UPDATED", new, old, about, seq, None, patched) if old is not None else Change("CREATED", new, None, about, seq)
    if bodied or old is None:
        return Change("DELETED", new, old, about, seq)
    return Change("DELETED", Stored(new.ref, new.rev, old.text), old, about, seq)
