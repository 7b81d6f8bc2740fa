"""A stack with a clock of its own and no server, for tests of one room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.stack import Stack
from tests.support.stack import Clock, open_stack


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stack(tmp_path: Path, clock: Clock) -> Iterator[Stack]:
    stack = open_stack(tmp_path / "data", clock)
    yield stack
    stack.close()
