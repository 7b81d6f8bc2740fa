"""Files of installed apps, each version once for all instances, named by what is in it.

`<folder>/<digest>/files/...` are the files, `packed/...` the same with brotli and gzip, made once, and `index.json` says what there
is. A digest is the SHA-256 of all names and contents, so a bundle never changes and its folder appears by one rename. The canonical
archive is kept as a blob too: a process on another machine unpacks it at the first request.
"""

import gzip
import hashlib
import mimetypes
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cozyd import jsons
from cozyd.apps import archive
from cozyd.durable import sync
from cozyd.errors import NotFound, Unavailable
from cozyd.files.blobs import BlobStore

Coding = Literal["br", "gzip", ""]
AREA = "apps-bundles"
KEPT, KEPT_KEYS = 64, 1024
SUFFIXES: Mapping[Coding, str] = {"br": ".br", "gzip": ".gz"}
WORTH_PACKING, PACKING = 512, 3
"""From how many bytes on a file is packed, and how hard the archive is: what it saves beyond is not worth a second of an install."""
_TEXTS = ("text/", "application/javascript", "application/json", "application/manifest+json", "image/svg+xml", "application/wasm")
_TYPES = {
    ".webmanifest": "application/manifest+json",
    ".webapp": "application/json",
    ".konnector": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".woff2": "font/woff2",
    ".woff": "font/woff",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".avif": "image/avif",
    ".webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a bundle.

    :param hash: of its content, hexadecimal.
    :param sizes: bytes by coding; `""` is the plain one.
    """

    hash: str
    type: str
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of one version of an app."""

    digest: str
    folder: Path
    entries: Mapping[str, Entry]

    def path(self, name: str, coding: Coding = "") -> str:
        """Where a file lies that `entries` has; a text, as a `Path` takes a tenth of a request to make."""
        return f"{self.folder}/packed/{name}{SUFFIXES[coding]}" if coding else f"{self.folder}/files/{name}"

    def read(self, name: str) -> bytes:
        """A file's content.

        :raises NotFound: it has none of this name.
        """
        if name not in self.entries:
            raise NotFound("There is no such file")
        return Path(self.path(name)).read_bytes()


class Bundles:
    """Every bundle that this process has seen.

    :param folder: for the files; made when it is not there.
    :param blobs: where archives are kept for other machines.
    """

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self._folder = folder
        self._blobs = blobs
        self._kept: OrderedDict[str, Bundle] = OrderedDict()
        self._by_key: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for what is on its way; whatever is left in it goes."""
        top = self._folder / "tmp"
        top.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=top, ignore_cleanup_errors=True) as name:
            yield Path(name)

    def known(self, key: str) -> Bundle | None:
        """The bundle that was added under a key; None: not by this process, or it is not here any more."""
        with self._lock:
            digest = self._by_key.get(key, "")
        return self._wanted(digest) if digest else None

    def add(self, files: Path, key: str = "") -> Bundle:
        """Take a folder of files; it is moved away.

        :param key: see `Fetched`: who asks for the same need not fetch it again.
        """
        made = self._added(files)
        if key:
            with self._lock:
                self._by_key[key] = made.digest
                while len(self._by_key) > KEPT_KEYS:
                    self._by_key.popitem(last=False)
        return made

    def get(self, digest: str) -> Bundle:
        """A bundle, fetched when another machine made it.

        :raises NotFound: there is none.
        """
        with self._lock:
            known = self._kept.get(digest)
            if known is not None:
                self._kept.move_to_end(digest)
                return known
        folder = self._folder / digest
        if not (folder / "index.json").is_file():
            self._fetch(digest)
        found = Bundle(digest, folder, _read_index(folder))
        with self._lock:
            self._kept[digest] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def archive(self, digest: str) -> bytes:
        """The canonical archive, as tar.gz.

        :raises NotFound: there is none.
        """
        with self._blobs.open(AREA, f"{digest[:32]}/{digest}") as packed:
            return packed.read()

    def collect(self, named: Callable[[], Collection[str]], before: datetime) -> int:
        """Remove bundles that nothing names, and what interrupted installs left; how many bundles went.

        :param named: every digest that an installed app has. Called once more before something goes: an install may have ended meanwhile.
        :param before: only what was made, or wanted again, before.
        """
        tmp = self._folder / "tmp"
        for left in tmp.iterdir() if tmp.is_dir() else ():
            if left.stat().st_mtime < before.timestamp():
                shutil.rmtree(left, ignore_errors=True)
        here = {path.parent.name: path.stat().st_mtime for path in self._folder.glob("*/index.json")}
        kept = {key.rpartition("/")[2]: made.timestamp() for key, _, made in self._blobs.list(AREA)}
        old = {digest for digest, made in (kept | here).items() if made < before.timestamp()}
        unnamed = old - set(named()) if old else set()
        unnamed -= set(named()) if unnamed else set()
        for digest in unnamed:
            with self._lock:
                self._kept.pop(digest, None)
            with self.scratch() as scratch, suppress(FileNotFoundError):
                os.rename(self._folder / digest, scratch / digest)
        self._blobs.delete(AREA, [f"{digest[:32]}/{digest}" for digest in unnamed])
        return len(unnamed)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _wanted(self, digest: str) -> Bundle | None:
        """A bundle that is here, marked as wanted for `collect`."""
        try:
            known = self.get(digest)
            os.utime(known.folder / "index.json")
        except (NotFound, FileNotFoundError):
            return None
        return known

    def _added(self, files: Path) -> Bundle:
        entries = {name: files / name for name in sorted(_names(files))}
        digest = _digest(entries)
        known = self._wanted(digest)
        if known is not None:
            return known
        with self.scratch() as scratch:
            made = scratch / digest
            made.mkdir()
            os.rename(files, made / "files")
            with self._blobs.new(AREA, f"{digest[:32]}/{digest}") as blob:
                archive.pack(made / "files", blob, level=PACKING)  # type: ignore[arg-type]  # it has `write`, which is all that is used
                blob.seal()
            self._finish(made, digest)
        return self.get(digest)

    def _fetch(self, digest: str) -> None:
        if not digest:
            raise NotFound("The files of the app are not here")
        content = self.archive(digest)
        with self.scratch() as scratch:
            (scratch / "archive").write_bytes(content)
            made = scratch / digest
            archive.unpack(scratch / "archive", made / "files", prefix="")
            if _digest({name: made / "files" / name for name in sorted(_names(made / "files"))}) != digest:
                raise Unavailable("The files of the app were altered")
            self._finish(made, digest)

    def _finish(self, made: Path, digest: str) -> None:
        """Pack what is worth it, write the index, and give the folder its name."""
        index = {name: _packed(made, name) for name in sorted(_names(made / "files"))}
        (made / "index.json").write_bytes(jsons.dump({name: [one.hash, one.type, dict(one.sizes)] for name, one in index.items()}))
        _sync_all(made)
        with suppress(FileExistsError, OSError):
            os.rename(made, self._folder / digest)
        if not (self._folder / digest / "index.json").is_file():  # half of one, from before a power cut
            shutil.rmtree(self._folder / digest, ignore_errors=True)
            os.rename(made, self._folder / digest)


def type_of(name: str) -> str:
    """The media type of a file's name."""
    extension = os.path.splitext(name)[1].lower()
    found = _TYPES.get(extension) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


def _packed(made: Path, name: str) -> Entry:
    data = (made / "files" / name).read_bytes()
    kind, sizes = type_of(name), {"": len(data)}
    if len(data) >= WORTH_PACKING and kind.startswith(_TEXTS):
        import brotli

        codings: Mapping[Coding, bytes] = {
            "br": brotli.compress(data, quality=9 if len(data) < 1 << 16 else 5),
            "gzip": gzip.compress(data, 6, mtime=0),
        }
        for coding, packed in codings.items():
            if len(packed) < len(data):
                path = made / "packed" / (name + SUFFIXES[coding])
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_bytes(packed)
                sizes[coding] = len(packed)
    return Entry(hashlib.sha256(data).hexdigest()[:32], kind, sizes)


def _read_index(folder: Path) -> Mapping[str, Entry]:
    given = jsons.load_object((folder / "index.json").read_bytes())
    return {name: Entry(hash, kind, sizes) for name, (hash, kind, sizes) in given.items()}


def _names(folder: Path) -> Iterator[str]:
    return (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _digest(entries: Mapping[str, Path]) -> str:
    whole = hashlib.sha256()
    for name, path in entries.items():
        with path.open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def _sync_all(folder: Path) -> None:
    """Have everything of a folder on the disk before it gets its name."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)
