"""Which earlier contents are kept, and that they count and go with their file."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cozyd import jsons
from cozyd.documents.store import Ref, Stored
from cozyd.errors import Conflict, NotFound, QuotaExceeded
from cozyd.files import Files
from cozyd.files.tree import File, Version, node_of, version_of
from cozyd.files.versions import Keeping, plan
from cozyd.stack import Stack
from tests.support.files import content, faults, root, write
from tests.support.stack import Clock

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def file(**fields: Any) -> File:
    doc = {
        "type": "file",
        "name": "a",
        "dir_id": "r",
        "size": "5",
        "md5sum": "old",
        "internal_vfs_id": "i",
        "updated_at": "2026-01-01T00:00:00Z",
    }
    found = node_of(Stored(Ref("io.cozy.files", "f"), "1-a", jsons.dump(doc | fields)))
    assert isinstance(found, File)
    return found


def version_content(files: Files, version: Version) -> bytes:
    with files.open(version.blob) as stream:
        return stream.read()


def version(age: float, *tags: str) -> Version:
    kept = (NOW - timedelta(minutes=age)).isoformat()
    doc = {"size": "3", "md5sum": "x", "updated_at": kept, "tags": list(tags), "cozyMetadata": {"createdAt": kept}}
    return version_of(Stored(Ref("io.cozy.files.versions", f"f/{age}{''.join(tags)}"), "1-a", jsons.dump(doc)))


@pytest.mark.parametrize(
    ("most", "ages", "keep", "dropped"),
    [
        (20, [], True, []),
        (20, [14], False, []),
        (20, [15], True, []),
        (3, [60, 45, 30], True, [60, 45]),
        (3, [60, 5], False, []),
        (3, [60, 30, 5], False, [60]),
        (0, [60, 30], False, [60, 30]),
        (1, [60], True, [60]),
    ],
)
def test_versions_are_kept_apart_and_few(most: int, ages: list[float], keep: bool, dropped: list[float]):
    versions = [version(age) for age in ages]
    chosen = plan(Keeping(most, timedelta(minutes=15)), file(), versions, "new", NOW)
    assert chosen.keep == keep
    assert [one.id for one in chosen.drop] == [f"f/{age}" for age in dropped]
    assert chosen.freed(file()) == (0 if keep else 5) + 3 * len(dropped)


def test_tagged_ones_stay():
    versions = [version(60, "t"), version(50), version(1)]
    tagged = plan(Keeping(2, timedelta(minutes=15)), file(tags=["x"]), versions, "new", NOW)
    assert tagged.keep
    assert [one.id for one in tagged.drop] == ["f/50", "f/1"]


def test_the_same_content_is_no_version():
    assert not plan(Keeping(), file(), [], "old", NOW).keep


def test_versions_count_and_go_with_their_file(stack: Stack, clock: Clock):
    bob = stack.create("bob.localhost", quota=100)
    files = bob.files
    first = write(files, root(files), "a", b"x" * 40)
    second = write(files, root(files), "a", b"y" * 40, over=first)
    assert files.usage() == (80, 100)
    assert files.usages() == (40, 40, 0)
    with pytest.raises(QuotaExceeded):
        write(files, root(files), "b", b"x" * 21)
    clock.passes(minutes=20)
    with pytest.raises(QuotaExceeded):
        write(files, root(files), "a", b"z" * 30, over=second)
    assert content(files, files.at("/a")) == b"y" * 40
    files.erase(files.at("/a"))
    assert files.usage() == (0, 100)
    assert faults(bob) == []


def test_too_many_go_the_oldest_first(files: Files, clock: Clock):
    last = write(files, root(files), "a", b"0")
    for number in range(1, 25):
        clock.passes(minutes=16)
        last = write(files, root(files), "a", b"%d" % number, over=last)
    kept = [version_content(files, one) for one in files.versions.of(last.id)]
    assert kept == [b"%d" % number for number in range(5, 24)]


def test_whoever_comes_last_wins_unless_it_was_said_what_is_replaced(files: Files):
    first = write(files, root(files), "a", b"one")
    write(files, root(files), "a", b"two!", over=first)
    renamed = files.patch(files.at("/a"), name="b")
    assert isinstance(renamed, File)
    third = write(files, root(files), "a", b"three", over=first)
    assert (third.name, content(files, third)) == ("b", b"three")
    with files.new(replaces=first) as upload:
        upload.write(b"four")
        blob = upload.seal()
    with pytest.raises(Conflict):
        files.put(root(files), "b", blob, replaces=first, exact=True)
    files.erase(third)
    with pytest.raises(NotFound):
        write(files, root(files), "a", b"five", over=first)


def test_a_revert_swaps_contents(files: Files):
    first = write(files, root(files), "a", b"one", tags=["t"])
    second = write(files, root(files), "a", b"second", over=first)
    old = files.versions.of(first.id)[0]
    back = files.versions.revert(second, old)
    assert (content(files, back), back.stored.doc["tags"]) == (b"one", ["t"])
    assert [version_content(files, one) for one in files.versions.of(first.id)] == [b"second"]
    with pytest.raises(Conflict):
        files.versions.revert(second, old)
