"""How a query is read: the plan's key ranges, one after the other, and bookmarks."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cozyd import jsons
from cozyd.documents import mango
from cozyd.documents.store import Doc, Query, Ref, Stored
from cozyd.errors import BadRequest

FIRST, LAST = "", "\U0010ffff"
"""Ids before and behind all others."""


class Reader:
    """Reads the documents of a plan, one key range after the other."""

    def __init__(self, doctype: str, num: int, plan: mango.Plan, table: int | None) -> None:
        self._doctype = doctype
        self._num = num
        self._plan = plan
        self._table = table
        self.examined = 0
        self.bookmark: str | None = None

    def read(self, connection: Any, query: Query, match: Callable[[Doc], bool] | None) -> Sequence[Stored]:
        """The matching documents, `query.skip` left out, at most `query.limit`."""
        found: list[Stored] = []
        position = _read_bookmark(query.bookmark)
        skip = query.skip
        if not query.limit:
            return found
        for key, stored in self._candidates(connection, position):
            self.examined += 1
            if match is not None and not match(stored.doc):
                continue
            if skip:
                skip -= 1
                continue
            found.append(stored)
            if len(found) >= query.limit:
                self.bookmark = _write_bookmark(key, stored.ref.id)
                return found
        if found:
            self.bookmark = _write_bookmark(key, stored.ref.id)
        return found

    def _candidates(self, connection: Any, position: tuple[bytes, str] | None) -> Iterator[tuple[bytes, Stored]]:
        ranges = self._plan.ranges if not self._plan.descending else tuple(reversed(self._plan.ranges))
        for start, stop in ranges:
            for key, id, rev, text, private in connection.execute(*self._statement(start, stop, position)):
                yield key, Stored(Ref(self._doctype, id), rev, text, private=private)

    def _statement(self, start: bytes, stop: bytes, position: tuple[bytes, str] | None) -> tuple[str, list[Any]]:
        beyond, order = ("<", "DESC") if self._plan.descending else (">", "ASC")
        if self._table is None:
            values: list[Any] = [self._num, start.decode(errors="replace"), LAST if stop == b"\xff" else stop.decode(errors="replace")]
            sql = (
                "SELECT x'', id, rev, text, private FROM doc WHERE doctype = ? AND id >= ? AND id < ? AND deleted = 0 "
                "AND NOT (id >= '_design/' AND id < '_design0')"
            )
            if position is not None:
                sql += f" AND id {beyond} ?"
                values.append(position[1])
            return f"{sql} ORDER BY id {order}", values
        values = [self._table, start, stop]
        sql = (
            "SELECT e.key, d.id, d.rev, d.text, d.private FROM entry e CROSS JOIN doc d NOT INDEXED ON d.num = e.doc "
            "WHERE e.idx = ? AND e.key >= ? AND e.key < ?"
        )
        if position is not None:
            sql += f" AND (e.key, e.id) {beyond} (?, ?)"
            values += position
        return f"{sql} ORDER BY e.key {order}, e.id {order}", values


def _write_bookmark(key: bytes, id: str) -> str:
    return urlsafe_b64encode(jsons.dump([key.hex(), id])).decode()


def _read_bookmark(bookmark: str | None) -> tuple[bytes, str] | None:
    """Where a bookmark points: the last row that was sent; so it survives writes.

    :raises BadRequest: it is none of ours.
    """
    if not bookmark or bookmark == "nil":
        return None
    try:
        key, id = jsons.load(urlsafe_b64decode(bookmark))
        return bytes.fromhex(key), str(id)
    except (ValueError, TypeError, BadRequest) as cause:
        raise BadRequest(f'Invalid bookmark value: "{bookmark[:100]}"', error="invalid_bookmark") from cause
