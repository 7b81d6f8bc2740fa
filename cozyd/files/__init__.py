"""`Files`: the virtual file system of an instance: folders and files as documents, contents as blobs (docs/files.md).

Each change is one commit under the lock `files/<area>`: read, compute, commit. A blob is sealed before a document names it,
and removed only after no document does, so a crash leaves at most an orphan blob.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any, TypeVar

from cozyd.documents import Documents
from cozyd.documents.store import Change, ContentEdits, Doc, Ref, RowCount, TotalLimit, Write
from cozyd.errors import BadRequest, Conflict, Counted, Invalid, NotFound
from cozyd.files import metadata, seeds, tree
from cozyd.files.blobs import Blob
from cozyd.files.contents import Contents
from cozyd.files.copies import Copies
from cozyd.files.kinds import NOTE, NOTE_ENDING, class_of, guess_mime
from cozyd.files.links import Links
from cozyd.files.lookup import NOT_FOUND, Lookup
from cozyd.files.moves import Moves
from cozyd.files.provenance import Author, Metadata
from cozyd.files.references import References
from cozyd.files.rows import USAGES
from cozyd.files.subtree import TreeEdit
from cozyd.files.thumbnails import PICTURED, Thumbnails, keys_of
from cozyd.files.tree import TRASH_DIR, Dir, File, Node, Version, node_of, write_time
from cozyd.files.upload import Content, Room, Upload
from cozyd.files.versions import Keeping, Versions
from cozyd.locks import Lock, Locks
from cozyd.permissions import FILES, ROOT_DIR

__all__ = ["Author", "Dir", "File", "Files", "Node", "Version"]

_IMMUTABLE = frozenset(("_id", "_rev", "type", "path", "size", "md5sum", "internal_vfs_id", "trashed", "restore_path", "created_at"))
T = TypeVar("T")
_AT_ONCE, TRIES = 1000, 4
"""How many documents one commit removes; how often a tree is looked through again."""
_Prepared = tuple[list[Write], Dir, list[str]]
"""The writes, the folder they count on, and the blobs that nothing names afterwards."""


def lock_name(area: str) -> str:
    """What is held while files, folders or versions of a tenant change."""
    return f"files/{area}"


class Files(Lookup):
    """One tenant's files.

    :param area: the tenant's name, of her lock.
    :param quota: bytes her files may take, None: no limit.
    :param links: the secrets that open one file without a token.
    :param address: of the instance, for what documents say of their origin.
    """

    def __init__(
        self,
        docs: Documents,
        contents: Contents,
        area: str,
        locks: Locks,
        quota: Callable[[], int | None],
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        *,
        links: Links,
        thumbnails: Thumbnails,
        address: Callable[[], str],
        keeping: Keeping,
    ) -> None:
        super().__init__(docs, contents, quota, now)
        self._area = area
        self._moving = f"{lock_name(area)}/moving"
        self._locks = locks
        self._new_id = new_id
        self._address = address
        self._moves = Moves(self, self._subtree)
        self._copies = Copies(self, contents, new_id)
        self.links = links
        self.versions = Versions(docs, contents, self._held, now, keeping)
        self.references = References(docs, self._held)
        self.thumbnails = thumbnails

    def author(self, **more: Any) -> Author:
        """Who changes something now; by default nobody in particular.

        :param more: members of `Author`.
        """
        return Author(write_time(self._now()), self._address(), **more)

    # -- contents ---------------------------------------------------------------------------------------------------

    def new(self, *, size: int | None = None, replaces: File | None = None, type: str = "") -> Upload:
        """Begin the content of a new file, or the next one of a file.

        :param size: bytes, when it is known. :param type: of the content, where the store notes it.
        :raises QuotaExceeded, StorageFull: there is no room; before a byte is read, or while they come.
        """
        room = self._room(lambda: self.versions.plan(replaces, "").freed(replaces) if replaces else 0)
        room.check(size or 0)
        key = f"{replaces.id if replaces else self._new_id()}/{secrets.token_hex(8)}"
        return Upload(self._contents.new(key, size=size, type=type), room)

    def put(
        self,
        parent: Dir,
        name: str,
        blob: Blob,
        *,
        replaces: File | None = None,
        fields: Mapping[str, Any] | None = None,
        author: Author | None = None,
        exact: bool = False,
        resumable: bool = False,
    ) -> File:
        """Make a file of a sealed blob, or give one its next content; the replaced one becomes a version, or goes.

        Whoever comes last wins, and what is replaced is the content of that moment.
        :param fields: further members of the document: mime, tags, executable, created_at, updated_at, metadata...
        :param exact: the file has still to be as `replaces` has it.
        :param resumable: it comes of an upload that may be finished later: a taken name gets a number, and the content stays
            when no file can be made of it.
        :raises Conflict: the name is taken, or the file changed meanwhile.
        :raises NotFound: the parent, or the file that is replaced, is gone or in the trash.
        :raises QuotaExceeded: there is no room left.
        """
        try:
            made = self._put_at_once(parent, name, blob, fields or {}, author) if replaces is None and not resumable else None
            if made is not None:
                return made
            with self._held():
                if replaces is None:
                    name = self.free_name(parent, name) if resumable else name
                    batch, home, doomed = self._making(parent, tree.check_name(name), blob, fields or {}, author)
                else:
                    batch, home, doomed = self._replacing(replaces, blob, fields or {}, author, exact=exact)
                while_at = [(home.stored.ref, home.rev)]
                limits = self._limits()
                stored = self._contents.commit(batch, while_at=while_at, while_totals=limits, made=[blob], doomed=doomed)[0].new
        except BaseException:
            if not resumable:
                self.discard(blob)
            raise
        return _file(node_of(stored))

    def _put_at_once(self, parent: Dir, name: str, blob: Blob, fields: Mapping[str, Any], author: Author | None) -> File | None:
        """Make a file without the lock, where the commit itself refuses a taken name, a folder that has changed and what does not fit:
        uploads that come together are written together. None: it has to be tried under the lock.
        """
        if not self._docs.atomic:
            return None
        if self._locks.is_held(self._moving):  # else a large tree would never be looked through before something comes into it
            with self._locks.hold(self._moving, wait=30):
                pass
        batch, home, _ = self._making(parent, tree.check_name(name), blob, fields, author, look=False)
        try:
            while_at = [(home.stored.ref, home.rev)]
            stored = self._contents.commit(batch, while_at=while_at, while_totals=self._limits(), made=[blob])[0].new
        except Conflict:
            return None
        return _file(node_of(stored))

    def _making(
        self, parent: Dir, name: str, blob: Blob, fields: Mapping[str, Any], author: Author | None, *, look: bool = True
    ) -> _Prepared:
        """:param look: for another of this name, and for room; else the commit does."""
        home = self._moves.usable(parent.id)
        if look:
            self._moves.check_free(home, name)
            self._room().check(blob.size)
        tree.check_depth(home.below(name))
        body = self._body(name, blob, fields) | {"name": name, "dir_id": home.id, "trashed": False}
        body["cozyMetadata"] = (author or self.author()).uploaded()
        return [Write(Ref(FILES, blob.key.partition("/")[0]), body=body)], home, []

    def _replacing(self, replaces: File, blob: Blob, fields: Mapping[str, Any], author: Author | None, *, exact: bool) -> _Prepared:
        old = self.file(replaces.id)
        if exact and old.rev != replaces.rev:
            raise Conflict("The file has changed meanwhile")
        home = self._moves.usable(old.parent)
        plan = self.versions.plan(old, blob.md5)
        self._room(lambda: plan.freed(old)).check(blob.size)
        doc = old.stored.doc
        kept: Doc = {key: doc[key] for key in ("created_at", "referenced_by", "name", "dir_id", "trashed") if key in doc}
        body = self._body(old.name, blob, {**fields, **kept}) | kept
        body["cozyMetadata"] = (author or self.author()).uploaded(old.stored.doc.get("cozyMetadata") or {})
        write = Write(old.stored.ref, body=body, rev=old.rev)
        doomed = [version.blob.key for version in plan.drop]
        doomed += [] if plan.keep else [old.blob.key]
        return [write, *self.versions.writes(old, plan)], home, doomed + _pictures([old])

    def _body(self, name: str, blob: Blob, fields: Mapping[str, Any]) -> Doc:
        now = write_time(self._now())
        body: Doc = {"created_at": now, "updated_at": now, "executable": False, "encrypted": False} | dict(fields)
        mime = NOTE if name.endswith(NOTE_ENDING) else body.get("mime") or guess_mime(name)
        if mime == NOTE:
            body["metadata"] = {**(body.get("metadata") or {}), "title": name.removesuffix(NOTE_ENDING)}
        body |= {"type": "file", "mime": mime, "class": class_of(mime), "size": str(blob.size), "md5sum": blob.md5}
        body["internal_vfs_id"] = blob.key.partition("/")[2]
        found = metadata.extract(mime, blob.head, body["created_at"]) if isinstance(blob, Content) else {}
        body |= metadata.merged(body, found, self._address())
        return body

    def discard(self, blob: Blob) -> None:
        """Remove a sealed blob that no document will name."""
        if blob.data is None:
            self._contents.drop([blob.key])

    # -- folders ----------------------------------------------------------------------------------------------------

    def mkdir(
        self, parent: Dir, name: str, *, fields: Mapping[str, Any] | None = None, author: Author | None = None, id: str | None = None
    ) -> Dir:
        """Make a folder.

        :param id: one of the fixed ids; None: a new one.
        :raises Conflict: the name is taken.
        :raises NotFound: the parent is gone or in the trash.
        """
        with self._held():
            home = self._moves.usable(parent.id)
            self._moves.check_free(home, tree.check_name(name))
            return self._mkdir(home, name, fields or {}, author or self.author(), id)

    def mkdir_all(self, path: str, *, fields: Mapping[str, Any] | None = None, author: Author | None = None) -> Dir:
        """A folder by path, made with all that lead there where they are missing.

        :raises Conflict: a file is in the way.
        :raises NotFound: the path leads into the trash.
        """
        with self._held():
            at = self.dir(ROOT_DIR)
            names = [tree.check_name(name) for name in tree.split_path(path)]
            tree.check_depth(path)
            for name in names:
                child = self.find(at, name)
                if isinstance(child, File):
                    raise Conflict(f"{name} is a file")
                at = child or self._mkdir(self._moves.usable(at.id), name, fields or {}, author or self.author(), None)
            return at

    def _mkdir(self, home: Dir, name: str, fields: Mapping[str, Any], author: Author, id: str | None) -> Dir:
        now = write_time(self._now())
        body: Doc = {"created_at": now, "updated_at": now} | dict(fields)
        body |= {"type": "directory", "name": name, "dir_id": home.id, "path": home.below(name), "cozyMetadata": author.created()}
        write = Write(Ref(FILES, id or self._new_id()), body=body)
        made = node_of(self._docs.commit([write], while_at=[(home.stored.ref, home.rev)])[0].new)
        assert isinstance(made, Dir)
        return made

    # -- changing ---------------------------------------------------------------------------------------------------

    def patch(self, node: Node, *, replaces: Node | None = None, author: Author | None = None, **changes: Any) -> Node:
        """Rename, move, or change other members: one commit, whatever lies below.

        :param replaces: what stands at the new place and goes to the trash in the same commit.
        :param changes: `name`, `dir_id`, `tags`, `updated_at`, `executable`, `metadata`...; None removes one. Members of
            `cozyMetadata` are added to those that are there, and None removes one.
        :raises Conflict: the name is taken, or the node changed meanwhile.
        :raises PreconditionFailed: a folder into itself or below.
        :raises Invalid: a bad name, or a change of what cannot be changed.
        """
        if node.id in (ROOT_DIR, TRASH_DIR):
            raise BadRequest("The root and the trash cannot be changed")
        if _IMMUTABLE & changes.keys():
            raise Invalid(f"{min(_IMMUTABLE & changes.keys())} cannot be changed", source="attributes")
        author = author or self.author()
        name, place = tree.check_name(changes.pop("name", node.name)), changes.pop("dir_id", node.parent) or ROOT_DIR
        known = author.changed(node.stored.doc.get("cozyMetadata") or {}) | (changes.get("cozyMetadata") or {})
        changes["cozyMetadata"] = {key: value for key, value in known.items() if value is not None}
        more = {key: ... if value is None else value for key, value in changes.items()}

        def step() -> Node:
            home = self._moves.usable(place, trash=node.trashed)
            if node.trashed and home.id != node.parent:
                raise BadRequest("What is in the trash is restored, not moved")
            self._moves.check_place(node, home, name, replaces)
            edit = self._clearing(replaces, author)
            edit.add(self._moves.moving(node, home, name, more))
            changed = self._commit(edit, home)
            return node_of(next(change.new for change in changed if change.new.ref.id == node.id))

        return self._alone(step, node, replaces)

    def relabel(self, file: File, *, metadata: Metadata, tags: Sequence[str], author: Author) -> File:
        """Give a file other metadata and tags, as an upload of the same content would; no version is made.

        :raises Conflict: it changed meanwhile.
        """
        uploaded = author.uploaded(file.stored.doc.get("cozyMetadata") or {})
        patch = {"metadata": dict(metadata) or ..., "tags": list(tags) or ..., "cozyMetadata": uploaded}
        with self._held():
            write = Write(file.stored.ref, patch=patch, rev=file.rev)
            return _file(node_of(self._docs.commit([write])[0].new))

    def describe(self, file: File, found: Metadata) -> File:
        """Add to what is known of a file's content; who changed it, and when, stays as it is.

        :raises Conflict: it changed meanwhile.
        """
        known = {**file.metadata, **found}
        patch: dict[str, Any] = {"metadata": known}
        if "datetime" in found and metadata.taken(known):
            patch["created_at"] = metadata.taken(known)
        write = Write(file.stored.ref, patch=patch, rev=file.rev)
        return _file(node_of(self._docs.commit([write])[0].new))

    # -- trash ------------------------------------------------------------------------------------------------------

    def trash(self, node: Node, *, by: Metadata | None = None, author: Author | None = None) -> Node:
        """Put a node in the trash, with all below, in one commit.

        :param by: who does it, for `cozyMetadata.trashedBy`.
        :raises BadRequest: it is there already, or is the root.
        """
        return self._alone(lambda: node_of(self._commit(self._moves.trashing(node, author or self.author(), by))[0].new), node)

    def _clearing(self, replaces: Node | None, author: Author) -> TreeEdit:
        return self._moves.trashing(replaces, author, None) if replaces is not None else TreeEdit()

    def _commit(self, edit: TreeEdit, home: Dir | None = None) -> Sequence[Change]:
        """:raises Conflict: the folder it goes to has changed, or something came into one that was looked through."""
        while_at = [(home.stored.ref, home.rev)] if home is not None else ()
        return self._docs.commit(edit.writes, while_at=while_at, while_counts=edit.counts)

    def restore(self, node: Node, *, author: Author | None = None) -> Node:
        """Take a node out of the trash, to where it was; folders that are gone are made again.

        :raises BadRequest: it is not in the trash.
        :raises Conflict: a file stands where a folder was.
        """
        if not node.trashed or node.id == TRASH_DIR:
            raise BadRequest("File or directory is not in the trash")
        author = author or self.author()
        place = self.mkdir_all(self._moves.restore_path(node), author=author).id
        more = {"restore_path": ..., "cozyMetadata": author.changed(node.stored.doc.get("cozyMetadata") or {})}

        def step() -> Node:
            home = self._moves.usable(place)
            name = self._moves.free_name(home, tree.restored_name(node.name))
            tree.check_depth(home.below(name))
            return node_of(self._commit(self._moves.moving(node, home, name, more), home)[0].new)

        return self._alone(step, node)

    def erase(self, node: Node) -> None:
        """Remove a node with all below and all versions, for good.

        :raises BadRequest: it is the root or the trash.
        :raises Conflict: it changed meanwhile.
        """
        if node.id in (ROOT_DIR, TRASH_DIR):
            raise BadRequest("The root and the trash cannot be removed")

        def step() -> Sequence[Node]:
            below, counts = self._subtree.nodes(node) if isinstance(node, Dir) else ((), ())
            doomed = [*below, node]
            if len(doomed) <= _AT_ONCE:
                self._erase(doomed, counts)
                return ()
            if not node.trashed:
                self._commit(self._moves.trashing(node, self.author(), None))
            return doomed

        self._erase_slowly([one.id for one in self._alone(step, node)])

    def clear_trash(self) -> None:
        """Remove all that is in the trash, for good."""
        self._erase_slowly([node.id for node in self._subtree.nodes(self.dir(TRASH_DIR))[0]])

    def _erase_slowly(self, ids: Sequence[str]) -> None:
        """Remove what is in the trash piece by piece, children first, so that other writers do not wait for all of it."""
        for start in range(0, len(ids), _AT_ONCE):
            with self._held():
                found = self.get_many(ids[start : start + _AT_ONCE])
                self._erase([node for node in found if node is not None and node.trashed])

    def _erase(self, nodes: Sequence[Node], counts: Sequence[RowCount] = ()) -> None:
        files = [node for node in nodes if isinstance(node, File)]
        versions = self.versions.of_many(files)
        gone: list[Node | Version] = [*nodes, *versions]
        doomed = [*(file.blob.key for file in files), *(version.blob.key for version in versions), *_pictures(files)]
        self._contents.commit([Write(one.stored.ref, rev=one.rev, deleted=True) for one in gone], while_counts=counts, doomed=doomed)

    # -- copies -----------------------------------------------------------------------------------------------------

    def copy(
        self,
        node: Node,
        parent: Dir,
        name: str,
        *,
        replaces: Node | None = None,
        deep: bool = True,
        fields: Mapping[str, Any] | None = None,
        author: Author | None = None,
    ) -> Node:
        """Copy a file, or a folder with all below (`deep`), in one commit; references and versions stay with the original.

        :param replaces: what stands there and goes to the trash in the same commit.
        :param fields: members of the copy that differ.
        :raises Conflict: the name is taken. QuotaExceeded: there is no room left.
        """
        by = author or self.author()

        def step() -> Node:
            made: list[str] = []
            edits = ContentEdits()
            try:
                home = self._moves.usable(parent.id)
                self._moves.check_free(home, tree.check_name(name), but=[replaces] if replaces is not None else ())
                self._room().check(self._copies.size(node, home, deep=deep))
                batch = self._copies.writes(node, home, name, (made, edits), by, deep=deep, fields=fields or {})
                clearing = self._clearing(replaces, by)
                while_at = [(home.stored.ref, home.rev)]
                writes, limits = [*clearing.writes, *batch], self._limits()
                changed = self._contents.commit(writes, while_at=while_at, while_counts=clearing.counts, while_totals=limits, edits=edits)
                return node_of(changed[len(clearing.writes)].new)
            except BaseException:
                self._contents.drop(made)
                raise

        return self._alone(step, replaces)

    def free_name(self, home: Dir, name: str) -> str:
        """This name, or one with a number that nothing in the folder has."""
        free, number = name, 1
        while self.find(home, free) is not None:
            number += 1
            free = tree.numbered_name(name, number)
        return free

    # -- well-known folders -----------------------------------------------------------------------------------------

    def seed(self, locale: str, *, administrative: bool = True, photos: bool = True) -> None:
        """Make the root, the trash and the first folders of a new instance.

        :param administrative: whether there is a folder for papers; without it the root stands for it.
        :param photos: whether there is a folder for photos.
        """
        self._docs.commit(seeds.roots(write_time(self._now()), papers=not administrative))
        home = self.dir(ROOT_DIR)
        for name, fields in seeds.folders(locale, administrative=administrative, photos=photos):
            self.mkdir(home, name, fields=fields)

    def shared_drives(self) -> Dir:
        """The folder of shared drives, made where it is missing."""
        try:
            return self.dir(seeds.SHARED_DRIVES)
        except NotFound:
            home = self.dir(ROOT_DIR)
        return self.mkdir(home, self._moves.free_name(home, seeds.SHARED_DRIVES_NAME), id=seeds.SHARED_DRIVES)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _room(self, freed: Callable[[], int] = lambda: 0) -> Room:
        """How much is left; nothing is counted where there is no quota."""
        return Room(*self.usage(), freed=freed()) if self._quota() is not None else Room(0, None)

    def _limits(self) -> Sequence[TotalLimit]:
        """What a commit that brings bytes must not exceed: new files take no lock, so the room that was looked at may have gone."""
        quota = self._quota()
        return [] if quota is None else [(USAGES, quota)]

    def _held(self) -> AbstractContextManager[Lock]:
        return self._locks.hold(lock_name(self._area), wait=30)

    def _alone(self, step: Callable[[], T], *nodes: Node | None) -> T:
        """Do a change under the lock. One of a whole tree has uploads wait, and is done again when some were on their way into it.

        :raises Conflict: something changed meanwhile, again and again.
        """
        with self._held():
            if not any(isinstance(node, Dir) for node in nodes):
                return step()
            with self._locks.hold(self._moving, wait=30):
                for _ in range(TRIES):
                    with suppress(Counted):
                        return step()
                return step()


def _pictures(files: Sequence[File]) -> list[str]:
    """The keys of the thumbnails that may be there of some files."""
    return [key for file in files if file.stored.doc.get("class") in PICTURED for key in keys_of(file.id)]


def _file(node: Node) -> File:
    if not isinstance(node, File):
        raise NotFound(NOT_FOUND)
    return node
