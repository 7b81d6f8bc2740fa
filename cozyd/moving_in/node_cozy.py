"""An export of the old node.js cozy (version 2): `files/`, `contacts/*.vcf`, `calendars/*.ics`, `albums/` in a folder or a tar file.

It is taken into an instance that is there. What is here already is left alone, so that it can be run again.
"""

import hashlib
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cozyd import jsons
from cozyd.documents.store import Doc, Ref, Write
from cozyd.errors import BadRequest, CozyError, Invalid, NotFound
from cozyd.files.folders import Import
from cozyd.files.tree import Reference
from cozyd.instance import Instance
from cozyd.moving_in.sources import Trouble
from cozyd.pim import split
from cozyd.pim.collections import Collection
from cozyd.pim.record import DEFAULT_BOOK
from cozyd.pim.rows import DEFAULT_CALENDAR

FILES, ALBUMS = "files", "albums"
ALBUM_DOCTYPE = "io.cozy.photos.albums"
TAR_SUFFIXES = (".tar", ".tgz", ".tar.gz")
_UID = re.compile(rb"^UID[;:]", re.MULTILINE | re.IGNORECASE)
_VERSION = re.compile(rb"^VERSION:[^\r\n]*\r?\n", re.MULTILINE | re.IGNORECASE)
Step = Mapping[str, Any]


def is_export(path: Path) -> bool:
    """Whether a path looks like such an export."""
    if path.is_dir():
        return any((path / name).is_dir() for name in (FILES, "contacts", "calendars")) or any(path.glob("*.vcf"))
    return path.name.endswith(TAR_SUFFIXES)


def bring_in(instance: Instance, export: Path, scratch: Path, *, dry_run: bool = False) -> Iterator[Step]:
    """Take an export into an instance.

    :param scratch: a folder for what a tar file holds meanwhile.
    :raises Invalid: the tar file cannot be read, or holds names that lead out of it.
    """
    with _opened(export, scratch) as folder:
        run = NodeCozy(instance, folder, dry_run=dry_run)
        yield from run.files()
        yield from run.cards_and_calendars()
        yield from run.albums()
        yield from run.rest()
        yield {"step": "moved", "domain": instance.domain, **run.counts}


@contextmanager
def _opened(export: Path, scratch: Path) -> Iterator[Path]:
    if export.is_dir():
        yield export
        return
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        try:
            with tarfile.open(export) as packed:
                packed.extractall(folder, filter="data")
        except FileNotFoundError as cause:
            raise NotFound(f"{export} is not there") from cause
        except (tarfile.TarError, OSError, EOFError) as cause:
            raise Invalid(f"{export} is no whole tar file: {cause}") from cause
        yield Path(folder)


