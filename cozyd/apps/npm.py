"""Apps from npm: `npm:name`, `npm:@scope/name@1.2.3`, `@^1.2` or `@beta`; `npm://` is the same. Scripts of packages are never run.

The tarball's bytes have to be those of `dist.integrity` (SHA-512); a package without one is not taken.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cozyd import jsons
from cozyd.apps import archive
from cozyd.apps.fetched import DOWNLOAD_WITHIN, Fetched, download
from cozyd.apps.manifest import Kind, parse
from cozyd.apps.versions import newest_for
from cozyd.errors import BadGateway, BadRequest, Invalid, NotFound
from cozyd.outbound import Outbound

LARGEST_METADATA = 32 << 20
CHANNELS = {"stable": "latest"}
_SOURCE = re.compile(r"npm:(?://)?(?P<name>(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*)(?:@(?P<wanted>[^@/\s#]+))?")
_IN_FILE = re.compile(r"^\s*registry\s*=\s*(https?://\S+)", re.MULTILINE)


def fetch_npm(outbound: Outbound, registry: str, source: str, kind: Kind, slug: str, scratch: Path) -> Fetched:
    """See `sources.Fetch`.

    :param registry: its address.
    """
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise Invalid("An npm source is npm:name, with @ and a version, range or tag", source="Source")
    chosen = _chosen(_metadata(outbound, registry, found["name"]), found["wanted"] or "latest")
    dist = chosen.get("dist")
    if not isinstance(dist, dict) or not isinstance(dist.get("tarball"), str):
        raise BadGateway("The npm registry's answer cannot be read")
    file = scratch / "archive"
    digest = download(outbound, dist["tarball"], file)
    _check_integrity(file, dist.get("integrity"))
    text, prefix = archive.read_manifest(file)
    manifest = parse(text, kind, slug)
    return Fetched(manifest, str(chosen["version"]), digest, lambda target: archive.unpack(file, target, prefix=prefix))


def own_registry(environ: Mapping[str, str]) -> str:
    """The registry that npm is set up for on this machine: by its environment, or its file; empty: by neither."""
    named = environ.get("npm_config_registry") or environ.get("NPM_CONFIG_REGISTRY")
    if named:
        return named
    try:
        found = _IN_FILE.search((Path(environ["HOME"]) / ".npmrc").read_text(encoding="utf-8"))
    except (KeyError, OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def _metadata(outbound: Outbound, registry: str, name: str) -> Mapping[str, Any]:
    if not registry:
        raise BadRequest("No npm registry is configured: set `npm` in `[apps]`")
    answer = outbound.request(
        "GET",
        f"{registry.rstrip('/')}/{quote(name, safe='@')}",
        headers={"Accept": "application/vnd.npm.install-v1+json"},
        limit_bytes=LARGEST_METADATA,
        timeout=DOWNLOAD_WITHIN,
    )
    if answer.status == 404:
        raise NotFound("Application manifest is not reachable")
    if answer.status != 200:
        raise BadRequest(f"The npm registry answered {answer.status}")
    try:
        return jsons.load_object(answer.body)
    except BadRequest as cause:
        raise BadGateway("The npm registry's answer cannot be read") from cause


def _chosen(metadata: Mapping[str, Any], wanted: str) -> Mapping[str, Any]:
    versions, tags = metadata.get("versions"), metadata.get("dist-tags")
    if not isinstance(versions, dict) or not isinstance(tags, dict):
        raise BadGateway("The npm registry's answer cannot be read")
    tag = tags.get(CHANNELS.get(wanted, wanted))
    version = tag if isinstance(tag, str) else newest_for(versions, wanted)
    chosen = versions.get(version or "")
    if not isinstance(chosen, dict) or chosen.get("version") != version:
        raise NotFound(f"The package has no version {wanted[:50]!r}")
    return chosen


def _check_integrity(file: Path, integrity: object) -> None:
    """:raises BadGateway: the bytes are others, or nothing says which they should be."""
    wanted = [part.removeprefix("sha512-") for part in str(integrity or "").split() if part.startswith("sha512-")]
    with file.open("rb") as packed:
        found = base64.b64encode(hashlib.file_digest(packed, "sha512").digest()).decode()
    if not any(secrets.compare_digest(found.encode(), one.partition("?")[0].encode()) for one in wanted):
        raise BadGateway("Application checksum does not match")
