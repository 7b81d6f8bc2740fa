"""The CouchDB that tests may use: `COZYD_TEST_COUCHDB_URL`, an account that may make databases, on a server for tests alone."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

URL = os.environ.get("COZYD_TEST_COUCHDB_URL", "").rstrip("/")
needs_couchdb = pytest.mark.skipif(not URL, reason="COZYD_TEST_COUCHDB_URL is not set: no CouchDB to test on")


@contextmanager
def empty_server() -> Iterator[str]:
    """The server's address, without any tenant, for this test alone: test processes take turns."""
    with open(Path(tempfile.gettempdir()) / "cozyd-test-couchdb.lock", "w", encoding="ascii") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        sweep()
        yield URL
        sweep()


def sweep() -> None:
    """Delete the databases of all tenants."""
    for name in requests.get(f"{URL}/_all_dbs", timeout=10).json():
        if not name.startswith("_"):
            requests.delete(f"{URL}/{quote(name, safe='')}", timeout=10)
