"""Plain folders of the machine into a tenant's files, and out of them: `cozyd files import` and `export`."""

import base64
import hashlib
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from cozyd.errors import Conflict, CozyError, Invalid, NotFound
from cozyd.files import Dir, File, Files, tree
from cozyd.files.blobs import PIECE
from cozyd.files.spool import translated
from cozyd.files.tree import TRASH_DIR, TRASH_NAME, write_time
from cozyd.permissions import ROOT_DIR

Step = dict[str, Any]
OF_THE_REFERENCE = frozenset((".cozy_versions", ".thumbs", ".cozy_apps", ".cozy_konnectors"))
"""What lies beside an owner's files in the reference's local storage."""


class Import:
    """One run: a folder's files become files of the tenant; what is there with the same bytes already is left alone.

    Symbolic links and what is no file are skipped, as are names that cannot be ones here; each is told.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._done: dict[str, int] = {"files": 0, "folders": 0, "bytes": 0, "same": 0, "skipped": 0}

    def run(self, folder: Path, path: str) -> Iterator[Step]:
        """Take all of a folder, or of the reference's local storage of an instance, its trash included.

        :param path: where it goes; made when it is not there.
        :raises NotFound: the folder is not there. QuotaExceeded, StorageFull: there is no more room; what came before stays.
        """
        if not folder.is_dir():
            raise NotFound(f"{folder} is no folder that the server can see")
        home = self._files.mkdir_all(path)
        yield {"step": "import", **self._done}
        apart = OF_THE_REFERENCE | {TRASH_NAME} if (folder / TRASH_NAME).is_dir() else frozenset[str]()
        yield from self._take_all(folder, home, apart)
        if apart:
            yield from self._take_trash(folder / TRASH_NAME)
            left = sum(1 for found in (folder / ".cozy_versions").rglob("*") if found.is_file())
            if left:
                yield self._skip(folder / ".cozy_versions", f"{left} old contents: `cozyd import-cozy` brings them, with their documents")
        yield {"step": "done", **self._done}

    def _take_all(self, folder: Path, home: Dir, apart: frozenset[str] = frozenset()) -> Iterator[Step]:
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
            if entry.name not in apart:
                yield from self._take(Path(entry.path), home)

    def _take(self, source: Path, home: Dir) -> Iterator[Step]:
        try:
            name = tree.check_name(source.name)
            name.encode()
            mode = source.lstat().st_mode
        except (CozyError, UnicodeEncodeError, OSError) as error:
            yield self._skip(source, "its name cannot be one here" if not isinstance(error, OSError) else str(error.strerror))
            return
        if stat.S_ISDIR(mode):
            yield from self._take_folder(source, home, name)
        elif stat.S_ISREG(mode):
            yield self._take_file(source, home, name)
        else:
            yield self._skip(source, "it is neither file nor folder")

    def _take_folder(self, source: Path, home: Dir, name: str) -> Iterator[Step]:
        found = self._files.find(home, name)
        if isinstance(found, File) or (found is not None and found.name != name):
            name, found = self._files.free_name(home, name), None
        if found is None:
            found = self._files.mkdir(home, name, fields=self._times(source))
            self._done["folders"] += 1
        assert isinstance(found, Dir)
        yield from self._take_all(source, found)

    def _take_file(self, source: Path, home: Dir, name: str) -> Step:
        found = self._files.find(home, name)
        if isinstance(found, Dir) or (found is not None and found.name != name):
            name, found = self._files.free_name(home, name), None
        try:
            with open(source, "rb", buffering=0) as stream:
                size = os.fstat(stream.fileno()).st_size
                if found is not None and size == found.blob.size and _md5_of(cast(BinaryIO, stream)) == found.blob.md5:
                    self._done["same"] += 1
                    return {"step": "import", **self._done}
                stream.seek(0)
                self._put(cast(BinaryIO, stream), size, home, name, found, source)
        except OSError as error:
            return self._skip(source, str(error.strerror))
        return {"step": "import", **self._done}

    def _put(self, stream: BinaryIO, size: int, home: Dir, name: str, old: File | None, source: Path) -> None:
        with self._files.new(size=size, replaces=old) as upload:
            upload.fill(stream)
            blob = upload.seal()
        executable = bool(source.stat().st_mode & stat.S_IXUSR)
        self._files.put(home, name, blob, replaces=old, fields=self._times(source) | {"executable": executable})
        self._done["files"] += 1
        self._done["bytes"] += blob.size

    def _take_trash(self, folder: Path) -> Iterator[Step]:
        """What is in a trash comes into ours; where it was before, only the documents knew."""
        root, bin = self._files.dir(ROOT_DIR), self._files.dir(TRASH_DIR)
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
            if self._files.find(bin, entry.name) is not None:
                self._done["same"] += 1
                continue
            before = {row.ref.id for row in self._files.rows(root)}
            name = self._files.free_name(root, entry.name) if self._files.find(root, entry.name) else entry.name
            source = Path(entry.path)
            if name != entry.name:
                yield self._skip(source, "a name like it is in the root")
                continue
            yield from self._take(source, root)
            for row in self._files.rows(root):
                if row.ref.id not in before:
                    self._files.trash(self._files.get(row.ref.id))

    def _skip(self, source: Path, reason: str) -> Step:
        self._done["skipped"] += 1
        return {"step": "skipped", "path": os.fsencode(source).decode(errors="replace"), "reason": reason}

    @staticmethod
    def _times(source: Path) -> dict[str, str]:
        time = write_time(datetime.fromtimestamp(source.stat().st_mtime, UTC))
        return {"created_at": time, "updated_at": time}


def _md5_of(stream: BinaryIO) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    while piece := stream.read(PIECE):
        md5.update(piece)
    return base64.b64encode(md5.digest()).decode()


class Export:
    """One run: files of the tenant become a plain folder. A content that is not what its document says is no file in it."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._done: dict[str, int] = {"files": 0, "folders": 0, "bytes": 0, "damaged": 0}

    def run(self, path: str, folder: Path) -> Iterator[Step]:
        """Write all below a path; the trash only when it is the path.

        :param folder: made; nothing may be in it.
        :raises NotFound: there is no such path. Conflict: something is in the folder.
        """
        top = self._files.at(path)
        with translated():
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise Conflict(f"{folder} is not empty")
        yield {"step": "export", **self._done}
        if isinstance(top, File):
            yield from self._write(top, folder)
        else:
            yield from self._write_all(top, folder)
        yield {"step": "done", **self._done}

    def _write_all(self, dir: Dir, folder: Path) -> Iterator[Step]:
        for node in self._files.children(dir):
            try:
                tree.check_name(node.name)
            except Invalid:
                yield self._damage(f"{dir.path}/{node.id}", "its name cannot be one")
                continue
            if isinstance(node, File):
                yield from self._write(node, folder)
                continue
            (folder / node.name).mkdir()
            self._done["folders"] += 1
            yield from self._write_all(node, folder / node.name)

    def _write(self, file: File, folder: Path) -> Iterator[Step]:
        target = folder / file.name
        reason = self._copy(file, target)
        if reason:
            target.unlink(missing_ok=True)
            yield self._damage(self._files.path(file), reason)
            return
        time = file.mtime.timestamp()
        os.utime(target, (time, time))
        if file.executable:
            target.chmod(target.stat().st_mode | stat.S_IXUSR)
        self._done["files"] += 1
        self._done["bytes"] += file.blob.size
        yield {"step": "export", **self._done}

    def _copy(self, file: File, target: Path) -> str:
        """Write a content; why it could not be, empty when it is there."""
        md5 = hashlib.md5(usedforsecurity=False)
        try:
            with translated(), open(target, "xb") as written, self._files.read(file) as stream:
                while piece := stream.read(PIECE):
                    md5.update(piece)
                    written.write(piece)
        except NotFound:
            return "its content is gone"
        except OSError as error:
            return f"it cannot be written there: {error.strerror}"
        except CozyError:
            target.unlink(missing_ok=True)
            raise
        same = base64.b64encode(md5.digest()).decode() == file.blob.md5
        return "" if same else "its content was altered"

    def _damage(self, path: str, reason: str) -> Step:
        self._done["damaged"] += 1
        return {"step": "damaged", "path": path, "reason": reason}
