"""`Uploads`: files that come in several requests, of one tenant: begin, continue, finish, give up (docs/http/uploads.md)."""

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from cozyd.errors import Conflict, NotFound, TooManyRequests
from cozyd.files import Author, Dir, File, Files, tree
from cozyd.files.contents import Contents
from cozyd.files.metadata import HEAD
from cozyd.files.parts import Info, Part, Parts, new_id
from cozyd.files.upload import Content, Room

MOST = 1000
"""How many may be under way at once."""


class Uploads:
    """One tenant's.

    :param folder: hers, for what has come.
    """

    def __init__(
        self,
        files: Files,
        contents: Contents,
        folder: Path,
        now: Callable[[], datetime],
        new_file_id: Callable[[], str],
    ) -> None:
        self._files, self._contents = files, contents
        self._new_file_id = new_file_id
        self.parts = Parts(folder, now)

    def begin(self, home: Dir, name: str, length: int, *, replaces: File | None = None, fields: Mapping[str, Any], told: str = "") -> Part:
        """Begin an upload.

        :param fields: further members of the document.
        :param told: what the client said, given back as it came.
        :raises Conflict: the name is taken. QuotaExceeded, StorageFull, TooLarge: it will not fit.
        :raises TooManyRequests: too many are under way.
        """
        tree.check_name(name)
        self._check_place(home, name, replaces)
        count, reserved = self.parts.reserved()
        if count >= MOST:
            raise TooManyRequests("Too many uploads are under way", retry_after=60)
        used, quota = self._files.usage()
        Room(used + reserved, quota, freed=self._freed(replaces)).check(length)
        key = f"{replaces.id if replaces else self._new_file_id()}/{secrets.token_hex(8)}"
        with self._contents.new(key, size=length):  # whether the store takes so much
            pass
        return self.parts.create(
            Info(new_id(), key, length, home.id, name, replaces.id if replaces else "", dict(fields), told=told),
        )

    def finish(self, part: Part, author: Author) -> File:
        """Make the file of a whole upload: one commit, whatever the size. It can be called again when it was interrupted.

        Where the name was taken meanwhile, the file has another one with a number: no byte that came is in vain.
        :raises NotFound: the folder, or the file to replace, is gone.
        :raises QuotaExceeded: there is no room left. The upload stays, and can be finished later.
        """
        info = part.info
        file = self._made(info)
        if file is None:
            home = self._files.dir(info.dir_id)
            old = self._files.file(info.replaces) if info.replaces else None
            if home.trashed:
                raise NotFound("parent directory is in the trash")
            if part.path.exists():
                used, quota = self._files.usage()
                Room(used, quota, freed=self._freed(old)).check(info.length)
            blob = self._sealed(part)
            file = self._files.put(home, info.name, blob, replaces=old, fields=part.info.fields, author=author, resumable=True)
        part.path.unlink(missing_ok=True)
        part.save(file=file.id)
        return file

    def _freed(self, replaced: File | None) -> int:
        """Bytes that a next content gives back, as what it replaces may stay as a version."""
        return self._files.versions.plan(replaced, "").freed(replaced) if replaced is not None else 0

    def _sealed(self, part: Part) -> Content:
        """The content of a whole upload: the part itself where it lies on the store's disk, else a copy."""
        info = part.info
        if part.path.exists():
            whole = part.whole()
            part.save(md5=whole.md5)
            with self._contents.new(info.key, size=info.length, type=str(info.fields.get("mime", ""))) as new:
                new.fill(cast(BinaryIO, whole))
                blob = new.seal()
            if blob.data is not None:
                whole.close()
                return Content(blob.key, blob.size, blob.md5, blob.data, blob.data)
        with self._contents.open(info.key) as stream:  # it is there too when a process ended between sealing and commit
            return Content(info.key, info.length, part.info.md5, None, stream.read(HEAD))

    def _made(self, info: Info) -> File | None:
        """The file that an upload has become."""
        try:
            node = self._files.get(info.file or info.key.partition("/")[0])
        except NotFound:
            if info.file:
                raise
            return None
        return node if isinstance(node, File) and (info.file or node.blob.key == info.key) else None

    def _check_place(self, home: Dir, name: str, replaces: File | None) -> None:
        """:raises NotFound: the folder is in the trash. Conflict: the name is taken."""
        if home.trashed:
            raise NotFound("parent directory is in the trash")
        if replaces is None and self._files.find(home, name) is not None:
            raise Conflict("file already exists")
