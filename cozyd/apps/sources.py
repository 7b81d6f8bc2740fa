"""Where apps come from: `registry://`, `http(s)://`, `file://`, `git`, `hg`, `npm:` -> a manifest, and a way to get the files.

Nothing of an app is ever run here. What comes from the network comes through `Outbound`, and within the limits of `archive`.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from cozyd.apps import archive
from cozyd.apps.fetched import Fetch, Fetched, check_digest, download, manifest_of, suffixed
from cozyd.apps.git import fetch_git
from cozyd.apps.manifest import Kind, parse
from cozyd.apps.mercurial import fetch_hg
from cozyd.apps.npm import fetch_npm
from cozyd.errors import Invalid
from cozyd.outbound import Outbound


class Sources:
    """Every way an app can come.

    :param registry: for `registry://`.
    :param npm: address of the npm registry.
    """

    def __init__(self, outbound: Outbound, registry: Fetch, npm: str) -> None:
        self._outbound = outbound
        git: Fetch = lambda source, kind, slug, scratch: fetch_git(outbound, source, kind, slug, scratch)  # noqa: E731
        hg: Fetch = lambda source, kind, slug, scratch: fetch_hg(outbound, source, kind, slug, scratch)  # noqa: E731
        self._ways: dict[str, Fetch] = {
            "registry": registry,
            "http": self._tarball,
            "https": self._tarball,
            "file": _folder,
            "npm": lambda source, kind, slug, scratch: fetch_npm(outbound, npm, source, kind, slug, scratch),
            **dict.fromkeys(("git", "git+https", "git+http", "git+file"), git),
            **dict.fromkeys(("hg+https", "hg+http", "hg+file", "mercurial"), hg),
        }

    def check(self, source: str) -> None:
        """Whether a source can be one.

        :raises Invalid: its scheme is unknown, or it is none.
        """
        scheme = source.partition(":")[0].lower()
        if scheme in ("git+ssh", "ssh+git", "hg+ssh"):
            raise Invalid("Sources over SSH need a key that this server does not have; use https", source="Source")
        if scheme not in self._ways:
            raise Invalid("Invalid or not supported source scheme", source="Source")
        try:
            urlsplit(source)
        except ValueError:
            raise Invalid("The source is no address", source="Source") from None

    def fetch(self, source: str, kind: Kind, slug: str, scratch: Path) -> Fetched:
        """Find the app of a source.

        :raises CozyError: there is none, it cannot be reached, or it is none that may be used.
        """
        self.check(source)
        return self._ways[source.partition(":")[0].lower()](source, kind, slug, scratch)

    def _tarball(self, source: str, kind: Kind, slug: str, scratch: Path) -> Fetched:
        parts = urlsplit(source)
        wanted = parts.fragment.lower().removeprefix("sha256-").removeprefix("sha256=")
        file = scratch / "archive"
        digest = download(self._outbound, urlunsplit(parts._replace(fragment="")), file)
        check_digest(digest, wanted or digest)
        text, prefix = archive.read_manifest(file)
        manifest = parse(text, kind, slug)
        return Fetched(manifest, manifest.version, digest, lambda target: archive.unpack(file, target, prefix=prefix))


def _folder(source: str, kind: Kind, slug: str, scratch: Path) -> Fetched:  # noqa: ARG001
    """`file:///folder`, or `file:///an.archive.tar.gz`."""
    parts = urlsplit(source)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise Invalid("A file source is an absolute path: file:///folder", source="Source")
    if path.is_file():
        text, prefix = archive.read_manifest(path)
        manifest = parse(text, kind, slug)
        return Fetched(manifest, suffixed(manifest), "", lambda target: archive.unpack(path, target, prefix=prefix))
    manifest = manifest_of(path, kind, slug)
    return Fetched(manifest, suffixed(manifest), "", lambda target: archive.copy(path, target))
