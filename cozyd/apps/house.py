"""What all instances of a process share of apps, made from the configuration."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cozyd.apps.bundles import Bundles
from cozyd.apps.localregistry import LocalRegistry
from cozyd.apps.maintenance import Maintenance
from cozyd.apps.notices import Notices
from cozyd.apps.npm import own_registry
from cozyd.apps.registry import Registries, Registry, RemoteRegistry
from cozyd.apps.registrysource import RegistrySource
from cozyd.apps.runs import Runs
from cozyd.apps.sources import Sources
from cozyd.cache import Cache
from cozyd.config import Config, ConfigError
from cozyd.documents import Documents
from cozyd.files.blobs import BlobStore
from cozyd.outbound import Outbound
from cozyd.packaged import folder

BUNDLED = "bundled:"
"""The registry of the apps that come with cozyd; where the configuration does not name it, it is the first."""

ASKED, ASKED_EVERY = "registries-asked", 600.0


@dataclass(frozen=True, slots=True)
class AppsHouse:
    """What all instances of a process share of apps.

    :param sources: how apps come.
    :param folders: slug -> folder of apps that are being developed, served from there.
    """

    bundles: Bundles
    registries: Registries
    sources: Sources
    runs: Runs
    notices: Notices
    maintenance: Maintenance
    account_types: Path
    allowed_origins: tuple[str, ...] = ()
    folders: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def open(cls, config: Config, blobs: BlobStore, outbound: Outbound, cache: Cache, common: Documents) -> Self:
        """As the configuration says.

        :param common: documents of tenant `global`.
        :raises ConfigError: a registry that is none.
        """
        addresses = config.apps.registries.split()
        if BUNDLED not in addresses:
            addresses.insert(0, BUNDLED)
        registries = Registries([_registry(address, outbound, cache) for address in addresses])
        sources = Sources(outbound, RegistrySource(registries, outbound), config.apps.npm or own_registry(os.environ))
        runs = Runs()
        bundles, notices = Bundles(config.storage.path / "apps", blobs), Notices(config.storage.path / "errors.log")
        maintenance = Maintenance(common, registries, lambda: _ask_anew(registries, runs))
        return cls(
            bundles, registries, sources, runs, notices, maintenance, config.apps.account_types, tuple(config.apps.allowed_origins.split())
        )


def _ask_anew(registries: Registries, runs: Runs) -> None:
    """Have the lists of far registries looked at in the background, every ten minutes at most."""
    if registries.is_due(ASKED_EVERY):
        runs.start(ASKED, lambda _tell: registries.refresh(), lambda: runs.forget(ASKED))


def _registry(address: str, outbound: Outbound, cache: Cache) -> Registry:
    if address == BUNDLED or address.startswith(("local:///", "file:///")):
        lies = folder("apps") if address == BUNDLED else Path(address.partition("://")[2])
        return LocalRegistry(lies, "/registry/{}/{}/tarball/{}".format)
    if address.startswith(("https://", "http://")):
        return RemoteRegistry(address, outbound, cache)
    raise ConfigError(f"apps.registries: {address} is none of bundled:, local:///folder, https://...")
