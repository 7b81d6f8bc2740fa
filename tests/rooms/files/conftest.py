"""A room of files with its tenant and no server."""

from collections.abc import Iterator

import pytest

from cozyd.files import Files
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.files import faults


@pytest.fixture
def alice(stack: Stack) -> Iterator[Instance]:
    """A new tenant; nothing may be wrong with her tree in the end."""
    alice = stack.create("alice.localhost")
    yield alice
    assert faults(alice) == []


@pytest.fixture
def files(alice: Instance) -> Files:
    return alice.files
