"""The locks' contract in one process."""

import pytest

from cozyd.locks import LocalLocks, Locks
from tests.contracts.locks import LocksContract


@pytest.fixture
def locks() -> Locks:
    return LocalLocks()


class TestLocalLocks(LocksContract):
    """The contract."""
