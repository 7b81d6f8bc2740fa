"""What the auth room does with whole doctypes: read them, and keep them bounded."""

from collections.abc import Sequence

from cozyd.documents import Documents
from cozyd.documents.store import Stored, Write
from cozyd.errors import CozyError, NotFound

SLACK = 50
"""How many more than wanted there may be before the oldest go, so that not each write removes one."""


def every(docs: Documents, doctype: str) -> Sequence[Stored]:
    """All documents of a doctype; none when it was never made."""
    try:
        return docs.all(doctype).rows
    except NotFound:
        return ()


def thin_out(docs: Documents, doctype: str, most: int) -> None:
    """Remove the oldest documents of a doctype whose ids rise, once there are clearly more than wanted."""
    try:
        count = docs.info(doctype).count
    except NotFound:
        return
    if count <= most + SLACK:
        return
    oldest = docs.all(doctype, limit=count - most, docs=False).rows
    for done in docs.commit_each([Write(stored.ref, rev=stored.rev, deleted=True) for stored in oldest]):
        if isinstance(done, CozyError) and done.status >= 500:
            raise done
