"""WsgiDAV's provider over `instance.files`: every change is one call of the room (one commit), native recursion."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from wsgidav.dav_error import DAVError
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider
from wsgidav.xml_tools import etree

from cozyd.errors import Conflict, CozyError, Invalid, NotFound, QuotaExceeded
from cozyd.files import Dir, File, Files, Node
from cozyd.files.tree import check_name, guess_mime, read_time, write_time
from dav.access import Environ, Visit
from dav.files_listing import Extra

_LOCKDISCOVERY = "{DAV:}lockdiscovery"


def _as_dav_error(error: CozyError) -> DAVError:
    """A domain error with the status a WebDAV client expects."""
    status = 507 if isinstance(error, QuotaExceeded) else 400 if isinstance(error, Invalid) else error.status
    return DAVError(status, error.detail)


class FilesProvider(DAVProvider):
    """Finds nodes by path; each request brings its tenant's files in the environ."""

    def get_resource_inst(self, path: str, environ: Environ) -> "Folder | Document | None":
        """The resource of a path, None when there is none."""
        known: dict[str, Any] = environ.setdefault("cozyd.nodes", {})
        if path not in known:
            known[path] = self._find(path, environ)
        found: Folder | Document | None = known[path]
        return found

    def ref_url_to_path(self, ref_url: str) -> str:
        """Undo `get_ref_url`: the tenant comes first."""
        return "/" + unquote(ref_url).lstrip("/").partition("/")[2]

    def _find(self, path: str, environ: Environ) -> "Folder | Document | None":
        files: Files = environ["cozyd.files"]
        try:
            node = files.at(path)
        except NotFound:
            return None
        except CozyError as error:
            raise _as_dav_error(error) from error
        if isinstance(node, Dir):
            return Folder(path, environ, node)
        return Document(path, environ, node)


class _Common:
    """What folders and files share."""

    path: str
    environ: Environ
    node: Node | None
    provider: Any

    @property
    def files(self) -> Files:
        """The tenant's files."""
        files: Files = self.environ["cozyd.files"]
        return files

    def get_ref_url(self) -> str:
        """What locks and properties are kept by: the tenant is part of it."""
        return f"/{self.environ['cozyd.domain']}{super().get_ref_url()}"  # type: ignore[misc]

    def get_creation_date(self) -> float:
        """Seconds since the epoch."""
        return _seconds(self.node, "created_at")

    def get_last_modified(self) -> float:
        """Seconds since the epoch."""
        return _seconds(self.node, "updated_at")

    def get_display_name(self) -> str:
        """Its name."""
        return self.node.name if self.node is not None else ""

    def get_etag(self) -> str:
        """The revision, without quotes."""
        return self.node.rev if self.node is not None else ""

    def get_property_value(self, name: str) -> Any:
        """As WsgiDAV's, the ETag with its quotes."""
        if name == "{DAV:}getetag":
            return f'"{self.get_etag()}"'
        return super().get_property_value(name)  # type: ignore[misc]

    def support_etag(self) -> bool:
        """It has one."""
        return True

    def set_last_modified(self, dest_path: str, time_stamp: float, dry_run: bool) -> bool:  # noqa: ARG002
        """Set the time of the last change."""
        if not dry_run and self.node is not None:
            moment = datetime.fromtimestamp(float(time_stamp), UTC)
            self.node = self._done(lambda: self.files.patch(self._here(), updated_at=write_time(moment)))
        return True

    def handle_delete(self) -> bool:
        """To the trash, with all below: one commit. A lock below refuses it."""
        self._check_locks_below()
        self._done(lambda: self.files.trash(self._here()))
        return True

    def handle_move(self, dest_path: str) -> bool:
        """Rename or move, what stands there goes to the trash: one commit."""
        home, name, there = self._target(dest_path)
        self._done(lambda: self.files.patch(self._here(), name=name, dir_id=home.id, replaces=there))
        self._carry_properties(dest_path, is_move=True)
        self.environ["cozyd.outcome"]["created"] = there is None
        return True

    def handle_copy(self, dest_path: str, *, depth_infinity: bool) -> bool:
        """Copy, what stands there goes to the trash: one commit."""
        home, name, there = self._target(dest_path)
        self._done(lambda: self.files.copy(self._here(), home, name, replaces=there, deep=depth_infinity))
        self._carry_properties(dest_path, is_move=False)
        self.environ["cozyd.outcome"]["created"] = there is None
        return True

    def _carry_properties(self, dest_path: str, *, is_move: bool) -> None:
        """Dead properties go along."""
        manager = self.provider.prop_manager
        there = f"/{self.environ['cozyd.domain']}{_quoted(dest_path)}"
        if manager is None:
            return
        if is_move:
            manager.move_properties(self.get_ref_url(), there, with_children=True)
        else:
            manager.copy_properties(self.get_ref_url(), there)

    def _here(self) -> Node:
        assert self.node is not None
        return self.node

    def _target(self, dest_path: str) -> tuple[Dir, str, Node | None]:
        parent, _, name = dest_path.rstrip("/").rpartition("/")
        try:
            home = self.files.at(parent or "/")
            if not isinstance(home, Dir):
                raise DAVError(409, "The parent is a file")
            return home, check_name(name), self.files.find(home, name)
        except CozyError as error:
            raise _as_dav_error(error) from error

    def _check_locks_below(self) -> None:
        manager = self.provider.lock_manager
        if manager is not None:
            tokens = self.environ.get("wsgidav.ifLockTokenList", [])
            manager.check_write_permission(
                url=self.get_ref_url(), depth="infinity", token_list=tokens, principal=self.environ["wsgidav.user_name"]
            )

    @staticmethod
    def _done(step: Any) -> Any:
        try:
            return step()
        except CozyError as error:
            raise _as_dav_error(error) from error


