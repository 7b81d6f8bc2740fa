"""The promises of `Locks`, run over every driver.

A driver's test module subclasses `LocksContract` with a `locks` fixture.
"""

import threading
import time

import pytest

from cozyd.errors import Locked
from cozyd.locks import Locks


class LocksContract:
    """Every test of the port's promise."""

    def test_one_at_a_time_holds_a_name(self, locks: Locks):
        inside: list[int] = []
        most: list[int] = []

        def work() -> None:
            for _ in range(50):
                with locks.hold("name", wait=30):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert (len(most), max(most)) == (400, 1)

    @pytest.mark.parametrize("wait", [0, 0.2])
    def test_who_waited_in_vain_is_told_when_to_try_again(self, locks: Locks, wait: float):
        with locks.hold("name"):
            began = time.monotonic()
            with pytest.raises(Locked) as caught, locks.hold("name", wait=wait):
                pass
            assert wait <= time.monotonic() - began < wait + 1
        assert caught.value.retry_after == 1

    def test_it_is_not_for_the_same_holder_either(self, locks: Locks):
        with locks.hold("name"), pytest.raises(Locked), locks.hold("name", wait=0):
            pass

    def test_names_are_apart(self, locks: Locks):
        with locks.hold("one", wait=0) as first, locks.hold("two", wait=0) as second:
            assert first.alive()
            assert second.alive()

    def test_it_is_free_after_its_block_whatever_happened(self, locks: Locks):
        with pytest.raises(ZeroDivisionError), locks.hold("name"):
            _ = 1 / 0
        with locks.hold("name", wait=0) as lock:
            assert lock.alive()

    def test_who_waits_gets_it_when_it_is_freed(self, locks: Locks):
        got = threading.Event()
        asking = threading.Event()

        def wait() -> None:
            asking.set()
            with locks.hold("name", wait=10):
                got.set()

        waiter = threading.Thread(target=wait)
        with locks.hold("name"):
            waiter.start()
            assert asking.wait(5)
            assert not got.is_set()
        assert got.wait(5)
        waiter.join(5)

    def test_it_is_seen_whether_one_is_held(self, locks: Locks):
        seen = [locks.is_held("name")]
        with locks.hold("name"):
            seen += [locks.is_held("name"), locks.is_held("other")]
        assert [*seen, locks.is_held("name")] == [False, True, False, False]
