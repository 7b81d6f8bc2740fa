"""The cache's contract in one process, and what only a bounded memory promises."""

import pytest

from cozyd.cache import Cache, LocalCache
from tests.contracts.cache import CacheContract, Forward


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Cache:
    return LocalCache(clock=clock)


@pytest.fixture
def forward(clock: Clock) -> Forward:
    return clock.forward


class TestLocalCache(CacheContract):
    """The contract."""

    def test_what_was_set_longest_ago_makes_room(self, clock: Clock):
        small = LocalCache(size=3, clock=clock)
        for name in ("a", "b", "c", "a", "d"):
            small.set(name, name.encode(), 10)
        assert [small.get(name) for name in "abcd"] == [b"a", None, b"c", b"d"]

    def test_a_counter_in_use_is_not_flushed_by_others(self, clock: Clock):
        small = LocalCache(size=3, clock=clock)
        for number in range(20):
            assert small.hit("attacked", 60) == number + 1
            small.hit(f"other-{number}", 60)
