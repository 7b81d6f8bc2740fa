"""What tests of a person's pages stand on: one stack in this process for each file, with its workers and its clock."""

from collections.abc import Iterator

import pytest

from cozyd.stack import Stack
from tests.support.identity import homes
from tests.support.stack import Clock


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Clock]]:
    with homes(tmp_path_factory.mktemp("homes")) as found:
        yield found


@pytest.fixture(scope="module")
def stack(place: tuple[Stack, Clock]) -> Stack:
    return place[0]


@pytest.fixture(scope="module")
def clock(place: tuple[Stack, Clock]) -> Clock:
    return place[1]
