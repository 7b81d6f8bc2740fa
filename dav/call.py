"""One WebDAV request for files: who asks, about which path, on which conditions."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from xml.etree.ElementTree import Element

from cozyd.errors import BadGateway, BadRequest, Conflict, Forbidden, NotFound, TooLarge
from cozyd.files import Dir, Files, Node
from cozyd.files.notes import Notes
from cozyd.files.tree import TRASH_NAME, File, read_time, same_name
from cozyd.locks import Lock
from cozyd.permissions import FILES, Action
from dav import conditions, xml
from dav.access import Environ, StartResponse, Visit
from dav.address import here
from dav.conditions import ConditionList, State
from dav.locks import LockBook

LARGEST_XML = 1 << 20


@dataclass
class Call:
    """A request.

    :param path: below the mount, `/` at its root, without a slash at the end.
    """

    visit: Visit
    path: str
    environ: Environ
    start_response: StartResponse

    @property
    def method(self) -> str:
        """The request's method."""
        return str(self.environ["REQUEST_METHOD"])

    @property
    def files(self) -> Files:
        """The tenant's files."""
        return self.visit.instance.files

    @property
    def notes(self) -> Notes:
        """What clients keep with her files."""
        return Notes(self.visit.instance.docs)

    @property
    def prefix(self) -> str:
        """The mount's own path."""
        return str(self.environ["SCRIPT_NAME"])

    @property
    def holder(self) -> str:
        """Whose locks are this request's: the device's."""
        return self.visit.principal.id or self.visit.principal.kind

    def header(self, name: str) -> str:
        """A header's value, empty when it is not there."""
        return str(self.environ.get("HTTP_" + name.upper().replace("-", "_"), ""))

    def allow(self, action: Action) -> None:
        """:raises Forbidden: the visitor may not do this to files."""
        if not self.visit.may(action, FILES):
            raise Forbidden("This password may not do it", source="need-privileges")

    def tree(self) -> Element | None:
        """The body as XML, None of an empty one.

        :raises TooLarge: it is longer than any request of a client. BadRequest: it is malformed.
        """
        length = str(self.environ.get("CONTENT_LENGTH") or "0")
        if length.isascii() and length.isdigit() and int(length) > LARGEST_XML:
            raise TooLarge("The XML is too long")
        return xml.parse(xml.read_body(self.environ))

    def alone(self) -> AbstractContextManager[Lock]:
        """While it is held no other WebDAV request of the tenant writes, in no process: what was checked still holds."""
        self.__dict__.pop("book", None)
        return self.visit.instance.hold("webdav")

    # -- what is there ----------------------------------------------------------------------------------------------

    def find(self, path: str) -> Node | None:
        """What stands at a path."""
        try:
            return self.files.at(path)
        except NotFound:
            return None

    def home(self, path: str) -> tuple[Dir, str]:
        """The folder that a path is in, and the name in it.

        :raises Conflict: there is no such folder (RFC 4918, section 9.7.1).
        """
        parent, name = split(path)
        found = self.find(parent)
        if not isinstance(found, Dir):
            raise Conflict("There is no folder above it")
        return found, name

    @cached_property
    def destination(self) -> str:
        """The path that COPY or MOVE leads to.

        :raises BadRequest: none is named. BadGateway: it is not ours. Forbidden: it is in the trash.
        """
        text = self.header("Destination")
        if not text:
            raise BadRequest("The Destination header is missing")
        path = self.local(text)
        if path is None:
            raise BadGateway("The destination is not on this server")
        try:
            return checked_path(path)
        except NotFound:
            raise Forbidden("Nothing can be put into the trash like this") from None

    def local(self, address: str) -> str | None:
        """The path below this mount of an address or absolute path; None: it is elsewhere."""
        path = here(address, self.environ, self.visit.instance.doc)
        if path is None:
            return None
        if path != self.prefix and not path.startswith(self.prefix + "/"):
            return None
        return path.removeprefix(self.prefix)

    # -- conditions and locks ---------------------------------------------------------------------------------------

    @cached_property
    def book(self) -> LockBook:
        """The tenant's locks."""
        return LockBook(self.visit.instance.docs, self.visit.instance.now, lambda path: self.find(path) is not None)

    @cached_property
    def if_lists(self) -> tuple[ConditionList, ...]:
        """The If header."""
        return tuple(conditions.parse_if(self.header("If")))

    @cached_property
    def tokens(self) -> frozenset[str]:
        """The lock tokens that were submitted."""
        return conditions.submitted(self.if_lists)

    def check_conditions(self) -> None:
        """:raises PreconditionFailed: a condition of the request does not hold."""
        if self.if_lists:
            conditions.check_if(self.if_lists, self._state)
        if any(name in self.environ for name in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_UNMODIFIED_SINCE")):
            node = self.find(self.path)
            conditions.check_http(self.environ, tag_of(node), mtime_of(node))

    def _state(self, url: str) -> State:
        path = self.local(url) if url else self.path
        if path is None:
            return State("", frozenset())
        path = same_name("/" + path.strip("/"))
        return State(tag_of(self.find(path)), frozenset(lock.token for lock in self.book.covering(path)))

    def check_locks(self, path: str, *, deep: bool = False, member: bool = False) -> None:
        """Whether locks let a path be written.

        :param deep: all below it too.
        :param member: its name comes or goes, which changes the folder above.
        :raises InTheWay: one does not.
        """
        path = same_name(path)
        self.book.check(path, self.holder, self.tokens, deep=deep)
        if member:
            self.book.check(split(path)[0], self.holder, self.tokens)


def checked_path(path: str) -> str:
    """A path below the root; the trash is not there for WebDAV.

    :raises BadRequest: it climbs, or has a NUL.
    :raises NotFound: it leads into the trash.
    """
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise BadRequest("The path climbs")
    if parts and parts[0] == TRASH_NAME:
        raise NotFound("file does not exist")
    return "/" + "/".join(parts)


def split(path: str) -> tuple[str, str]:
    """The path above, and the last name."""
    parent, _, name = path.rpartition("/")
    return parent or "/", name


def tag_of(node: Node | None) -> str:
    """The ETag in quotes, empty of nothing."""
    return f'"{node.rev}"' if node is not None else ""


def mtime_of(node: Node | None) -> datetime | None:
    """When it changed last."""
    if node is None:
        return None
    return node.mtime if isinstance(node, File) else read_time(str(node.stored.doc.get("updated_at", "")))
