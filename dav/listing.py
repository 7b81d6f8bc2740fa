"""PROPFIND and REPORT answered from the rows: polls, listings, sync and multiget without a body parsed (RFC 6578, RFC 4791).

What is asked beyond that is Radicale's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from email.utils import format_datetime
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from cozyd.documents.store import Row
from cozyd.errors import SeqGone
from cozyd.files.tree import read_time
from cozyd.pim import Collection
from dav import xml
from dav.access import XML, StartResponse, Visit, answer
from dav.resources import MEDIA

SYNC = "http://cozyd.org/ns/sync/"
_D, _C, _CR, _CS = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}", "{urn:ietf:params:xml:ns:carddav}", "{http://calendarserver.org/ns/}"
DATA = frozenset((f"{_C}calendar-data", f"{_CR}address-data"))

_ROW: Mapping[str, Callable[[Any], str]] = {
    f"{_D}getetag": lambda value: f"&quot;{value['etag']}&quot;",
    f"{_D}resourcetype": lambda _: "",
    f"{_D}getcontenttype": lambda value: (
        MEDIA[value["comp"]].replace("; charset=utf-8", ";charset=utf-8")
        + ("" if value["comp"] == "VCARD" else f";component={value['comp']}")
    ),
    f"{_D}getcontentlength": lambda value: str(value["size"]),
    f"{_D}getlastmodified": lambda value: format_datetime(read_time(value["mtime"]), usegmt=True),
}
POLLED = frozenset((f"{_CS}getctag", f"{_D}sync-token", f"{_D}resourcetype", f"{_D}displayname"))


def sync_token(collection: Collection) -> str:
    """The token of a collection as it is told."""
    return f"{SYNC}{collection.id}/{collection.token}"


def can_poll(names: Sequence[str] | None) -> bool:
    """Whether a PROPFIND of depth 0 asks only what a poll does."""
    return bool(names) and POLLED.issuperset(names or ())


def can_list(names: Sequence[str] | None) -> bool:
    """Whether a PROPFIND of depth 1 asks nothing beyond the rows."""
    return bool(names) and _ROW.keys() >= set(names or ())


def poll(collection: Collection, path: str, names: Sequence[str], start_response: StartResponse) -> Iterable[bytes]:
    """The answer to a poll: one read of the token."""
    return _multistatus(start_response, [_collection_response(collection, path, names)])


def listing(visit: Visit, collection: Collection, path: str, names: Sequence[str], start_response: StartResponse) -> Iterable[bytes]:
    """A collection and all that is in it, without texts."""
    rows = visit.instance.pim.rows(collection)
    return _multistatus(start_response, [_collection_response(collection, path, names), *_responses(path, rows, names)])


def sync(visit: Visit, collection: Collection, path: str, tree: Element, start_response: StartResponse) -> Iterable[bytes]:
    """What changed since a token; with a limit, as much of it, and a token to go on from.

    :raises SeqGone: the token is foreign, or of a lost future.
    """
    names = xml.asked(tree) or []
    since = _since(collection, (tree.findtext(f"{_D}sync-token") or "").strip())
    rows = list(visit.instance.pim.rows(collection, since=since)) if since else list(visit.instance.pim.rows(collection))
    token, truncated = sync_token(collection), ""
    limit = tree.findtext(f"{_D}limit/{_D}nresults") or ""
    if limit.strip().isdigit() and since and len(rows) > int(limit) > 0:
        rows = rows[: int(limit)]
        token = f"{SYNC}{collection.id}/{rows[-1].seq}"
        truncated = _truncated(path)
    texts = _texts(visit, collection, rows) if DATA & set(names) else {}
    tail = truncated + f"<D:sync-token>{escape(token)}</D:sync-token>"
    return _multistatus(start_response, _responses(path, rows, names, texts), tail)


def multiget(visit: Visit, collection: Collection, path: str, tree: Element, start_response: StartResponse) -> Iterable[bytes]:
    """The texts of named resources."""
    from urllib.parse import unquote, urlsplit

    names = xml.asked(tree) or []
    given = [unquote(urlsplit(found.text or "").path) for found in tree.findall(f"{_D}href")]
    hrefs = {one: one.removeprefix(path) for one in dict.fromkeys(given) if one.startswith(path)}
    rows = visit.instance.pim.rows(collection, hrefs=list(hrefs.values()))
    texts = _texts(visit, collection, rows) if DATA & set(names) else {}
    have = {row.key[1] for row in rows}
    missing = [xml.gone(one) for one in dict.fromkeys(given) if hrefs.get(one) not in have]
    return _multistatus(start_response, [*_responses(path, rows, names, texts), *missing])


def can_report(names: Sequence[str] | None, tree: Element) -> bool:
    """Whether a sync or multiget asks nothing beyond rows and whole texts."""
    if not names or not (_ROW.keys() | DATA) >= set(names):
        return False
    data = [child for child in (tree.find(f"{_D}prop") or ()) if child.tag in DATA]
    return all(len(one) == 0 and one.get("version", "3.0") == "3.0" for one in data)


def _since(collection: Collection, token: str) -> str | None:
    if not token:
        return None
    prefix = f"{SYNC}{collection.id}/"
    if not token.startswith(prefix):
        raise SeqGone("The token is not of this collection")
    return token.removeprefix(prefix)


def _truncated(path: str) -> str:
    status = "<D:status>HTTP/1.1 507 Insufficient Storage</D:status><D:error><D:number-of-matches-within-limits/></D:error>"
    return f"<D:response><D:href>{xml.href(path)}</D:href>{status}</D:response>"


def _texts(visit: Visit, collection: Collection, rows: Sequence[Row]) -> Mapping[str, bytes | None]:
    return dict(visit.instance.pim.text(collection, [row.key[1] for row in rows if not row.gone]))


def _responses(path: str, rows: Sequence[Row], names: Sequence[str], texts: Mapping[str, bytes | None] | None = None) -> Iterable[str]:
    prefix = xml.href(path)
    known = [(name, _ROW[name]) for name in names if name in _ROW]
    data = [name for name in names if name in DATA]
    for row in rows:
        href = row.key[1]
        if row.gone:
            yield xml.gone(path + href)
            continue
        value = row.value
        found = "".join(xml.element(name, read(value)) for name, read in known)
        for name in data:
            text = (texts or {}).get(href)
            found += xml.element(name, escape((text or b"").decode("utf-8", "replace")).replace("\r", "&#13;"))
        yield (
            f"<D:response><D:href>{prefix}{xml.href(href)}</D:href><D:propstat><D:prop>{found}</D:prop>"
            "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        )


def _collection_response(collection: Collection, path: str, names: Sequence[str]) -> str:
    kind = "<C:calendar/>" if collection.kind == "calendar" else "<CR:addressbook/>"
    values = {
        f"{_CS}getctag": escape(f'"{collection.token}"'),
        f"{_D}sync-token": escape(sync_token(collection)),
        f"{_D}resourcetype": f"<D:collection/>{kind}",
        f"{_D}getetag": f"&quot;{collection.token}&quot;",
    }
    if collection.props.get("name"):
        values[f"{_D}displayname"] = escape(collection.props["name"])
    found = "".join(xml.element(name, values[name]) for name in names if name in values)
    return xml.response(path, found, [name for name in names if name not in values])


def _multistatus(start_response: StartResponse, responses: Iterable[str], tail: str = "") -> Iterable[bytes]:
    return answer(start_response, 207, [("Content-Type", XML), ("DAV", DAV_HEADER)], xml.multistatus(responses, tail))


DAV_HEADER = "1, 3, calendar-access, addressbook, extended-mkcol"
