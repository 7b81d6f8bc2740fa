"""A tenant's databases as lines of a file: every leaf with its history and attachments, local documents, security."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, cast

from cozyd import jsons
from cozyd.documents.couchdb import names
from cozyd.documents.couchdb.databases import Databases
from cozyd.documents.store import Doc
from cozyd.errors import BadRequest, Invalid

BATCH = 200
HEAD = {"cozyd": "documents", "version": 1}
COUCHDB_OWN = ("_local/purge-", "_local/shard-sync-")
"""Local documents that CouchDB makes for itself."""


def write(databases: Databases, path: str) -> None:
    """Write a copy to a new file."""
    with open(path, "xb") as file, gzip.open(file, "wb", compresslevel=3) as packed:
        packed.write(jsons.dump(HEAD) + b"\n")
        for database in databases.all():
            for line in _lines(databases, database):
                packed.write(jsons.dump(line) + b"\n")


def _lines(databases: Databases, database: str) -> Iterator[Mapping[str, Any]]:
    name, path = database.partition("/")[2], names.path_of(database)
    yield {"database": name, "security": databases.get(f"{path}/_security")}
    for row in databases.get(f"{path}/_local_docs", include_docs=True)["rows"]:
        if not row["id"].startswith(COUCHDB_OWN):
            yield {"local": row["doc"]}
    since = "0"
    while True:
        page = databases.get(f"{path}/_changes", style="all_docs", since=since, limit=BATCH)
        asked = [(row["id"], change["rev"]) for row in page["results"] for change in row["changes"]]
        yield from ({"doc": doc} for doc in databases.revisions(path, asked, revs=True, attachments=True) if doc is not None)
        since = page["last_seq"]
        if not page["pending"]:
            return


def check(path: str) -> None:
    """Read a file to its end.

    :raises Invalid: it is no whole backup.
    """
    try:
        with gzip.open(path, "rb") as packed:
            lines = cast(BinaryIO, packed)
            head = next(lines, b"")
            if jsons.load_object(head) != HEAD:
                raise Invalid("The file is no backup of documents on CouchDB", source="backup")
            for line in lines:
                jsons.load_object(line)
    except (OSError, EOFError, BadRequest) as cause:
        raise Invalid("The file is no whole backup of documents on CouchDB", source="backup") from cause


def read(databases: Databases, path: str) -> None:
    """Load a file into databases that are not there yet."""
    name, docs = "", list[Doc]()
    with gzip.open(path, "rb") as packed:
        for text in cast(BinaryIO, packed):
            line = jsons.load_object(text)
            if "doc" in line and len(docs) < BATCH:
                docs.append(line["doc"])
                continue
            _load(databases, name, docs)
            docs = [line["doc"]] if "doc" in line else []
            if "local" in line:
                local = {member: value for member, value in line["local"].items() if member != "_rev"}
                databases.put(databases.own(name, "_local", local["_id"].removeprefix("_local/")), local)
            elif "database" in line:
                name = line["database"]
                databases.make(databases.own(name))
                databases.put(databases.own(name, "_security"), line["security"])
    _load(databases, name, docs)


def _load(databases: Databases, name: str, docs: Sequence[Doc]) -> None:
    if docs:
        databases.write(databases.own(name), docs, new_edits=False)
