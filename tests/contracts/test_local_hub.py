"""The hub's contract in one process."""

from collections.abc import Iterator

import pytest

from cozyd.realtime import Hub, LocalHub
from tests.contracts.hub import HubContract


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = LocalHub()
    yield made
    made.close()


class TestLocalHub(HubContract):
    """The contract."""