class NodeCozy:
    """One run."""

    def __init__(self, instance: Instance, folder: Path, *, dry_run: bool) -> None:
        self._instance = instance
        self._folder = folder
        self._dry_run = dry_run
        self.counts = {"files": 0, "contacts": 0, "calendar_objects": 0, "albums": 0}

    def files(self) -> Iterator[Step]:
        """What is in `files/` goes to the root."""
        home = self._folder / FILES
        if not home.is_dir():
            return
        if self._dry_run:
            self.counts["files"] = sum(1 for path in home.rglob("*") if path.is_file())
            return
        for step in Import(self._instance.files).run(home, "/"):
            if step["step"] == "skipped":
                yield Trouble("not_brought", str(step["path"]).removeprefix(f"{self._folder}/"), step["reason"]).step
            elif step["step"] == "done":
                self.counts["files"] = step["files"] + step["same"]
            else:
                yield {"step": "contents", "done": step["files"], "bytes": step["bytes"]}

    def cards_and_calendars(self) -> Iterator[Step]:
        """Each .vcf into the address book, each .ics into the calendar of its name."""
        for path in self._texts("*.vcf"):
            yield from self._take(path, self._instance.pim.collection(DEFAULT_BOOK), "contacts")
            yield {"step": "documents", "doctype": "io.cozy.contacts", "done": self.counts["contacts"]}
        for path in self._texts("*.ics"):
            yield from self._take(path, self._calendar(path.stem), "calendar_objects")
            yield {"step": "documents", "doctype": "io.cozy.calendar.events", "done": self.counts["calendar_objects"]}

    def _texts(self, pattern: str) -> list[Path]:
        return sorted(path for path in self._folder.rglob(pattern) if self._top(path) != FILES and path.is_file())

    def _top(self, path: Path) -> str:
        return path.relative_to(self._folder).parts[0]

    def _calendar(self, name: str) -> Collection:
        """The calendar of a name; made when it is not there."""
        pim = self._instance.pim
        for one in pim.collections():
            if one.kind == "calendar" and one.props.get("name") == name:
                return one
        return pim.collection(DEFAULT_CALENDAR) if self._dry_run else pim.make("calendar", {"name": name})

    def _take(self, path: Path, collection: Collection, counted: str) -> Iterator[Step]:
        name = str(path.relative_to(self._folder))
        raw = path.read_bytes()
        try:
            objects = [_named(one) for one in split.objects(raw, collection.kind)] if collection.kind == "book" else [raw]
            found = (
                [(name, None)] * len(objects)
                if self._dry_run
                else [answer for one in objects for answer in self._instance.pim.add_all(collection, one)]
            )
        except CozyError as error:
            yield Trouble("not_brought", name, error.detail).step
            return
        for _, answer in found:
            if isinstance(answer, CozyError):
                yield Trouble("not_brought", name, answer.detail).step
            else:
                self.counts[counted] += 1

    def albums(self) -> Iterator[Step]:
        """Albums of photos and which files are in them: a line of JSON each."""
        for number, album in self._lines("albums.json"):
            if isinstance(album, Trouble):
                yield album.step
                continue
            known = str(album.get("_id") or number)
            self.counts["albums"] += 1
            if not self._dry_run:
                self._put_album(known, album)
        for _, line in self._lines("references.json"):
            trouble = line if isinstance(line, Trouble) else self._refer(str(line.get("albumid")), str(line.get("filepath")))
            if trouble is not None:
                yield trouble.step

    def _put_album(self, id: str, album: Doc) -> None:
        body = {name: value for name, value in album.items() if name not in ("_id", "_rev", "type")}
        if self._instance.docs.get_many(ALBUM_DOCTYPE, [id])[0] is None:
            self._instance.docs.commit([Write(Ref(ALBUM_DOCTYPE, id), body=body)])

    def _refer(self, album: str, path: str) -> Trouble | None:
        if self._dry_run:
            return None
        files = self._instance.files
        try:
            node = files.at("/" + path.lstrip("/"))
            files.references.change([node.id], "referenced_by", add=[Reference(ALBUM_DOCTYPE, album)], author=files.author())
        except CozyError as error:
            return Trouble("not_brought", f"{path} in album {album}", error.detail)
        return None

    def _lines(self, name: str) -> Iterator[tuple[int, Doc | Trouble]]:
        path = self._folder / ALBUMS / name
        if not path.is_file():
            return
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                yield number, jsons.load_object(line)
            except BadRequest as error:
                yield number, Trouble("damaged_line", f"{ALBUMS}/{name} line {number}", error.detail)

    def rest(self) -> Iterator[Step]:
        """What has no place here."""
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and self._top(path) not in (FILES, ALBUMS) and path.suffix.lower() not in (".vcf", ".ics"):
                yield Trouble("not_brought", str(path.relative_to(self._folder)), "there is no place for it").step


def _named(card: bytes) -> bytes:
    """A card with a UID: one that has none gets one by its text, so that it is the same card each time."""
    if _UID.search(card):
        return card
    uid = b"UID:" + hashlib.sha256(card).hexdigest()[:32].encode() + b"\r\n"
    return _VERSION.sub(lambda found: found.group() + uid, card, count=1)
