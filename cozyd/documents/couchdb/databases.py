"""`Databases`: one tenant's databases, in CouchDB's own terms."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from cozyd.documents.couchdb import names
from cozyd.documents.couchdb.client import Client, refused
from cozyd.documents.store import Doc, Map, Ref
from cozyd.errors import CozyError, Invalid, Locked, NotFound, PreconditionFailed
from cozyd.locks import Locks

NO_DATABASE = "Database does not exist."
PAGE = 1_000
_PURGED_AT_ONCE = 100
_LONGEST, _LOOK = 10.0, 0.2
"""Seconds to wait for the tenant's lock, and between two looks meanwhile."""
Answer = Mapping[str, Any]


class Databases:
    """Requests to a tenant's databases.

    :param tenant: the first part of their names.
    """

    def __init__(self, client: Client, tenant: str) -> None:
        self._client = client
        self.tenant = tenant

    # -- one database -----------------------------------------------------------------------------------------------

    def path(self, doctype: str, *parts: str) -> str:
        """The path of a doctype's database, or of something in it.

        :raises NotFound: there can be no such doctype.
        """
        try:
            return names.path_of(names.database_of(self.tenant, doctype), *parts)
        except Invalid as cause:
            raise NotFound(NO_DATABASE) from cause

    def own(self, name: str, *parts: str) -> str:
        """The path of one of our own databases."""
        return names.path_of(f"{self.tenant}/{name}", *parts)

    def get(self, path: str, **params: Any) -> Any:
        """Read JSON."""
        return self._client.get(path, tenant=self.tenant, params=params)

    def post(self, path: str, body: Any, **params: Any) -> Any:
        """Post JSON."""
        return self._client.post(path, body, tenant=self.tenant, params=params)

    def put(self, path: str, body: Any) -> Any:
        """Put JSON."""
        return self._client.ask("PUT", path, tenant=self.tenant, body=body)

    def make(self, path: str) -> bool:
        """Make a database of one shard; False: it was there."""
        try:
            self._client.ask("PUT", path, tenant=self.tenant, params={"q": 1})
        except PreconditionFailed:
            return False
        return True

    def make_doctype(self, doctype: str) -> bool:
        """Make a doctype's database; False: it was there.

        :raises Invalid: no doctype may have this name.
        """
        return self.make(names.path_of(names.database_of(self.tenant, doctype)))

    def delete(self, path: str) -> None:
        """Delete a database.

        :raises NotFound: it is not there.
        """
        self._client.ask("DELETE", path, tenant=self.tenant)

    def destroy(self) -> None:
        """Delete all of the tenant's databases."""
        for name in self.all():
            try:
                self.delete(names.path_of(name))
            except NotFound:
                continue

    def all(self) -> Sequence[str]:
        """The names of the tenant's databases, our own included."""
        found = self.get("/_all_dbs", startkey=f"{self.tenant}/", endkey=f"{self.tenant}0")
        return [name for name in found if name.startswith(f"{self.tenant}/")]

    @contextmanager
    def alone(self, locks: Locks) -> Iterator[None]:
        """Hold the tenant's lock.

        :raises Locked: somebody had it too long.
        :raises Unavailable: CouchDB does not answer whoever has it, and enough others wait.
        """
        with ExitStack() as held:
            with self._client.patience():
                self._wait(locks, held)
            yield

    def _wait(self, locks: Locks, held: ExitStack) -> None:
        deadline = time.monotonic() + _LONGEST
        while True:
            try:
                held.enter_context(locks.hold(f"documents/{self.tenant}", wait=_LOOK, ttl=60))
            except Locked:
                if time.monotonic() > deadline:
                    raise
                self._client.check_crowd()
                continue
            return

    # -- documents --------------------------------------------------------------------------------------------------

    def winners(self, path: str, ids: Sequence[str], **params: Any) -> Sequence[Answer]:
        """Rows of `_all_docs` for these ids, in their order; none at all when there is no database."""
        if not ids:
            return []
        try:
            rows: Sequence[Answer] = self.post(f"{path}/_all_docs", {"keys": ids}, **params)["rows"]
        except NotFound:
            return []
        return rows

    def revisions(self, path: str, asked: Sequence[tuple[str, str]], **params: Any) -> Sequence[Doc | None]:
        """Named revisions, in the order asked; None for one whose body is gone."""
        if not asked:
            return []
        answer = self.post(f"{path}/_bulk_get", {"docs": [{"id": id, "rev": rev} for id, rev in asked]}, **params)
        return [one["docs"][0].get("ok") for one in answer["results"]]

    def write(self, path: str, docs: Sequence[Doc], *, new_edits: bool = True) -> Sequence[Answer]:
        """`_bulk_docs`: a row for each document, with its new revision or an error; only errors when `new_edits` is false."""
        body: dict[str, Any] = {"docs": docs} if new_edits else {"docs": docs, "new_edits": False}
        rows: Sequence[Answer] = self.post(f"{path}/_bulk_docs", body)
        return rows

    def purge(self, path: str, revs: Mapping[str, Sequence[str]]) -> None:
        """Forget leaves."""
        items = list(revs.items())
        for at in range(0, len(items), _PURGED_AT_ONCE):
            self.post(f"{path}/_purge", dict(items[at : at + _PURGED_AT_ONCE]))

    def every(self, path: str) -> Iterator[Doc]:
        """All live documents but design documents, page by page; none when there is no database."""
        start = ""
        while True:
            try:
                rows = self.get(f"{path}/_all_docs", startkey=start, limit=PAGE, include_docs=True)["rows"]
            except NotFound:
                return
            yield from (row["doc"] for row in rows if not row["id"].startswith("_design/"))
            if len(rows) < PAGE:
                return
            start = rows[-1]["id"] + "\0"

    # -- private data -----------------------------------------------------------------------------------------------

    def privates(self, refs: Iterable[Ref]) -> Mapping[Ref, Map]:
        """The private data of those documents that have some."""
        by_id = {private_id(ref): ref for ref in refs}
        rows = self.winners(self.own(names.PRIVATE), list(by_id), include_docs=True)
        return {by_id[row["id"]]: row["doc"]["data"] for row in rows if row.get("doc")}

    def set_privates(self, wanted: Mapping[Ref, Map | None]) -> None:
        """Write private data; None and an empty one remove it."""
        by_id = {private_id(ref): data for ref, data in wanted.items()}
        rows = self.winners(self.own(names.PRIVATE), list(by_id))
        known = {row["id"]: row["value"] for row in rows if "value" in row}
        docs = []
        for id, data in by_id.items():
            live = id in known and not known[id].get("deleted")
            if data or live:
                head = {"_id": id} | ({"_rev": known[id]["rev"]} if live else {})
                docs.append(head | ({"data": dict(data)} if data else {"_deleted": True}))
        self.write_own(names.PRIVATE, docs)

    def drop_privates(self, doctype: str) -> None:
        """Remove the private data of all documents of a doctype."""
        try:
            rows = self.get(f"{self.own(names.PRIVATE)}/_all_docs", startkey=f"{doctype}/", endkey=f"{doctype}0")["rows"]
        except NotFound:
            return
        self.write_own(names.PRIVATE, [{"_id": row["id"], "_rev": row["value"]["rev"], "_deleted": True} for row in rows])

    def write_own(self, name: str, docs: Sequence[Doc]) -> None:
        """Write documents of one of our databases, which is made when it is not there.

        :raises Conflict: another process wrote one meanwhile.
        """
        if not docs:
            return
        try:
            rows = self.write(self.own(name), docs)
        except NotFound:
            self.make(self.own(name))
            rows = self.write(self.own(name), docs)
        for row in rows:
            if "error" in row:
                raise refusal(row)


def private_id(ref: Ref) -> str:
    """The id of a document's private data."""
    return f"{ref.doctype}/{ref.id}"


def refusal(row: Answer) -> CozyError:
    """The error of one row of a `_bulk_docs` answer."""
    return refused({"conflict": 409, "forbidden": 403}.get(row["error"], 400), row)
