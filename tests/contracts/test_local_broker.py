"""The brokers' contract in one process."""

import pytest

from cozyd.jobs.broker import Broker, LocalBroker
from tests.contracts.broker import BrokerContract


@pytest.fixture
def broker() -> Broker:
    return LocalBroker()


class TestLocalBroker(BrokerContract):
    """The contract."""
