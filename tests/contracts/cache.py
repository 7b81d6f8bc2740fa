"""The promises of `Cache`, run over every driver.

A driver's test module subclasses `CacheContract` with a `cache` fixture and `forward`, which lets seconds pass for it.
"""

import threading
from collections.abc import Callable

import pytest

from cozyd.cache import Cache

Forward = Callable[[float], None]


class CacheContract:
    """Every test of the port's promise."""

    @pytest.mark.parametrize("value", [b"", b"text", bytes(range(256)), b"x" * 100_000])
    def test_a_value_is_kept_as_it_is(self, cache: Cache, value: bytes):
        assert cache.get("key") is None
        cache.set("key", value, 10)
        assert cache.get("key") == value

    def test_a_value_is_forgotten_at_its_time(self, cache: Cache, forward: Forward):
        cache.set("key", b"value", 10)
        forward(9)
        assert cache.get("key") == b"value"
        forward(2)
        assert cache.get("key") is None

    def test_a_value_set_again_lives_from_then_on(self, cache: Cache, forward: Forward):
        cache.set("key", b"one", 10)
        forward(9)
        cache.set("key", b"two", 10)
        forward(9)
        assert cache.get("key") == b"two"

    def test_a_deleted_value_is_gone_and_an_absent_one_is_fine(self, cache: Cache):
        cache.set("key", b"value", 10)
        cache.delete("key")
        cache.delete("key")
        assert cache.get("key") is None

    def test_hits_are_counted_in_the_window_that_the_first_began(self, cache: Cache, forward: Forward):
        assert [cache.hit("key", 10) for _ in range(3)] == [1, 2, 3]
        forward(9)
        assert cache.hit("key", 10) == 4
        forward(2)
        assert cache.hit("key", 10) == 1

    def test_keys_are_apart(self, cache: Cache):
        cache.set("one", b"1", 10)
        cache.set("two", b"2", 10)
        cache.hit("one", 10)
        assert cache.hit("two", 10) == 1
        assert (cache.get("one"), cache.get("two")) == (b"1", b"2")

    def test_a_deleted_counter_begins_again(self, cache: Cache):
        cache.hit("key", 10)
        cache.delete("key")
        assert cache.hit("key", 10) == 1

    def test_no_hit_of_many_threads_is_lost(self, cache: Cache):
        counts: list[int] = []
        threads = [threading.Thread(target=lambda: counts.extend(cache.hit("key", 60) for _ in range(100))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(counts) == list(range(1, 801))
