"""PROPFIND of the few folders above the DAV mounts: people paste the bare address into their file manager (RFC 4918, RFC 5397)."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from cozyd.errors import BadRequest

PRINCIPAL = "/sync/dav/me/"
_PRINCIPAL = f"<D:href>{PRINCIPAL}</D:href>"
_READ = "<D:privilege><D:read/></D:privilege>"
_SHARED: Mapping[str, str] = {
    "resourcetype": "<D:collection/>",
    "current-user-principal": _PRINCIPAL,
    "principal-URL": _PRINCIPAL,
    "principal-collection-set": "<D:href>/sync/dav/</D:href>",
    "current-user-privilege-set": _READ,
    "supportedlock": "",
}


class _Names:
    """Collects the names of the properties a body asks for; no tree is built, whatever its depth."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._path: list[str] = []

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        """An element begins."""
        if len(self._path) == 2 and self._path == ["{DAV:}propfind", "{DAV:}prop"]:
            self.names.append(tag)
        self._path.append(tag)

    def end(self, _tag: str) -> None:
        """An element ends."""
        self._path.pop()

    def data(self, _text: str) -> None:
        """Text says nothing here."""

    def close(self) -> list[str]:
        """What was collected."""
        return self.names


def asked_names(body: bytes) -> Sequence[str]:
    """The properties a PROPFIND asks for, as `{namespace}name`; none: all.

    :raises BadRequest: malformed XML, or with a DTD.
    """
    if not body.strip():
        return ()
    parser: Any = DefusedXMLParser(target=_Names(), forbid_dtd=True)
    try:
        parser.feed(body)
        names: list[str] = parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as cause:
        raise BadRequest("The XML is malformed") from cause
    return names


def multistatus(folders: Mapping[str, str], asked: Sequence[str]) -> bytes:
    """The answer for some folders.

    :param folders: path -> display name.
    :param asked: as `asked_names` gives them.
    """
    shown = "".join(_response(path, {**_SHARED, "displayname": escape(name)}, asked) for path, name in folders.items())
    return f'<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">{shown}</D:multistatus>'.encode()


def _response(path: str, known: Mapping[str, str], asked: Sequence[str]) -> str:
    wanted = [(name, name.removeprefix("{DAV:}")) for name in dict.fromkeys(asked)] or [("", name) for name in known]
    found = "".join(f"<D:{name}>{known[name]}</D:{name}>" for _, name in wanted if name in known)
    missing = "".join(_empty(full) for full, name in wanted if name not in known)
    parts = [_propstat(found, "200 OK")] if found or not missing else []
    if missing:
        parts.append(_propstat(missing, "404 Not Found"))
    return f"<D:response><D:href>{path}</D:href>{''.join(parts)}</D:response>"


def _propstat(props: str, status: str) -> str:
    return f"<D:propstat><D:prop>{props}</D:prop><D:status>HTTP/1.1 {status}</D:status></D:propstat>"


def _empty(name: str) -> str:
    namespace, _, local = name.removeprefix("{").rpartition("}")
    attribute = escape(namespace, {'"': "&quot;"})
    return f'<{local} xmlns="{attribute}"/>'
