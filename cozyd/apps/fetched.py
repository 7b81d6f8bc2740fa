"""What every source of apps has in common: what is found, downloads, checksums, the manifest of a folder."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cozyd.apps import archive
from cozyd.apps.manifest import LARGEST, Kind, Manifest, parse
from cozyd.errors import BadGateway, BadRequest, NotFound
from cozyd.outbound import Outbound

DOWNLOAD_WITHIN = 60.0
PROGRAM_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """An app that may be installed.

    :param version: as it will be shown, with what makes it unique where the manifest's own does not.
    :param checksum: SHA-256 of the archive in hexadecimal, empty where there is none.
    :param fill: writes the files below a folder that is not there yet.
    :param key: what names these very files before they are fetched; empty: nothing does.
    """

    manifest: Manifest
    version: str
    checksum: str
    fill: Callable[[Path], None]
    key: str = ""


class Fetch(Protocol):
    """How one scheme is fetched."""

    def __call__(self, source: str, kind: Kind, slug: str, scratch: Path) -> Fetched:
        """Find the app of a source; `scratch` is an empty folder that stays until the files are taken."""


def download(outbound: Outbound, url: str, target: Path, *, largest: int = archive.LARGEST_ARCHIVE) -> str:
    """Fetch an archive to a file; its SHA-256 in hexadecimal, of the bytes as they came.

    :param largest: how many bytes are taken.
    :raises NotFound: there is none.
    :raises BadRequest: the server answers otherwise.
    :raises TooLarge: there are more bytes.
    """
    whole = hashlib.sha256()
    with outbound.stream("GET", url, limit_bytes=largest, timeout=DOWNLOAD_WITHIN) as incoming, open(target, "xb") as file:
        if incoming.status == 404:
            raise NotFound("Application manifest is not reachable")
        if incoming.status != 200:
            raise BadRequest(f"The source answered {incoming.status}")
        for chunk in incoming:
            whole.update(chunk)
            file.write(chunk)
    return whole.hexdigest()


def check_digest(found: str, wanted: str) -> None:
    """:raises BadGateway: the archive is not the one that was meant."""
    if not secrets.compare_digest(found.encode(), wanted.lower().encode()):
        raise BadGateway("Application checksum does not match")


def manifest_of(folder: Path, kind: Kind, slug: str) -> Manifest:
    """The manifest in a folder.

    :raises NotFound: there is none.
    """
    for name in (f"manifest.{kind}", "manifest.webapp", "manifest.konnector"):
        path = folder / name
        if path.is_file() and not path.is_symlink():
            if path.stat().st_size > LARGEST:
                raise BadRequest("The manifest is not valid: it has more than 2 MiB")
            return parse(path.read_bytes(), kind, slug)
    raise NotFound("Application manifest is not reachable")


def suffixed(manifest: Manifest) -> str:
    """A version that no other installation has, for sources that may change without saying so."""
    return f"{manifest.version}-{secrets.token_hex(5)}"
