"""Reads of one snapshot of a tenant's file: a document's revisions, and where a feed is."""

import re
from typing import Any

from cozyd.documents.malformed import Malformed
from cozyd.documents.revtree import Tree
from cozyd.documents.store import Ref, Stored
from cozyd.errors import NotFound, SeqGone

NO_DATABASE = "Database does not exist."
_SEQ = re.compile(r"(\d{1,18})-([0-9a-f]{1,32})")
_FOREIGN_SEQ = re.compile(r"\d{1,18}-g[0-9A-Za-z_-]{1,1000}")
"""A seq of CouchDB, which a replica may have from before the tenant moved here: its feed begins again."""


def revision(connection: Any, num: int, ref: Ref, rev: str | None) -> Stored:
    """The winner, or the named revision while its body is kept.

    :raises NotFound: `missing` or `deleted`.
    """
    sql = "SELECT rev, deleted, text, private, num FROM doc WHERE doctype = ? AND id = ?"
    row = connection.execute(sql, (num, ref.id)).fetchone()
    if row is None:
        raise NotFound("missing")
    if rev is not None and rev != row[0]:
        found = connection.execute("SELECT deleted, text FROM rev WHERE doc = ? AND rev = ?", (row[4], rev)).fetchone()
        if found is None or found[1] is None:
            raise NotFound("missing")
        return Stored(ref, rev, found[1], deleted=bool(found[0]))
    if row[1] and rev is None:
        raise NotFound("deleted")
    return Stored(ref, row[0], row[2], deleted=bool(row[1]), private=row[3])


def tree(connection: Any, num: int, ref: Ref) -> Tree:
    """The revision tree of a document.

    :raises NotFound: there is none.
    """
    row = connection.execute("SELECT num FROM doc WHERE doctype = ? AND id = ?", (num, ref.id)).fetchone()
    if row is None:
        raise NotFound("missing")
    return tree_of(connection, row[0])


def tree_of(connection: Any, doc: int) -> Tree:
    """The revision tree of a document by its number; empty: there is none."""
    found = Tree()
    for rev, parent, deleted in connection.execute("SELECT rev, parent, deleted FROM rev WHERE doc = ?", (doc,)):
        found.parents[rev] = parent
        if deleted:
            found.deleted.add(rev)
    return found


def last_seq(connection: Any, num: int) -> tuple[int, str]:
    """The last sequence of a doctype, and the epoch.

    :raises NotFound: it was never made.
    """
    row: tuple[int, str] | None = connection.execute("SELECT t.seq, m.epoch FROM doctype t, meta m WHERE t.num = ?", (num,)).fetchone()
    if row is None:
        raise NotFound(NO_DATABASE)
    return row


def known_seq(connection: Any, since: str, last: int, epoch: str) -> int:
    """The number of a sequence this file had.

    :raises BadRequest: it has not the form of one.
    :raises SeqGone: it is of a lost future.
    """
    found = _SEQ.fullmatch(since)
    if found is None:
        raise Malformed("the sequence is malformed")
    number, of = int(found.group(1)), found.group(2)
    if of != epoch:
        row = connection.execute("SELECT last FROM epoch WHERE name = ?", (of,)).fetchone()
        if row is None or number > row[0]:
            raise SeqGone("the sequence is of a future that was lost")
    elif number > last:
        raise SeqGone("the sequence is of a future that was lost")
    return number


def start_of(connection: Any, since: str, last: int, epoch: str) -> int:
    """Where a feed goes on from; a sequence that cannot be known rewinds it, as CouchDB's."""
    if since in ("", "0"):
        return 0
    if since == "now":
        return last
    if since.isdigit() or _FOREIGN_SEQ.fullmatch(since):
        return 0
    highest = connection.execute("SELECT seq FROM meta").fetchone()[0]
    try:
        return known_seq(connection, since, highest, epoch)
    except SeqGone:
        return 0
