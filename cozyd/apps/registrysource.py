"""`registry://slug[/channel][/version]`: the manifest of the version's description, the files of its archive, compared by SHA-256."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cozyd.apps import archive
from cozyd.apps.fetched import Fetched, check_digest, download
from cozyd.apps.manifest import Kind, check_slug, read
from cozyd.apps.registry import Registries
from cozyd.apps.versions import CHANNELS
from cozyd.errors import BadGateway, Invalid, NotFound, TooLarge
from cozyd.outbound import Outbound


class RegistrySource:
    """See `fetched.Fetch`."""

    def __init__(self, registries: Registries, outbound: Outbound) -> None:
        self._registries = registries
        self._outbound = outbound

    def __call__(self, source: str, kind: Kind, slug: str, scratch: Path) -> Fetched:
        """Find the version that is meant, and its archive."""
        found = self._version(source)
        manifest, sha = found.get("manifest"), found.get("sha256")
        if not isinstance(manifest, dict) or not isinstance(sha, str) or not isinstance(found.get("url"), str):
            raise BadGateway("The registry's answer cannot be read")
        checked = read(manifest, kind, slug)

        def fill(target: Path) -> None:
            file = scratch / "archive"
            self._download(found, file)
            archive.unpack(file, target, prefix=str(found.get("tar_prefix") or "") or None)

        key = f"{sha.lower()} {found.get('tar_prefix') or ''}"
        return Fetched(checked, str(found.get("version") or checked.version), sha, fill, key)

    def _version(self, source: str) -> dict[str, Any]:
        parts = urlsplit(source)
        slug = check_slug(parts.netloc)
        channel, version = "stable", ""
        for part in [part for part in parts.path.split("/") if part and part != "latest"]:
            if part[:1].isdigit():
                version = part
            else:
                channel = part
        if channel not in CHANNELS:
            raise Invalid("Unknown channel of the registry", source="Source")
        try:
            return self._registries.version(slug, version) if version else self._registries.latest(slug, channel)
        except NotFound:
            raise NotFound("Application manifest is not reachable") from None

    def _download(self, found: dict[str, Any], file: Path) -> None:
        """The archive, of our own folder without a way over the network."""
        near = self._registries.near(found["slug"], found["version"])
        if near is not None:
            file.write_bytes(near)
            return
        said = str(found.get("size") or "")
        size = int(said) if said.isdigit() and len(said) < 20 else None
        if size is not None and size > archive.LARGEST_ARCHIVE:
            raise TooLarge("The archive is too large")
        try:
            digest = download(self._outbound, found["url"], file, largest=archive.LARGEST_ARCHIVE if size is None else size)
        except TooLarge:
            raise _other_size() if size is not None else TooLarge("The archive is too large") from None
        if size is not None and file.stat().st_size != size:
            raise _other_size()
        check_digest(digest, str(found["sha256"]))


def _other_size() -> BadGateway:
    return BadGateway("The archive has another size than its registry says")
