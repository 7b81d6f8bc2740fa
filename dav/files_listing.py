"""PROPFIND of folders and files, depth 0 and 1, written from the rows (RFC 4918, section 9.1; RFC 4331).

Documents are read only of what has dead properties, and only when they are asked for.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from cozyd.errors import BadRequest
from cozyd.files import Dir, File, Node
from cozyd.files.tree import read_time, same_name
from dav import xml
from dav.access import XML, answer
from dav.call import Call
from dav.conditions import depth_of
from dav.proppatch import EXECUTABLE

_D, _OC = "{DAV:}", "{http://owncloud.org/ns}"
_LOCKS = (
    "<D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
    "<D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
)
_LOCKDISCOVERY = f"{_D}lockdiscovery"
Notes = Mapping[str, str]
"""Dead property -> its element's XML."""
_NO_NOTES: Notes = {}
Entry = tuple[str, bool, str, str, Mapping[str, Any]]
"""Path, folder?, name, revision, row value."""


_UTC = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")
"""Times as the server writes them: most of them, and soon told."""


@lru_cache(maxsize=1024)
def _day(text: str) -> str:
    return format_datetime(read_time(text).astimezone(UTC), usegmt=True)[:17]


def _date(text: str | None) -> str:
    if not text:
        return ""
    found = _UTC.fullmatch(text)
    if found is None:
        return format_datetime(read_time(text).astimezone(UTC), usegmt=True)
    return f"{_day(found[1])}{found[2]} GMT"


