"""A registry made of a folder: its lists, its channels, and that it is looked at again when something in it changes."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from cozyd.apps.localregistry import LocalRegistry
from cozyd.errors import NotFound
from tests.support import apps


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def registry(folder: Path) -> LocalRegistry:
    return LocalRegistry(folder, lambda slug, version, name: f"/{slug}/{version}/{name}")


def put(folder: Path, slug: str, version: str, **changes: Any) -> Path:
    file = folder / slug / f"{version}.tar.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(apps.archive(slug=slug, version=version.removeprefix("v"), **changes))
    return file


def slugs(registry: LocalRegistry, **query: str) -> list[str]:
    return sorted(app["slug"] for app in registry.apps({f"filter[{name}]": value for name, value in query.items()}))


def test_each_channel_has_what_the_narrower_ones_have_by_number(folder: Path, registry: LocalRegistry):
    for version in ("1.9.0", "1.10.0", "1.11.0-beta.2", "1.11.0-beta.10", "1.12.0-dev.abc", "v0.1.0", "nonsense"):
        put(folder, "near", version)
    found = registry.app("near")["versions"]
    assert found["stable"] == ["0.1.0", "1.9.0", "1.10.0"]
    assert found["beta"] == [*found["stable"], "1.11.0-beta.2", "1.11.0-beta.10"]
    assert found["dev"] == [*found["beta"], "1.12.0-dev.abc"]
    assert [registry.latest("near", channel)["version"] for channel in ("stable", "beta", "dev")] == [
        "1.10.0",
        "1.11.0-beta.10",
        "1.12.0-dev.abc",
    ]
    assert registry.app("near")["latest_version"]["version"] == "1.10.0"
    put(folder, "near", "2.0.0")
    assert registry.latest("near", "beta")["version"] == "2.0.0"


def test_an_app_that_is_only_tried_out_has_no_latest_version(folder: Path, registry: LocalRegistry):
    put(folder, "young", "0.1.0-beta.1")
    assert "latest_version" not in registry.app("young")
    with pytest.raises(NotFound):
        registry.latest("young", "stable")
    assert registry.latest("young", "beta")["version"] == "0.1.0-beta.1"


def test_a_description_is_of_the_very_bytes(folder: Path, registry: LocalRegistry):
    file = put(folder, "near", "1.0.0")
    found = registry.version("near", "1.0.0")
    packed = file.read_bytes()
    assert (found["sha256"], found["size"], found["url"]) == (
        hashlib.sha256(packed).hexdigest(),
        str(len(packed)),
        "/near/1.0.0/1.0.0.tar.gz",
    )
    assert registry.archive("near", "1.0.0") == packed
    assert registry.version("near", "v1.0.0") == found


def test_a_folder_gives_the_same_archive_each_time(folder: Path, registry: LocalRegistry):
    apps.folder(folder / "plain" / "1.0.0", slug="plain")
    first = registry.version("plain", "1.0.0")["sha256"]
    assert hashlib.sha256(registry.archive("plain", "1.0.0")).hexdigest() == first
    other = LocalRegistry(folder, lambda *_: "")
    assert other.version("plain", "1.0.0")["sha256"] == first


def test_lists_are_filtered(folder: Path, registry: LocalRegistry):
    put(folder, "one", "1.0.0", editor="Us")
    put(folder, "two", "1.0.0", editor="Them")
    put(folder, "bank", "1.0.0", type="konnector")
    assert slugs(registry) == ["bank", "one", "two"]
    assert slugs(registry, editor="Them") == ["two"]
    assert slugs(registry, type="konnector") == ["bank"]
    assert slugs(registry, select="one,two") == ["one", "two"]
    assert slugs(registry, reject="one,bank") == ["two"]


def test_what_is_put_there_or_taken_away_is_seen(folder: Path, registry: LocalRegistry):
    assert slugs(registry) == []
    file = put(folder, "near", "1.0.0")
    assert slugs(registry) == ["near"]
    file.unlink()
    with pytest.raises(NotFound):
        registry.app("near")


@pytest.mark.parametrize("content", [b"", b"nonsense", apps.archive({"index.html": b""})], ids=["empty", "nonsense", "no manifest"])
def test_what_is_no_app_is_left_out(folder: Path, registry: LocalRegistry, content: bytes):
    put(folder, "near", "1.0.0")
    (folder / "near" / "1.1.0.tar.gz").write_bytes(content)
    (folder / "odd").mkdir()
    (folder / "odd" / "1.0.0.tar").write_bytes(content)
    assert slugs(registry) == ["near"]
    assert registry.app("near")["versions"]["stable"] == ["1.0.0"]