class Folder(_Common, DAVCollection):
    """A folder."""

    def __init__(self, path: str, environ: Environ, node: Dir) -> None:
        DAVCollection.__init__(self, path, environ)
        self.node = node

    def get_member_names(self) -> Sequence[str]:
        """Names of the children."""
        assert isinstance(self.node, Dir)
        return [row.key[2] for row in self.files.rows(self.node)]

    def get_member(self, name: str) -> Any:
        """A child."""
        return self.provider.get_resource_inst(self.path.rstrip("/") + "/" + name, self.environ)

    def create_empty_resource(self, name: str) -> "Document":
        """A file to be written; it is there only when its content is. A lock on a new name makes an empty one."""
        assert isinstance(self.node, Dir)
        made = Document(self.path.rstrip("/") + "/" + name, self.environ, None, home=self.node)
        self._done(lambda: check_name(name))
        self.environ["cozyd.nodes"].clear()
        if self.environ["REQUEST_METHOD"] == "LOCK":
            made.end_write(with_errors=False)
        return made

    def create_collection(self, name: str) -> None:
        """Make a folder."""
        home = self.node
        assert isinstance(home, Dir)
        self.environ["cozyd.nodes"].clear()
        self._done(lambda: self.files.mkdir(home, name))


class _Sink:
    """WsgiDAV hands over the body here; it is taken whole in `end_write`, from where the server put it."""

    def writelines(self, stream: Iterable[bytes]) -> None:
        """Leave the stream as it is."""

    def close(self) -> None:
        """Nothing was opened."""


