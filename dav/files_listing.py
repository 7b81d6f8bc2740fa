"""PROPFIND of folders and files, depth 0 and 1, written from the rows (RFC 4918, section 9.1; RFC 4331)."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from cozyd.files import Dir, File, Files, Node
from cozyd.files.tree import read_time
from dav import xml
from dav.access import XML, StartResponse, answer

_D, _OC = "{DAV:}", "{http://owncloud.org/ns}"
_LOCKS = (
    "<D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
    "<D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
)
Extra = Callable[[str, Sequence[str] | None], Mapping[str, str]]
"""Path, names (None: all) -> properties that are not ours: dead ones, active locks; as element content."""
Entry = tuple[str, bool, str, str, Mapping[str, Any]]
"""Path, folder?, name, revision, row value."""


@lru_cache(maxsize=1024)
def _date(text: str | None) -> str:
    return format_datetime(read_time(text).astimezone(UTC), usegmt=True) if text else ""


def _created(value: Mapping[str, Any]) -> str:
    text = str(value.get("created") or value.get("mtime") or "")
    return read_time(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if text else ""


def _checksum(value: Mapping[str, Any]) -> str:
    digest = value.get("md5")
    return f"<oc:checksum>MD5:{base64.b64decode(digest).hex()}</oc:checksum>" if digest else ""


_FILE: Mapping[str, Callable[[Entry], str]] = {
    f"{_D}getcontentlength": lambda entry: str(entry[4]["size"]),
    f"{_D}getcontenttype": lambda entry: escape(str(entry[4].get("mime") or "application/octet-stream")),
    f"{_OC}checksums": lambda entry: _checksum(entry[4]),
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
_NOT_IN_ALL = frozenset((f"{_OC}checksums", *_QUOTA))


def propfind(
    files: Files, node: Node, path: str, depth: str, tree: Element | None, prefix: str, extra: Extra, start_response: StartResponse
) -> Iterable[bytes]:
    """The properties of a node, and with depth 1 of its children.

    :param path: below the mount, `/` at its root.
    :param prefix: the mount's own path.
    """
    names = xml.asked(tree)
    only_names = tree is not None and tree.find(f"{_D}propname") is not None
    writer = _Writer(files, names, only_names, prefix, extra)
    responses = [writer.response(_entry(node, path))]
    if depth == "1" and isinstance(node, Dir):
        base = path.rstrip("/")
        for row in files.rows(node):
            name = row.key[2]
            responses.append(writer.response((f"{base}/{name}", row.key[1] == "directory", name, row.rev, row.value)))
    return answer(start_response, 207, [("Content-Type", XML)], xml.multistatus(responses))


def refuse_infinity(start_response: StartResponse) -> Iterable[bytes]:
    """A whole tree at once is not answered (RFC 4918, section 9.1)."""
    body = b'<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>'
    return answer(start_response, 403, [("Content-Type", XML)], body)


def _entry(node: Node, path: str) -> Entry:
    doc = node.stored.doc
    value: dict[str, Any] = {"mtime": doc.get("updated_at"), "created": doc.get("created_at")}
    if isinstance(node, File):
        value |= {"size": node.blob.size, "mime": node.mime, "md5": node.blob.md5}
    return path, isinstance(node, Dir), node.name, node.rev, value


class _Writer:
    """Writes responses for one set of asked names."""

    def __init__(self, files: Files, names: Sequence[str] | None, only_names: bool, prefix: str, extra: Extra) -> None:
        self._files = files
        self._names = names
        self._only_names = only_names
        self._prefix = prefix
        self._extra = extra
        asked = names if names is not None else [name for name in (*_BOTH, *_FILE) if name not in _NOT_IN_ALL]
        self._asked = list(dict.fromkeys(asked))
        ours = _BOTH.keys() | _FILE.keys() | set(_QUOTA)
        self._of_folder = [(name, _BOTH.get(name)) for name in self._asked]
        self._of_file = [(name, _BOTH.get(name) or _FILE.get(name)) for name in self._asked]
        self._foreign = names is None or any(name not in ours for name in self._asked)
        self._quota = self._read_quota() if any(name in _QUOTA for name in self._asked) else {}

    def response(self, entry: Entry) -> str:
        """One entry's response."""
        path, is_folder, *_ = entry
        found, missing = [], []
        foreign = self._extra(path, self._names) if self._foreign else {}
        for name, write in self._of_folder if is_folder else self._of_file:
            if write is not None:
                found.append(xml.element(name, "" if self._only_names else write(entry)))
            elif is_folder and name in self._quota:
                found.append(xml.element(name, self._quota[name]))
            elif name not in foreign and self._names is not None:
                missing.append(name)
        found += [xml.element(name, "" if self._only_names else content) for name, content in foreign.items()]
        address = self._prefix + path.rstrip("/") + ("/" if is_folder else "")
        return xml.response(address, "".join(found), missing)

    def _read_quota(self) -> Mapping[str, str]:
        used, quota = self._files.usage()
        left = {_QUOTA[1]: str(max(0, quota - used))} if quota is not None else {}
        return {_QUOTA[0]: str(used)} | left
