"""The recorded exchanges, played on CouchDB."""

from pathlib import Path

import pytest

from tests.support.couchdb import empty_server, needs_couchdb
from tests.support.serving import Served
from tests.wire.test_wire import LATER, names, play

pytestmark = needs_couchdb


@pytest.mark.timeout(180)
def test_every_step_that_holds_on_the_embedded_store_holds_on_couchdb(tmp_path: Path):
    with empty_server() as url:
        failed = play(Served(tmp_path / "data", environ={"COZYD_STORAGE_DOCUMENTS": url}).add_alice("--apps", ","))
    assert {name: failed[name] for name in names() if name in failed and not LATER.match(name)} == {}
