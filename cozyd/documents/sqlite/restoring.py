"""Backups of a tenant's file coming back: what is one, its new epoch, and putting it in the place of a file in use."""

import secrets
import sqlite3
from pathlib import Path

from cozyd.documents.sqlite.database import SCHEMA_VERSION, Database, translated
from cozyd.errors import Invalid, Unavailable


def new_epoch() -> str:
    """A name that no other epoch has."""
    return secrets.token_hex(6)


def check_backup(path: Path) -> None:
    """Refuse a file that is no whole backup.

    :raises Invalid: it is none, is damaged, or of another version of the schema.
    """
    try:
        with translated():
            connection = sqlite3.connect(path)
            try:
                (schema,) = connection.execute("SELECT schema FROM meta").fetchone()
                (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            finally:
                connection.close()
    except Unavailable as cause:
        raise Invalid("The documents of the backup are damaged") from cause
    if schema != SCHEMA_VERSION:
        raise Invalid(f"The backup is of version {schema} of the database; this server reads version {SCHEMA_VERSION}")
    if state != "ok":
        raise Invalid("The documents of the backup are damaged")


def begin_epoch(path: Path) -> None:
    """A restored file lives on under a new epoch; it knows how far the past ones were exact."""
    with translated():
        connection = sqlite3.connect(path)
        try:
            seq, epoch = connection.execute("SELECT seq, epoch FROM meta").fetchone()
            connection.execute("INSERT OR REPLACE INTO epoch VALUES (?, ?)", (epoch, seq))
            connection.execute("UPDATE meta SET epoch = ?", (new_epoch(),))
            connection.commit()
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()


def overwrite(database: Database, path: Path) -> None:
    """Give a file in use the content of another: one transaction, which readers see whole or not at all, power cut or not."""
    with database.maintaining() as connection:
        source = sqlite3.connect(path)
        try:
            source.backup(connection)
        finally:
            source.close()
