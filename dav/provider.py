"""WsgiDAV's provider over `instance.files`: what comes and goes by name. Each change is one call of the room (one commit).

Conditions and locks were looked at before WsgiDAV is asked; contents, properties and locks are not its business here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, BinaryIO, TypeVar

from wsgidav.dav_error import DAVError
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider

from cozyd.errors import CozyError, Invalid, QuotaExceeded
from cozyd.files import Dir, File, Node
from cozyd.files.tree import check_name
from dav.access import Environ
from dav.call import Call, mtime_of, tag_of

TO, TO_PARENT = "/destination/name", "/destination"
"""What stands for the destination: WsgiDAV would take a `?` in its name for a query."""

T = TypeVar("T")


def done(step: Callable[[], T]) -> T:
    """What a step answers, a domain error with the status a WebDAV client expects."""
    try:
        return step()
    except CozyError as error:
        status = 507 if isinstance(error, QuotaExceeded) else 400 if isinstance(error, Invalid) else error.status
        raise DAVError(status, error.detail) from error


class FilesProvider(DAVProvider):
    """Finds nodes by path; each request brings its `Call` in the environ."""

    def get_resource_inst(self, path: str, environ: Environ) -> "Folder | Document | None":
        """The resource of a path, None when there is none."""
        call: Call = environ["cozyd.call"]
        real = path.rstrip("/") or "/"
        if call.method in ("COPY", "MOVE") and real in (TO, TO_PARENT):
            real = call.destination if real == TO else call.destination.rpartition("/")[0] or "/"
        known: dict[str, Any] = environ.setdefault("cozyd.nodes", {})
        if real not in known:
            known[real] = done(lambda: call.find(real))
        node: Node | None = known[real]
        if node is None:
            return None
        return Folder(path, environ, node) if isinstance(node, Dir) else Document(path, environ, node)


class _Common:
    """What folders and files share."""

    environ: Environ
    node: Node

    @property
    def call(self) -> Call:
        """The request."""
        call: Call = self.environ["cozyd.call"]
        return call

    def get_last_modified(self) -> float:
        """Seconds since the epoch."""
        moment = mtime_of(self.node)
        assert isinstance(moment, datetime)
        return moment.timestamp()

    def get_etag(self) -> str:
        """The revision, without quotes."""
        return tag_of(self.node).strip('"')

    def support_etag(self) -> bool:
        """It has one."""
        return True

    def handle_delete(self) -> bool:
        """To the trash, with all below: one commit."""
        done(lambda: self.call.files.trash(self.node))
        return True

    def handle_move(self, _dest_path: str) -> bool:
        """Rename or move, what stands there goes to the trash: one commit."""
        home, name, there = self._target()
        done(lambda: self.call.files.patch(self.node, name=name, dir_id=home.id, replaces=there))
        return True

    def handle_copy(self, _dest_path: str, *, depth_infinity: bool) -> bool:
        """Copy, what stands there goes to the trash: one commit."""
        home, name, there = self._target()
        done(lambda: self.call.files.copy(self.node, home, name, replaces=there, deep=depth_infinity))
        return True

    def _target(self) -> tuple[Dir, str, Node | None]:
        home, name = done(lambda: self.call.home(self.call.destination))
        there = done(lambda: self.call.files.find(home, check_name(name)))
        self.environ["cozyd.outcome"]["created"] = there is None
        return home, name, there


class Folder(_Common, DAVCollection):
    """A folder."""

    def __init__(self, path: str, environ: Environ, node: Dir) -> None:
        DAVCollection.__init__(self, path, environ)
        self.node = node

    def get_member_names(self) -> Sequence[str]:
        """Names of the children."""
        assert isinstance(self.node, Dir)
        return [row.key[2] for row in self.call.files.rows(self.node)]

    def create_collection(self, name: str) -> None:
        """Make a folder."""
        home = self.node
        assert isinstance(home, Dir)
        done(lambda: self.call.files.mkdir(home, name))


class Document(_Common, DAVNonCollection):
    """A file."""

    def __init__(self, path: str, environ: Environ, node: File) -> None:
        DAVNonCollection.__init__(self, path, environ)
        self.node = node

    def get_content_length(self) -> int:
        """Bytes."""
        assert isinstance(self.node, File)
        return self.node.blob.size

    def get_content(self) -> BinaryIO:
        """The content as a stream; downloads are not WsgiDAV's here."""
        assert isinstance(self.node, File)
        return self.call.files.read(self.node)
