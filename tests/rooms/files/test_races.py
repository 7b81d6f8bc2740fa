"""Many writers at once, through both doors: one whole content wins, and the sums are exact."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from cozyd.errors import NotFound, QuotaExceeded
from cozyd.files import Files, lock_name
from cozyd.instance import Instance
from cozyd.permissions import ROOT_DIR
from cozyd.stack import Stack
from tests.support.doors import Doors
from tests.support.files import content, faults, root, write
from tests.support.serving import eventually


def together(count: int, step: Callable[[int], int]) -> list[int]:
    """What each of so many threads is answered, that begin at one moment."""
    start = threading.Barrier(count)

    def run(number: int) -> int:
        start.wait()
        return step(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_of_thirty_two_writers_on_one_path_one_is_the_last(stack: Stack, alice: Instance):
    doors, files = Doors(stack, alice), alice.files
    file = write(files, root(files), "race.bin", b"first")
    bodies = [bytes([number]) * (1000 + number) for number in range(32)]

    def put(number: int) -> int:
        if number % 2:
            return doors.api("PUT", f"/{file.id}", bodies[number]).status_code
        return doors.dav("PUT", "/race.bin", bodies[number]).status_code

    statuses = together(32, put)
    assert set(statuses) <= {200, 204, 409, 412, 423}
    assert any(status < 300 for status in statuses)
    last = content(files, files.at("/race.bin"))
    assert hashlib.md5(last).digest() in {hashlib.md5(body).digest() for body in bodies}
    kept = [version.blob.size for version in files.versions.of(file.id)]
    assert kept == [5]
    assert files.usage()[0] == len(last) + 5


def test_of_thirty_two_who_make_one_name_one_does(stack: Stack, alice: Instance):
    doors = Doors(stack, alice)

    def post(number: int) -> int:
        if number % 2:
            return doors.api("POST", f"/{ROOT_DIR}?Type=file&Name=new", b"%d" % number).status_code
        return doors.dav("PUT", "/new", b"%d" % number, If_None_Match="*").status_code

    statuses = together(32, post)
    assert sum(status == 201 for status in statuses) == 1
    assert set(statuses) <= {201, 409, 412, 423}


@pytest.mark.parametrize("door", ["json", "webdav"])
def test_of_twenty_uploads_of_sixty_percent_one_fits(stack: Stack, door: str):
    bob = stack.create("bob.localhost", quota=1_000_000)
    doors = Doors(stack, bob)

    def post(number: int) -> int:
        if door == "json":
            return doors.api("POST", f"/{ROOT_DIR}?Type=file&Name={number}", bytes(600_000)).status_code
        return doors.dav("PUT", f"/{number}", bytes(600_000)).status_code

    statuses = together(20, post)
    refused = 413 if door == "json" else 507
    assert sorted(statuses) == [201, *[refused] * 19]
    assert bob.files.usage() == (600_000, 1_000_000)
    assert faults(bob) == []


@pytest.mark.parametrize("quota", [None, 1_000])
def test_a_new_file_waits_for_no_other_change(stack: Stack, quota: int | None):
    bob = stack.create("bob.localhost", quota=quota)
    files = bob.files
    with ThreadPoolExecutor(1) as pool, stack.drivers.locks.hold(lock_name(bob.prefix), wait=0):
        assert pool.submit(write, files, root(files), "new").result(20).name == "new"


GROWING: dict[str, Callable[[Files], Any]] = {
    "replace": lambda files: write(files, root(files), "a", b"b" * 50, over=files.file(files.at("/a").id)),
    "copy": lambda files: files.copy(files.at("/a"), root(files), "c"),
    "upload": lambda files: write(files, root(files), "d", b"d" * 40),
}


@pytest.mark.parametrize("name", GROWING)
def test_what_takes_the_room_between_look_and_commit_counts(stack: Stack, monkeypatch: pytest.MonkeyPatch, name: str):
    bob = stack.create("bob.localhost", quota=100)
    files, commit = bob.files, bob.docs.commit
    write(files, root(files), "a", b"a" * 40)

    def late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(bob.docs, "commit", commit)
        write(files, root(files), "late", b"l" * 21)
        return commit(*arguments, **options)

    monkeypatch.setattr(bob.docs, "commit", late)
    with pytest.raises(QuotaExceeded):
        GROWING[name](files)
    assert files.usage() == (61, 100)
    assert faults(bob) == []


def test_folders_that_go_into_each_other_make_no_ring(stack: Stack, alice: Instance):
    doors, files = Doors(stack, alice), alice.files
    ids = [files.mkdir(root(files), f"d{number}").id for number in range(8)]

    def move(number: int) -> int:
        target = ids[(number * 3 + 1) % 8]
        return doors.api("PATCH", f"/{ids[number % 8]}", {"data": {"attributes": {"dir_id": target}}}).status_code

    for _ in range(5):
        assert set(together(16, move)) <= {200, 409, 412, 404}


def test_a_folder_goes_to_the_trash_and_back_while_files_come_into_it(alice: Instance):
    """Who moves a tree waits for those on their way into it, and those who come then wait for the move; nobody is refused for that."""
    files = alice.files
    folder = files.mkdir(root(files), "busy")
    below = files.mkdir(folder, "below")
    stop, made = threading.Event(), [0]

    def moved_on(before: int) -> bool:
        return made[0] > before

    def make(number: int) -> int:
        step = 0
        while not stop.is_set():
            step += 1
            try:
                write(files, files.dir(below.id), f"{number}-{step}")
            except NotFound:
                continue  # it is in the trash
            made[0] += 1
        return step

    with ThreadPoolExecutor(3) as pool:
        makers = [pool.submit(make, number) for number in range(3)]
        for _ in range(10):
            before = made[0]
            files.restore(files.trash(files.get(folder.id)))
            eventually(partial(moved_on, before))
        stop.set()
        assert all(maker.result() for maker in makers)
    assert faults(alice) == []
