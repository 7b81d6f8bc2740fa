"""A registry made of a folder: `<slug>/<version>.tar[.gz]`, or unpacked `<slug>/<version>/manifest.webapp`, or `<slug>/manifest.webapp`.

`<slug>/app.json` may say more of an app (editor, maintenance). The folder is looked at again when something in it has changed.
"""

import gzip
import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cozyd import jsons
from cozyd.apps import archive
from cozyd.apps.bundles import type_of
from cozyd.apps.registry import Image
from cozyd.apps.versions import CHANNELS, Channel, channel_of, is_in, order
from cozyd.errors import CozyError, NotFound

ENDINGS = (".tar.gz", ".tgz", ".tar")
_FILTERS = {"type": "type", "editor": "editor"}


class LocalRegistry:
    """A folder of apps.

    :param folder: looked at when it is asked.
    :param address: gives the address of a version's archive, from slug, version and file name.
    """

    def __init__(self, folder: Path, address: Callable[[str, str, str], str]) -> None:
        self._folder = folder
        self._address = address
        self._lock = threading.Lock()
        self._seen: tuple[tuple[str, int, int], ...] = ()
        self._known: dict[str, dict[str, tuple[Path, dict[str, Any]]]] = {}

    def apps(self, query: Mapping[str, str]) -> Sequence[dict[str, Any]]:
        """See `Registry.apps`."""
        channel: Any = query.get("versionsChannel") or "dev"
        latest: Any = query.get("latestChannelVersion") or "stable"
        found = [self._app(slug, channel, latest) for slug in self._index()]
        return [app for app in found if app is not None and _is_taken(app, query)]

    def refresh(self) -> None:
        """See `Registry.refresh`."""
        self._index()

    def app(self, slug: str) -> dict[str, Any]:
        """See `Registry.app`."""
        found = self._app(slug, "dev", "stable") if slug in self._index() else None
        if found is None:
            raise NotFound("Not Found")
        return found

    def version(self, slug: str, version: str) -> dict[str, Any]:
        """See `Registry.version`."""
        return dict(self._entry(slug, version)[1])

    def latest(self, slug: str, channel: Channel) -> dict[str, Any]:
        """See `Registry.latest`."""
        found = self._latest(self._index().get(slug, {}), channel)
        if found is None:
            raise NotFound("Not Found")
        return dict(found)

    def image(self, slug: str, version: str, name: str) -> Image:
        """See `Registry.image`."""
        found = self.version(slug, version) if version else self._latest(self._index().get(slug, {}), "dev")
        if found is None:
            raise NotFound("Not Found")
        path = _image_path(found["manifest"], name)
        content = _member(self.archive(slug, found["version"]), path) if path else None
        if content is None:
            raise NotFound("Not Found")
        return Image(type_of(path), content)

    def archive(self, slug: str, version: str) -> bytes:
        """The bytes of a version's archive.

        :raises NotFound: there is none.
        """
        return _packed(self._entry(slug, version)[0])

    # -- inside -----------------------------------------------------------------------------------------------------

    def _entry(self, slug: str, version: str) -> tuple[Path, dict[str, Any]]:
        try:
            return self._index()[slug][version.removeprefix("v")]
        except KeyError:
            raise NotFound("Not Found") from None

    def _index(self) -> Mapping[str, Mapping[str, tuple[Path, dict[str, Any]]]]:
        """Slug -> version -> where it lies and its description."""
        with self._lock:
            seen = tuple(_state(self._folder))
            if seen != self._seen:
                self._known = self._read(sorted(self._folder.glob("*/*")) if self._folder.is_dir() else [])
                self._seen = seen
            return self._known

    def _read(self, paths: Sequence[Path]) -> dict[str, dict[str, tuple[Path, dict[str, Any]]]]:
        found: dict[str, dict[str, tuple[Path, dict[str, Any]]]] = {}
        for path in paths:
            try:
                lies, version = _found_at(path)
                if channel_of(version) is None:
                    continue
                described = self._described(lies, path.parent.name, version)
            except CozyError:
                continue
            found.setdefault(path.parent.name, {})[version] = (lies, described)
        return found

    def _described(self, path: Path, slug: str, version: str) -> dict[str, Any]:
        packed = _packed(path)
        with archive.temporary(packed) as file:
            text, prefix = archive.read_manifest(file)
        manifest = jsons.load_object(text)
        name = path.name if path.is_file() else f"{version}.tar.gz"
        return {
            "slug": slug,
            "editor": str(manifest.get("editor") or ""),
            "type": str(manifest.get("type") or "webapp"),
            "version": version,
            "manifest": manifest,
            "created_at": datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat().replace("+00:00", "Z"),
            "url": self._address(slug, version, name),
            "size": str(len(packed)),
            "sha256": hashlib.sha256(packed).hexdigest(),
            "tar_prefix": "" if prefix == "." else prefix,
        }

    def _app(self, slug: str, channel: Channel, latest: Channel) -> dict[str, Any] | None:
        versions = {version: described for version, (_, described) in self._index()[slug].items()}
        if not versions:
            return None
        newest = max(versions.values(), key=lambda one: order(one["version"], one["created_at"]))
        lists: dict[str, Any] = {"has_versions": True}
        for name in CHANNELS[: CHANNELS.index(channel) + 1]:
            lists[name] = sorted((one for one in versions if is_in(one, name)), key=lambda one: order(one, versions[one]["created_at"]))
        app = {
            "slug": slug,
            "type": newest["type"],
            "editor": newest["editor"],
            "created_at": min(one["created_at"] for one in versions.values()),
            "versions": lists,
            "label": 5,
            "data_usage_commitment": "none",
            "data_usage_commitment_by": "none",
        }
        own = self._latest(self._index()[slug], latest)
        return app | ({"latest_version": own} if own else {}) | self._told(slug)

    def _told(self, slug: str) -> dict[str, Any]:
        try:
            told = jsons.load_object((self._folder / slug / "app.json").read_bytes())
        except (OSError, CozyError):
            return {}
        return {name: value for name, value in told.items() if name not in ("slug", "versions", "latest_version")}

    @staticmethod
    def _latest(versions: Mapping[str, tuple[Path, dict[str, Any]]], channel: Channel) -> dict[str, Any] | None:
        fitting = [described for version, (_, described) in versions.items() if is_in(version, channel)]
        return max(fitting, key=lambda one: order(one["version"], one["created_at"])) if fitting else None


