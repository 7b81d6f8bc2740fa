"""The contents of attachments in a tenant's file: by document and digest, as long as a kept revision names them."""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from cozyd import jsons
from cozyd.documents import attachments
from cozyd.documents.store import Doc, Stored
from cozyd.errors import Invalid

_TEXTS = "SELECT text FROM doc WHERE num = ?1 UNION ALL SELECT text FROM rev WHERE doc = ?1 AND text IS NOT NULL"


class Attached:
    """Contents of attachments within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def stubs(self, num: int) -> Mapping[str, Doc]:
        """The attachments that the kept revisions of a document name, by name; the winner's come last."""
        found: dict[str, Doc] = {}
        for stubs in reversed(list(self._named(num))):
            found |= stubs
        return found

    def check(self, num: int, contents: attachments.Contents) -> None:
        """:raises Invalid: another content of the document has one's digest."""
        for digest, data in contents.items():
            sql = "SELECT data FROM attachment WHERE doc = ? AND digest = ?"
            known = self._connection.execute(sql, (num, digest)).fetchone()
            if known is not None and known[0] != data:
                raise Invalid(f"Another attachment has the digest {digest}")

    def settle(self, num: int, contents: attachments.Contents) -> None:
        """Write contents, and remove those that no kept revision of the document names."""
        lines = [(num, digest, data) for digest, data in contents.items()]
        self._connection.executemany("INSERT OR REPLACE INTO attachment VALUES (?, ?, ?)", lines)
        named = {stub["digest"] for stubs in self._named(num) for stub in stubs.values()}
        there = {digest for (digest,) in self._connection.execute("SELECT digest FROM attachment WHERE doc = ?", (num,))}
        gone = [(num, digest) for digest in there - named]
        self._connection.executemany("DELETE FROM attachment WHERE doc = ? AND digest = ?", gone)

    def drop(self, num: int) -> None:
        """Remove all contents of a document."""
        self._connection.execute("DELETE FROM attachment WHERE doc = ?", (num,))

    def _named(self, num: int) -> Iterator[Mapping[str, Doc]]:
        for (text,) in self._connection.execute(_TEXTS, (num,)):
            if attachments.may_have(text):
                yield jsons.load_object(text).get(attachments.MEMBER, {})


def read(connection: Any, doctype: int, stored: Stored) -> Doc:
    """The member of a revision that has its attachments with their contents; nothing when it has none."""
    if not attachments.may_have(stored.text):
        return {}
    stubs = stored.doc.get(attachments.MEMBER, {})
    sql = "SELECT data FROM attachment WHERE digest = ? AND doc = (SELECT num FROM doc WHERE doctype = ? AND id = ?)"
    found = {name: connection.execute(sql, (stub["digest"], doctype, stored.ref.id)).fetchone()[0] for name, stub in stubs.items()}
    return {attachments.MEMBER: attachments.inlined(stubs, found)}