class Document(_Common, DAVNonCollection):
    """A file, or the name of one to be written.

    :param home: the folder of a new one.
    """

    def __init__(self, path: str, environ: Environ, node: File | None, *, home: Dir | None = None) -> None:
        DAVNonCollection.__init__(self, path, environ)
        self.node = node
        self._home = home

    def get_content_length(self) -> int:
        """Bytes."""
        return self.node.blob.size if isinstance(self.node, File) else 0

    def get_content_type(self) -> str:
        """Media type."""
        return self.node.mime if isinstance(self.node, File) else "application/octet-stream"

    def support_ranges(self) -> bool:
        """GET is not WsgiDAV's here."""
        return False

    def get_content(self) -> Any:
        """The content as a stream."""
        assert isinstance(self.node, File)
        return self.files.read(self.node)

    def begin_write(self, *, content_type: str | None = None) -> _Sink:  # noqa: ARG002
        """See `_Sink`."""
        return _Sink()

    def end_write(self, *, with_errors: bool) -> None:
        """Take the body as the content: sealed first, then named by one commit."""
        if not with_errors:
            self.node = self._done(self._receive)
            self.environ["wsgidav.all_input_read"] = 1

    def _receive(self) -> File:
        environ, old = self.environ, self.node if isinstance(self.node, File) else None
        length = environ.get("CONTENT_LENGTH") or ""
        with self.files.new(size=int(length) if length.isdigit() else None, replaces=old) as upload:
            if environ["REQUEST_METHOD"] == "PUT":
                upload.fill(environ["wsgi.input"])
            blob = upload.seal()
        name = self.path.rstrip("/").rpartition("/")[2]
        home = self._home or self.files.dir(self._here().parent)
        fields: dict[str, Any] = {"mime": _mime(environ, name), **_times(environ)}
        if old is not None:
            kept = ("tags", "executable", "metadata", "cozyMetadata")
            fields |= {key: old.stored.doc[key] for key in kept if key in old.stored.doc}
        return self.files.put(home, old.name if old is not None else name, blob, replaces=old, fields=fields)


def _mime(environ: Environ, name: str) -> str:
    given: str = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    guessed = guess_mime(name)
    generic = ("", "application/octet-stream", "application/x-www-form-urlencoded")
    return guessed if given in generic or "/" not in given else given


def _times(environ: Environ) -> Mapping[str, str]:
    """X-OC-Mtime: the client's time of the last change."""
    text = environ.get("HTTP_X_OC_MTIME", "")
    try:
        return {"updated_at": write_time(datetime.fromtimestamp(float(text), UTC))} if text else {}
    except (ValueError, OverflowError, OSError):
        raise Conflict("X-OC-Mtime is no time") from None


def _seconds(node: Node | None, name: str) -> float:
    return read_time(str(node.stored.doc.get(name, ""))).timestamp() if node is not None else 0.0


def extra_properties(provider: FilesProvider, visit: Visit, environ: Environ) -> Extra:
    """Dead properties and active locks, as WsgiDAV keeps them: for our own PROPFIND.

    :param environ: of the request.
    """

    def find(path: str, names: Sequence[str] | None) -> Mapping[str, str]:
        manager = getattr(provider, "prop_manager", None)
        base = f"/{visit.instance.domain}"
        found: dict[str, str] = {}
        for ref in (base + _quoted(path), base + _quoted(path) + "/"):
            if manager is None:
                break
            known = (
                manager.get_properties(ref) if names is None else [name for name in names if manager.get_property(ref, name) is not None]
            )
            found |= {name: _content(manager.get_property(ref, name)) for name in known}
        if names is None or _LOCKDISCOVERY in names:
            found[_LOCKDISCOVERY] = "".join(_locks(provider, base + _quoted(path), environ))
        return found

    return find


def _quoted(path: str) -> str:
    return quote(path, safe="/!*'(),$-_|.~")


def _content(value: Any) -> str:
    """A dead property's content as XML."""
    if not value:
        return ""
    value = etree.fromstring(value)
    inner: str = escape(value.text or "") + "".join(etree.tostring(child, encoding="unicode") for child in value)
    return inner


def _locks(provider: FilesProvider, ref: str, _environ: Environ) -> Iterator[str]:
    manager = getattr(provider, "lock_manager", None)
    if manager is None:
        return
    for lock in manager.get_url_lock_list(ref) or ():
        yield (
            f"<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{lock['scope']}/></D:lockscope>"
            f"<D:depth>{lock['depth']}</D:depth><D:timeout>Second-{int(lock['timeout'])}</D:timeout>"
            f"{_owner(lock)}<D:locktoken><D:href>{escape(lock['token'])}</D:href></D:locktoken></D:activelock>"
        )


def _owner(lock: Mapping[str, Any]) -> str:
    """Who has said to hold a lock."""
    given = lock.get("owner")
    return f"<D:owner>{_content(given)}</D:owner>" if isinstance(given, bytes | str) and given else ""
