"""`cozyd migrate documents`: an instance's documents move between SQLite and CouchDB (docs/couchdb.md).

The instance stays where it was, whole, until the operator changes `storage.documents`; only then the target is used. Run again
after a cut, a move goes on; run again after more was written, it brings over what is new.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from cozyd import doctypes
from cozyd.backends import open_documents
from cozyd.config import without_secrets
from cozyd.documents.store import DocumentBackend, DocumentStore, Stored
from cozyd.documents.transfer import Transfer
from cozyd.errors import Conflict, Invalid, NotFound
from cozyd.files.blobs import BlobStore
from cozyd.stack import GLOBAL, Stack

KINDS = ("couchdb", "sqlite")
SQLITE = "sqlite:"
PASSES = 3
VIEWS = frozenset(f"_design/{one.name}" for one in doctypes.PROJECTIONS if one.view)
"""Design documents that the CouchDB driver makes where they are missing."""
Steps = Generator[dict[str, Any], None, None]


def migrate(stack: Stack, domain: str, to: str, *, url: str = "") -> Steps:
    """Copy an instance's documents to the other kind of store, and compare both; progress comes as steps.

    :param to: `couchdb` or `sqlite`.
    :param url: CouchDB's address, where `storage.documents` is not it.
    :raises Invalid: no address of CouchDB is known.
    :raises NotFound: the source has no such instance.
    :raises Conflict: the target has newer revisions, or the source was written to all the while.
    """
    couchdb = url or stack.config.storage.documents
    if to not in KINDS:
        raise Invalid(f"{to!r} is none of {', '.join(KINDS)}", source="To")
    if couchdb == SQLITE:
        raise Invalid("CouchDB's address has to be given, or to be in storage.documents", source="Url")
    addresses = (SQLITE, couchdb) if to == "couchdb" else (couchdb, SQLITE)
    with _opened(stack, addresses[0]) as source, _opened(stack, addresses[1]) as target:
        record = _record(source, domain)
        prefix = str(record.doc["prefix"])
        stores = _open(source, prefix), _open(target, prefix)
        transfer = Transfer(*stores, made=VIEWS)
        equal: dict[str, Any] = {}
        move = partial(_move_contents, stores[0], stack.blobs, prefix) if not stores[1].holds_contents else None
        for step in _until_equal(transfer, move):
            if step["step"] == "equal":
                equal = step
            else:
                yield step
        _open(target, GLOBAL).graft(doctypes.INSTANCES, [record.doc])
        yield equal | {"step": "done", "domain": record.doc["domain"], "documents_at": without_secrets(addresses[1])}


def _until_equal(transfer: Transfer, move_contents: Callable[[], None] | None) -> Iterator[dict[str, Any]]:
    """Copy and compare; once more when the source was written to meanwhile. Contents come after the documents that name them,
    as a commit writes both: whatever was compared has its contents.
    """
    for attempt in range(1, PASSES + 1):
        try:
            yield from transfer.copy()
            if move_contents is not None:
                move_contents()
            yield from transfer.compare()
        except Conflict:
            if attempt == PASSES:
                raise
            continue
        return


def _move_contents(source: DocumentStore, blobs: BlobStore, area: str) -> None:
    """Small contents that lie beside the documents go to the blob store: the other kind of store cannot hold them."""
    there = {key for key, _, _ in blobs.list(area)}
    for key in [key for key, _, _ in source.contents() if key not in there]:
        data = source.content(key)
        if data is not None:  # else it was removed since
            with blobs.new(area, key, size=len(data)) as blob:
                blob.write(data)
                blob.seal()


@contextmanager
def _opened(stack: Stack, address: str) -> Iterator[DocumentBackend]:
    """The documents of an address: the running ones, or others opened for the move."""
    if address == stack.config.storage.documents:
        yield stack.documents
        return
    backend = open_documents(stack.config, stack.drivers.locks, address)
    try:
        yield backend
    finally:
        backend.close()


def _open(backend: DocumentBackend, tenant: str) -> DocumentStore:
    try:
        return backend.open(tenant)
    except NotFound:
        return backend.create(tenant)


def _record(source: DocumentBackend, domain: str) -> Stored:
    """The instance's record in the source.

    :raises NotFound: it has none.
    """
    records = source.open(GLOBAL)
    rows = records.rows("hosts", (domain,), limit=1)
    if not rows:
        raise NotFound(f"{domain} is no instance of the store to move from")
    return records.get(rows[0].ref)