def _state(folder: Path) -> Iterator[tuple[str, int, int]]:
    """What tells whether a registry's folder has changed, cheap enough for each question."""
    for slug in _entries(folder):
        if slug.is_dir():
            versions = list(_entries(slug.path))
            deep = any(entry.name in archive.MANIFESTS for entry in versions)
            yield from _states(versions, deep=deep)


def _states(entries: Iterable["os.DirEntry[str]"], *, deep: bool) -> Iterator[tuple[str, int, int]]:
    for entry in entries:
        try:
            state = entry.stat()
        except FileNotFoundError:
            continue  # it was removed while the folder is read
        yield entry.path, state.st_mtime_ns, state.st_size
        if deep and entry.is_dir():
            yield from _states(_entries(entry.path), deep=True)


def _entries(folder: Path | str) -> Sequence["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _found_at(path: Path) -> tuple[Path, str]:
    """Where a version lies and which it is; `""` of what is none.

    :raises BadRequest: a manifest that cannot be read.
    """
    if path.name in archive.MANIFESTS:
        return path.parent, str(jsons.load_object(path.read_bytes()).get("version") or "")
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), "")
    return path, path.name.removesuffix(ending).removeprefix("v") if ending or path.is_dir() else ""


def _is_taken(app: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    for name, field in _FILTERS.items():
        wanted = query.get(f"filter[{name}]")
        if wanted and app.get(field) != wanted:
            return False
    select, reject = (query.get(f"filter[{name}]") for name in ("select", "reject"))
    return not (select and app["slug"] not in select.split(",")) and not (reject and app["slug"] in reject.split(","))


def _image_path(manifest: Mapping[str, Any], name: str) -> str:
    """Where in its archive an image of an app is; empty: it names none."""
    if name == "icon":
        return str(manifest.get("icon") or "")
    if name == "partnership_icon":
        partnership = manifest.get("partnership")
        return str(partnership.get("icon") or "") if isinstance(partnership, dict) else ""
    wanted = name.removeprefix("screenshots/")
    named = [
        manifest.get("screenshots"),
        *(one.get("screenshots") for one in (manifest.get("locales") or {}).values() if isinstance(one, dict)),
    ]
    paths = [path for paths in named if isinstance(paths, list) for path in paths if isinstance(path, str)]
    return next((path for path in paths if path in (wanted, name)), "")


def _packed(path: Path) -> bytes:
    """An archive's bytes; of a folder, the same ones each time."""
    if path.is_file():
        return path.read_bytes()
    out = io.BytesIO()
    archive.pack(path, out)
    return out.getvalue()


def _member(packed: bytes, name: str) -> bytes | None:
    """A file in an archive, below whatever folder."""
    plain = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        for member in tar:
            if member.isreg() and (member.name.removeprefix("./") == name or member.name.endswith(f"/{name}")):
                file = tar.extractfile(member)
                return file.read() if file is not None else None
    return None
