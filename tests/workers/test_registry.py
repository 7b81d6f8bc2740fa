"""`registry`: installed apps follow the channel they came from, and what asks for more waits."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.apps import Order
from cozyd.config import Apps, Config, Outbound, Storage
from cozyd.errors import JobFailed
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from cozyd.stack import Stack
from tests.support import apps
from tests.support.canary import Canary
from tests.support.serving import free_port
from tests.support.stack import Clock
from workers import TABLE, registry


class Shop:
    """alice, and a registry in a folder."""

    def __init__(self, folder: Path, further: str = "") -> None:
        self._folder = folder / "registry"
        config = Config(
            storage=Storage(path=folder / "data"),
            apps=Apps(registries=f"local://{self._folder} {further}"),
            outbound=Outbound(allow="127.0.0.1"),
        )
        self.stack = Stack(config, TABLE, now=Clock())
        self.alice: Instance = self.stack.create("alice.localhost")
        self._came_along = {str(app.doc["slug"]) for app in self.alice.apps.list("webapp")}

    def offer(self, slug: str, version: str, **manifest: Any) -> None:
        """Put a version into the registry."""
        file = self._folder / slug / f"{version}.tar.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(apps.archive(slug=slug, version=version, **manifest))

    def install(self, slug: str, way: str = "stable") -> None:
        self.alice.apps.install(Order("webapp", slug, f"registry://{slug}/{way}"), lambda _: None)

    def run(self) -> None:
        registry.run(self.alice, Job({}, "id", "rev", "registry", None))

    def versions(self) -> dict[str, str]:
        """Slug -> version of what was installed from the registry."""
        found = {str(app.doc["slug"]): str(app.doc["version"]) for app in self.alice.apps.list("webapp")}
        return {slug: version for slug, version in found.items() if slug not in self._came_along}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.stack.close()


def test_apps_follow_their_channel_and_one_of_a_version_stays(shop: Shop):
    for slug in ("calm", "bold", "fixed"):
        shop.offer(slug, "1.0.0")
    shop.install("calm")
    shop.install("bold", "beta")
    shop.install("fixed", "1.0.0")
    shop.run()
    assert shop.versions() == {"calm": "1.0.0", "bold": "1.0.0", "fixed": "1.0.0"}
    for slug in ("calm", "bold", "fixed"):
        shop.offer(slug, "1.1.0")
        shop.offer(slug, "2.0.0-beta.1")
    shop.run()
    assert shop.versions() == {"calm": "1.1.0", "bold": "2.0.0-beta.1", "fixed": "1.0.0"}


def test_what_asks_for_new_rights_waits_for_her(shop: Shop):
    shop.offer("asks", "1.0.0")
    shop.install("asks")
    shop.offer("asks", "2.0.0", permissions={"contacts": {"type": "io.cozy.contacts"}})
    shop.run()
    doc = shop.alice.apps.get("webapp", "asks").doc
    assert (doc["version"], doc["available_version"]) == ("1.0.0", "2.0.0")
    shop.alice.apps.update(Order("webapp", "asks", acked=True), lambda _: None)
    assert shop.versions() == {"asks": "2.0.0"}


def test_one_that_cannot_be_updated_is_named_and_keeps_no_other_from_it(shop: Shop):
    for slug in ("awry", "well"):
        shop.offer(slug, "1.0.0")
        shop.install(slug)
        shop.offer(slug, "1.1.0", **({"type": "konnector"} if slug == "awry" else {}))
    with pytest.raises(JobFailed, match="awry: "):
        shop.run()
    assert shop.versions() == {"awry": "1.0.0", "well": "1.1.0"}


def test_a_registry_that_is_away_is_told_and_the_others_are_asked(tmp_path: Path):
    shop = Shop(tmp_path, f"http://127.0.0.1:{free_port()}")
    shop.offer("near", "1.0.0")
    shop.install("near")
    shop.offer("near", "1.1.0")
    with pytest.raises(JobFailed, match="a registry: "):
        shop.run()
    assert shop.versions() == {"near": "1.1.0"}
    shop.stack.close()


def test_maintenance_is_known_of_far_registries_once_they_were_asked(tmp_path: Path):
    told = {"slug": "far", "type": "konnector", "maintenance_activated": True, "maintenance_options": {"flag_short_maintenance": True}}
    page = json.dumps({"data": [told, {"slug": "fine", "type": "konnector"}], "meta": {"count": 2}}).encode()
    with Canary(lambda _path: (200, {}, page)) as canary:
        shop = Shop(tmp_path, canary.base)
        shop.run()
        assert shop.alice.apps.maintenance.of("far") == {"flag_short_maintenance": True}
        assert shop.alice.apps.maintenance.of("fine") is None
        seen = len(canary.asked)
        assert shop.alice.apps.maintenance.of("far") is not None
        assert len(canary.asked) <= seen + 1  # what is known counts; the list is asked for beside it, and seldom
        shop.stack.close()
