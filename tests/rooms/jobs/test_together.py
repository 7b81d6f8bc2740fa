"""Threads that come back at nearly the same time share a commit, and nobody is waited for long."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cozyd.documents.store import Ref, Write
from cozyd.errors import CozyError
from cozyd.jobs.together import Together
from tests.support.serving import eventually


class Disk:
    """Notes what each commit had; the first one may be held up."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.free = threading.Event()
        self.free.set()

    def commit_each(self, batch: Sequence[Write]) -> list[Any]:
        self.commits.append(sorted(write.ref.id for write in batch))
        assert self.free.wait(30)
        return [write.ref.id for write in batch]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def bring(together: Together, name: str, **how: bool) -> Any:
    return together.write_each([Write(Ref("io.cozy.things", name), body={})], **how)


def let_go(disk: Disk, together: Together, threads: ThreadPoolExecutor, *names: str) -> None:
    """One commit of some threads that are to come back."""
    disk.free.clear()
    first = threads.submit(bring, together, "first")
    eventually(lambda: disk.commits == [["first"]])
    others = [threads.submit(bring, together, name, returns=True) for name in names]
    eventually(lambda: len(together._waiting) == len(names))
    disk.free.set()
    assert [first.result(), *[other.result() for other in others]] == [["first"], *[[name] for name in names]]
    disk.commits.clear()


def test_a_commit_waits_for_those_that_the_last_one_let_go(threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cozyd.jobs.together.WAITS", 60)
    disk = Disk()
    together = Together(disk.commit_each)
    let_go(disk, together, threads, "a", "b")
    early = threads.submit(bring, together, "a", returned=True)
    eventually(lambda: together._away == 1)
    assert disk.commits == []
    assert bring(together, "b", returned=True) == ["b"]
    assert early.result() == ["a"]
    assert disk.commits == [["a", "b"]]


def test_one_that_does_not_come_back_is_waited_for_once(threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cozyd.jobs.together.WAITS", 0.01)
    disk = Disk()
    together = Together(disk.commit_each)
    let_go(disk, together, threads, "a", "b")
    assert bring(together, "a", returned=True) == ["a"]
    monkeypatch.setattr("cozyd.jobs.together.WAITS", 60)
    assert bring(together, "a", returned=True) == ["a"]
    assert disk.commits == [["a"], ["a"]]


def test_a_store_that_fails_fails_for_all_who_came_along_and_for_nobody_later(threads: ThreadPoolExecutor):
    disk = Disk()
    together = Together(disk.commit_each)
    let_go(disk, together, threads, "a", "b")

    def failing(_batch: Sequence[Write]) -> list[Any]:
        raise CozyError("away")

    together._commit_each = failing
    both = [threads.submit(bring, together, name, returned=True) for name in "ab"]
    assert all(isinstance(answer, CozyError) for one in both for answer in one.result())
    together._commit_each = disk.commit_each
    assert bring(together, "c") == ["c"]
