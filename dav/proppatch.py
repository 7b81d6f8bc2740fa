"""PROPPATCH of folders and files (RFC 4918, section 9.2): all or nothing, in one commit.

What a client sets and the server has no use for (a dead property) is kept with the document as the XML of its element.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from cozyd.errors import BadRequest
from cozyd.files import Dir, File, Node
from cozyd.files.tree import write_time
from dav import xml
from dav.call import Call

_D = "{DAV:}"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
EXECUTABLE = "{http://apache.org/dav/props/}executable"
CHECKSUMS = "{http://owncloud.org/ns}checksums"
WIN32 = "{urn:schemas-microsoft-com:}"
_CHANGED = frozenset((f"{_D}getlastmodified", f"{_D}lastmodified", f"{WIN32}Win32LastModifiedTime"))
"""Set by clients that carry the time of a file over: Windows by its own name, rclone by the second."""
_OURS = (
    "creationdate displayname getcontentlength getcontenttype getetag lockdiscovery resourcetype supportedlock quota-used-bytes "
    "quota-available-bytes sync-token current-user-principal current-user-privilege-set owner acl group"
)
PROTECTED = frozenset(_D + name for name in _OURS.split()) | {
    CHECKSUMS,
    "{http://owncloud.org/ns}id",
    "{http://owncloud.org/ns}fileid",
    "{http://owncloud.org/ns}permissions",
    "{http://owncloud.org/ns}size",
}
"""What only the server sets."""


@dataclass
class Outcome:
    """What a PROPPATCH would change, and what of it cannot be.

    :param notes: dead property -> its element's XML, None removes it.
    :param fields: members of the document.
    :param refused: property -> status line.
    """

    names: list[str] = field(default_factory=list)
    notes: dict[str, str | None] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


_FORBIDDEN, _NOT_VALID, _DEPENDS, _DONE = "403 Forbidden", "409 Conflict", "424 Failed Dependency", "200 OK"


def proppatch(call: Call) -> Iterable[bytes]:
    """Answer a PROPPATCH."""
    tree = call.tree()
    if tree is None or tree.tag != f"{_D}propertyupdate":
        raise BadRequest("The body has to be a propertyupdate")
    with call.alone():
        node = call.files.at(call.path)
        call.check_conditions()
        call.check_locks(call.path)
        outcome = _judge(tree, node)
        if not outcome.refused:
            call.notes.put(node, outcome.notes, outcome.fields)
    address = call.prefix + call.path.rstrip("/") + ("/" if isinstance(node, Dir) else "")
    return xml.answer_multistatus(call.start_response, [_response(address, outcome)])


def _judge(tree: Element, node: Node) -> Outcome:
    """What the instructions come to, in their order."""
    outcome = Outcome()
    for instruction in tree:
        if instruction.tag not in (f"{_D}set", f"{_D}remove"):
            continue  # RFC 4918, section 17: unknown elements are ignored
        for properties in instruction.iterfind(f"{_D}prop"):
            language = next((one.get(_LANG) for one in (properties, instruction, tree) if one.get(_LANG)), None)
            for element in properties:
                outcome.names.append(element.tag)
                if language is not None:  # it belongs to the value (RFC 4918, section 4.3)
                    element.attrib.setdefault(_LANG, language)
                _take(outcome, element, node, is_set=instruction.tag == f"{_D}set")
    if not outcome.names:
        raise BadRequest("No property is named")
    return outcome


def _take(outcome: Outcome, element: Element, node: Node, *, is_set: bool) -> None:
    name = element.tag
    if name == CHECKSUMS and is_set:
        if not _is_checksum_of(node, "".join(element.itertext()).strip()):
            outcome.refused[name] = _NOT_VALID
    elif name in PROTECTED or (name == EXECUTABLE and (isinstance(node, Dir) or not is_set)):
        outcome.refused[name] = _FORBIDDEN
    elif name in _CHANGED and is_set:
        moment = read_moment("".join(element.itertext()))
        if moment is None:
            outcome.refused[name] = _NOT_VALID
        else:
            outcome.fields["updated_at"] = write_time(moment)
    elif name == EXECUTABLE:
        outcome.fields["executable"] = "".join(element.itertext()).strip() == "T"
    else:
        outcome.notes[name] = _kept(element) if is_set else None


def _is_checksum_of(node: Node, text: str) -> bool:
    """Whether a file has the checksum a client sets: rclone says it again when it sets a time, ownCloud forgets it then."""
    return isinstance(node, File) and text.lower() == f"md5:{base64.b64decode(node.blob.md5).hex()}"


def _kept(element: Element) -> str:
    element.tail = None
    return ElementTree.tostring(element, encoding="unicode")


def read_moment(text: str) -> datetime | None:
    """A time as RFC 9110 writes it, or as seconds since 1970; None: it is neither."""
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        found = parsedate_to_datetime(text.strip())
    except (TypeError, ValueError):
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _response(address: str, outcome: Outcome) -> str:
    """The status of each property; when one is refused the others depend on it."""
    by_status: dict[str, list[str]] = {}
    for name in dict.fromkeys(outcome.names):
        status = outcome.refused.get(name, _DEPENDS if outcome.refused else _DONE)
        by_status.setdefault(status, []).append(name)
    parts = "".join(_propstat(status, names) for status, names in by_status.items())
    return f"<D:response><D:href>{xml.href(address)}</D:href>{parts}</D:response>"


def _propstat(status: str, names: Sequence[str]) -> str:
    inner = "".join(xml.element(name) for name in names)
    error = "<D:error><D:cannot-modify-protected-property/></D:error>" if status == _FORBIDDEN else ""
    return f"<D:propstat><D:prop>{inner}</D:prop><D:status>HTTP/1.1 {status}</D:status>{error}</D:propstat>"