def _created(value: Mapping[str, Any]) -> str:
    text = str(value.get("created") or value.get("mtime") or "")
    if not text:
        return ""
    found = _UTC.fullmatch(text)
    return f"{found[1]}T{found[2]}Z" if found else read_time(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _checksum(value: Mapping[str, Any]) -> str:
    digest = value.get("md5")
    return f"<oc:checksum>MD5:{base64.b64decode(digest).hex()}</oc:checksum>" if digest else ""


_FILE: Mapping[str, Callable[[Entry], str]] = {
    f"{_D}getcontentlength": lambda entry: str(entry[4]["size"]),
    f"{_D}getcontenttype": lambda entry: escape(str(entry[4].get("mime") or "application/octet-stream")),
    f"{_OC}checksums": lambda entry: _checksum(entry[4]),
    EXECUTABLE: lambda entry: "T" if entry[4].get("executable") else "F",
}
_BOTH: Mapping[str, Callable[[Entry], str]] = {
    f"{_D}displayname": lambda entry: escape(entry[2]),
    f"{_D}getlastmodified": lambda entry: _date(entry[4].get("mtime")),
    f"{_D}creationdate": lambda entry: _created(entry[4]),
    f"{_D}getetag": lambda entry: f"&quot;{entry[3]}&quot;",
    f"{_D}resourcetype": lambda entry: "<D:collection/>" if entry[1] else "",
    f"{_D}supportedlock": lambda _: _LOCKS,
}
_QUOTA = (f"{_D}quota-used-bytes", f"{_D}quota-available-bytes")
_NOT_IN_ALL = frozenset((f"{_OC}checksums", EXECUTABLE, *_QUOTA))


def propfind(call: Call) -> Iterable[bytes]:
    """Answer a PROPFIND.

    :raises BadRequest: the body is none, or the Depth.
    """
    tree = call.tree()
    if tree is not None and tree.tag != f"{_D}propfind":
        raise BadRequest("The body has to be a propfind")
    if tree is not None and all(tree.find(f"{_D}{name}") is None for name in ("prop", "propname", "allprop")):
        raise BadRequest("A PROPFIND asks for properties")  # section A.2
    node = call.files.at(call.path)
    call.check_conditions()
    depth, without = depth_of(call.header("Depth"))
    if depth == "infinity" and isinstance(node, Dir):
        return _refuse_infinity(call)
    writer = _Writer(call, tree)
    responses = [] if without and isinstance(node, Dir) else [writer.response(_entry(node, call.path), call.notes.of(node))]
    if depth == "1" and isinstance(node, Dir):
        responses += _members(call, node, writer)
    return xml.answer_multistatus(call.start_response, responses)


def _members(call: Call, node: Dir, writer: "_Writer") -> Iterable[str]:
    base, rows = call.path.rstrip("/"), call.files.rows(node)
    noted = [row.ref.id for row in rows if row.value.get("notes")] if writer.asks_notes else []
    notes = call.notes.many(noted)
    for row in rows:
        name = row.key[2]
        entry = (f"{base}/{name}", row.key[1] == "directory", name, row.rev, row.value)
        yield writer.response(entry, notes.get(row.ref.id, _NO_NOTES))


def _refuse_infinity(call: Call) -> Iterable[bytes]:
    """A whole tree at once is not answered (RFC 4918, section 9.1)."""
    body = b'<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>'
    return answer(call.start_response, 403, [("Content-Type", XML)], body)


def _entry(node: Node, path: str) -> Entry:
    doc = node.stored.doc
    value: dict[str, Any] = {"mtime": doc.get("updated_at"), "created": doc.get("created_at")}
    if isinstance(node, File):
        value |= {"size": node.blob.size, "mime": node.mime, "md5": node.blob.md5, "executable": node.executable}
    return path, isinstance(node, Dir), node.name, node.rev, value


class _Writer:
    """Writes responses for one set of asked names."""

    def __init__(self, call: Call, tree: Element | None) -> None:
        self._call = call
        self._only_names = tree is not None and tree.find(f"{_D}propname") is not None
        named = xml.asked(tree)
        self._all = named is None
        names = list(named) if named is not None else [name for name in (*_BOTH, *_FILE) if name not in _NOT_IN_ALL]
        if named is None:
            names += [_LOCKDISCOVERY, *xml.included(tree)]
        self._asked = list(dict.fromkeys(names))
        live = {**_BOTH, **_FILE}
        self._special = frozenset((_LOCKDISCOVERY, *_QUOTA))
        self._of_folder = [(name, _BOTH.get(name), *xml.tags(name)) for name in self._asked]
        self._of_file = [(name, live.get(name), *xml.tags(name)) for name in self._asked]
        self.asks_notes = self._all or any(name not in live and name not in self._special for name in self._asked)
        self._quota = self._read_quota() if any(name in _QUOTA for name in self._asked) else {}
        self._has_locks = _LOCKDISCOVERY in self._asked and bool(call.book.locks)

    def response(self, entry: Entry, notes: Notes) -> str:
        """One entry's response."""
        path, is_folder, *_ = entry
        found, missing = [], []
        for name, write, start, end, empty in self._of_folder if is_folder else self._of_file:
            content = write(entry) if write is not None else self._special_content(name, entry)
            if content is not None:
                found.append(f"{start}{content}{end}" if content and not self._only_names else empty)
            elif name in notes and not self._all:
                found.append(notes[name])
            elif not self._all:
                missing.append(name)
        if self._all:
            found += [xml.element(name) if self._only_names else text for name, text in notes.items()]
        address = self._call.prefix + path.rstrip("/") + ("/" if is_folder else "")
        return xml.response(address, "".join(found), missing)

    def _special_content(self, name: str, entry: Entry) -> str | None:
        """The content of a live property that no row has, None when the entry has none of this name."""
        if name == _LOCKDISCOVERY:
            return self._call.book.discovery(same_name(entry[0]), self._call.prefix) if self._has_locks else ""
        return self._quota.get(name) if entry[1] else None

    def _read_quota(self) -> Mapping[str, str]:
        used, quota = self._call.files.usage()
        left = {_QUOTA[1]: str(max(0, quota - used))} if quota is not None else {}
        return {_QUOTA[0]: str(used)} | left
