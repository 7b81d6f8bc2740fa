"""The document store's contract on a real CouchDB, and what only this driver promises."""

from collections.abc import Iterator

import pytest

from cozyd.documents.couchdb import CouchBackend
from cozyd.documents.store import DocumentBackend
from cozyd.locks import LocalLocks
from tests.contracts.document_model import compare
from tests.contracts.document_store import DocumentStoreContract
from tests.contracts.document_values import LENIENT, PROJECTIONS
from tests.support.couchdb import empty_server, needs_couchdb

pytestmark = needs_couchdb


@pytest.fixture
def backend() -> Iterator[DocumentBackend]:
    with empty_server() as url:
        made = CouchBackend(url, PROJECTIONS, lenient=LENIENT, locks=LocalLocks())
        yield made
        made.close()


class TestCouchStore(DocumentStoreContract):
    """The contract."""

    @pytest.mark.timeout(300)
    def test_random_writes_give_what_a_plain_model_gives(self, backend: DocumentBackend):
        compare(backend, start=1, steps=150)

    @pytest.mark.soak
    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("start", [11, 12, 13, 14, 15])
    def test_many_random_writes_give_what_a_plain_model_gives(self, backend: DocumentBackend, start: int):
        compare(backend, start=start, steps=500)
