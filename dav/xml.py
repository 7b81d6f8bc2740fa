"""Bodies of DAV requests as trees, and answers as text: no entities, no deep nesting, no tree for the answer."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from cozyd.errors import BadRequest, TooLarge
from dav.access import XML, StartResponse, answer

DEEPEST = 100
MOST_ELEMENTS = 50_000
LARGEST = 4 << 20
PREFIXES: Mapping[str, str] = {
    "DAV:": "D",
    "urn:ietf:params:xml:ns:caldav": "C",
    "urn:ietf:params:xml:ns:carddav": "CR",
    "http://calendarserver.org/ns/": "CS",
    "http://apple.com/ns/ical/": "ICAL",
    "http://owncloud.org/ns": "oc",
    "https://bitfire.at/webdav-push": "P",
}
_HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus '
    + " ".join(f'xmlns:{prefix}="{uri}"' for uri, prefix in PREFIXES.items())
    + ">"
)
_TAIL = "</D:multistatus>"

_PLAIN = re.compile(r"[A-Za-z0-9/._~-]*")
"""Paths that need no escaping: most of them."""
_UNSAFE = re.compile(rb"[^A-Za-z0-9/:@!$&'()*+,;=~._-]")


class _Shallow(TreeBuilder):
    """A tree that refuses to grow deep."""

    depth = 0
    count = 0

    def start(self, tag: str, attributes: dict[Any, Any], /) -> Element:
        self.depth += 1
        self.count += 1
        if self.depth > DEEPEST or self.count > MOST_ELEMENTS:
            raise BadRequest("The XML is nested too deep, or has too many elements")
        return super().start(tag, attributes)

    def end(self, tag: str, /) -> Element:
        self.depth -= 1
        return super().end(tag)


def parse(body: bytes) -> Element | None:
    """The tree of a body, None of an empty one.

    :raises TooLarge: it is larger than any program sends.
    :raises BadRequest: malformed, with a DTD or entities, or nested too deep.
    """
    if not body.strip():
        return None
    if len(body) > LARGEST:
        raise TooLarge("The body is larger than 4 MiB")
    parser = DefusedXMLParser(target=_Shallow(), forbid_dtd=True)
    try:
        parser.feed(body)
        found: Element = parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as cause:
        raise BadRequest("The XML is malformed") from cause
    return found


def read_body(environ: dict[str, Any]) -> bytes:
    """The whole body; it can be read again by who comes after."""
    body: bytes = environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def asked(tree: Element | None) -> list[str] | None:
    """The properties a PROPFIND or REPORT names, in Clark notation; None: all of them."""
    if tree is None:
        return None
    found = tree.find("{DAV:}prop")
    return None if found is None else list(dict.fromkeys(child.tag for child in found))


def included(tree: Element | None) -> Sequence[str]:
    """What `include` asks for beside all (RFC 4918, section 14.8)."""
    found = tree.find("{DAV:}include") if tree is not None else None
    return [child.tag for child in found] if found is not None else []


def short(tag: str) -> str:
    """A Clark name with a prefix that `multistatus` declares; others declare their own."""
    space, _, local = tag.removeprefix("{").rpartition("}")
    prefix = PREFIXES.get(space)
    return f"{prefix}:{local}" if prefix else local


def element(tag: str, content: str = "") -> str:
    """An element, its content as it is."""
    start, end, empty = tags(tag)
    return start + content + end if content else empty


@lru_cache(maxsize=256)
def tags(tag: str) -> tuple[str, str, str]:
    """Start tag, end tag and empty-element tag of a Clark name."""
    space, _, local = tag.removeprefix("{").rpartition("}")
    prefix = PREFIXES.get(space)
    name, own = (f"{prefix}:{local}", "") if prefix else (local, f' xmlns="{escape(space, {chr(34): "&quot;"})}"')
    return f"<{name}{own}>", f"</{name}>", f"<{name}{own}/>"


def href(path: str) -> str:
    """An href element's content; what RFC 3986 allows in a path stays."""
    if _PLAIN.fullmatch(path):
        return path
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], path.encode("utf-8", "surrogatepass")).decode("ascii").replace("&", "&amp;")


def response(path: str, found: str, missing: Sequence[str] = ()) -> str:
    """One response: the properties that are there, and the names of those that are not."""
    text = f"<D:response><D:href>{href(path)}</D:href><D:propstat><D:prop>{found}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
    if missing:
        names = "".join(element(tag) for tag in missing)
        text += f"<D:propstat><D:prop>{names}</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"
    return text + "</D:response>"


def gone(path: str) -> str:
    """A response of what is not there."""
    return failed(path, "404 Not Found")


def failed(path: str, status: str) -> str:
    """A response of what a method was not done to."""
    return f"<D:response><D:href>{href(path)}</D:href><D:status>HTTP/1.1 {status}</D:status></D:response>"


def answer_multistatus(start_response: StartResponse, responses: Iterable[str], tail: str = "") -> Iterable[bytes]:
    """A 207."""
    return answer(start_response, 207, [("Content-Type", XML)], multistatus(responses, tail))


def multistatus(responses: Iterable[str], tail: str = "") -> bytes:
    """A whole 207 body."""
    return "".join((_HEAD, *responses, tail, _TAIL)).encode()
