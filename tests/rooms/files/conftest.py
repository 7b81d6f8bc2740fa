"""A room of files with its tenant and no server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.files import Files
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.files import faults
from tests.support.stack import Clock, open_stack


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stack(tmp_path: Path, clock: Clock) -> Iterator[Stack]:
    stack = open_stack(tmp_path / "data", clock)
    yield stack
    stack.close()


@pytest.fixture
def alice(stack: Stack) -> Iterator[Instance]:
    """A new tenant; nothing may be wrong with her tree in the end."""
    alice = stack.create("alice.localhost")
    yield alice
    assert faults(alice) == []


@pytest.fixture
def files(alice: Instance) -> Files:
    return alice.files
