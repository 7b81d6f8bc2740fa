"""The files of apps: kept while anything names them, and not for ever after."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cozyd.apps.bundles import AREA, Bundles
from cozyd.errors import NotFound
from cozyd.files.blobs import LocalBlobs
from tests.support import apps

NOW = datetime.now(UTC)


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    return Bundles(tmp_path / "apps", LocalBlobs(tmp_path / "blobs"))


def added(bundles: Bundles, name: str) -> str:
    with bundles.scratch() as scratch:
        return bundles.add(apps.folder(scratch / "files", name=name)).digest


def test_files_that_nothing_names_any_more_go_after_a_while(bundles: Bundles, tmp_path: Path):
    used, unused = added(bundles, "used"), added(bundles, "unused")
    left = tmp_path / "apps" / "tmp" / "left-by-a-kill"
    left.mkdir()
    os.utime(left, (0, 0))
    assert bundles.collect(lambda: [used], NOW - timedelta(days=1)) == 0
    assert not left.exists()
    assert bundles.collect(lambda: [used], NOW + timedelta(days=1)) == 1
    assert bundles.get(used).read("index.html")
    with pytest.raises(NotFound):
        bundles.get(unused)
    assert [key.rpartition("/")[2] for key, _, _ in bundles._blobs.list(AREA)] == [used]
    assert added(bundles, "unused") == unused


def test_files_that_are_wanted_again_meanwhile_stay(bundles: Bundles):
    digest = added(bundles, "back")
    asked: list[int] = []

    def named() -> list[str]:
        asked.append(1)
        return [digest] if len(asked) == 2 else []

    assert bundles.collect(named, NOW + timedelta(days=1)) == 0
    os.utime(bundles.get(digest).folder / "index.json", (0, 0))
    added(bundles, "back")
    assert bundles.collect(list, NOW) == 0
    assert bundles.get(digest).read("index.html")


def test_files_are_known_by_what_named_them_while_they_are_here(bundles: Bundles):
    with bundles.scratch() as scratch:
        made = bundles.add(apps.folder(scratch / "files", name="named"), "a key")
    assert (bundles.known("a key"), bundles.known("another")) == (made, None)
    bundles.collect(list, NOW + timedelta(days=1))
    assert bundles.known("a key") is None
