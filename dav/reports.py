"""REPORT: sync, multiget, queries, free and busy, from the rows wherever they say enough (RFC 3253, 4791, 6352, 6578, 7953)."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from cozyd.documents.store import Row
from cozyd.errors import BadRequest, Invalid, SeqGone
from cozyd.pim import Collection, instances, times
from cozyd.pim.collections import SYNC, sync_token
from cozyd.pim.content import Component, tree
from cozyd.pim.times import When
from cozyd.pim.timezones import zone_of
from cozyd.pim.zones import named
from dav import data, filters, properties, xml
from dav.access import XML, StartResponse, Visit, answer
from dav.address import path_of
from dav.properties import CR, C, D, Lister, Seen

MOST_HREFS = 20_000
FEW = 300
"""Up to so many rows are read one by one rather than all of a collection."""


class Asked:
    """One REPORT: what it asks about which collections.

    :param seen: the resource it was sent to.
    :param href: the one resource it was sent to, else empty.
    """

    def __init__(self, seen: Seen, href: str, tree: Element, *, minimal: bool) -> None:
        self.seen = seen
        self.visit: Visit = seen.visit
        self.href = href
        self.tree = tree
        self.minimal = minimal
        self.names = xml.asked(tree)
        self.data = data.read(tree)

    def collections(self, kind: str) -> Sequence[Collection]:
        """The collections it speaks of.

        :raises Invalid: it was sent to one of the other kind.
        """
        own = self.seen.collection
        if own is not None and own.kind != kind:
            raise Invalid("This report is of the other kind of collection", source="supported-report")
        return [one for one in self.visit.collections.values() if one.kind == kind] if own is None else [own]

    def lister(self, collection: Collection) -> Lister:
        """Writes the responses of one collection."""
        only_names = self.tree.find(f"{D}propname") is not None
        return Lister(Seen(self.visit, self.seen.root, collection), self.names, only_names=only_names, minimal=self.minimal)

    def responses(self, collection: Collection, rows: Sequence[Row], texts: Mapping[str, bytes] | None = None) -> Iterator[str]:
        """The responses of rows, with their texts where those are asked for."""
        lister, wants = self.lister(collection), bool(self.data)
        if wants and texts is None:
            texts = self.visit.pim.texts(collection, rows)
        path = Seen(self.visit, self.seen.root, collection).path
        for row in rows:
            href = row.key[1]
            if row.gone or (wants and href not in (texts or {})):
                yield xml.gone(path + href)
            else:
                yield lister(href, row.value, self.data(row.value["comp"], (texts or {})[href]) if wants else "")


def answer_report(asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a REPORT.

    :raises Invalid: `supported-report` where nobody knows it, else what the report's own RFC names.
    """
    known = _REPORTS.get(asked.tree.tag)
    if known is None or (asked.tree.tag not in _ANYWHERE and asked.seen.top):
        raise Invalid("This report is not known here", source="supported-report")
    return known(asked, start_response)


def _sync(asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
    """What changed since a token; with a limit as much of it, and a token to go on from."""
    collection = asked.seen.collection
    if collection is None or asked.href:
        raise Invalid("Only address books and calendars are synced", source="supported-report")
    level = (asked.tree.findtext(f"{D}sync-level") or "1").strip()
    if level not in ("1", "infinite"):
        raise BadRequest("The sync-level is 1 or infinite")
    pim = asked.visit.pim
    since = _since(collection, (asked.tree.findtext(f"{D}sync-token") or "").strip())
    try:
        rows = list(pim.rows(collection, since=since) if since is not None else pim.rows(collection))
    except BadRequest as cause:
        raise SeqGone("The token is malformed") from cause
    token, tail = sync_token(collection), ""
    limit = _limit(asked.tree)
    if limit is not None and len(rows) > limit:
        rows = _cut(rows, limit)
        token = f"{SYNC}{collection.id}/{rows[-1].seq}"
        tail = _truncated(asked.seen.path)
    tail += f"<D:sync-token>{escape(token)}</D:sync-token>"
    return xml.answer_multistatus(start_response, asked.responses(collection, rows), tail)


def _since(collection: Collection, token: str) -> str | None:
    if not token:
        return None
    prefix = f"{SYNC}{collection.id}/"
    if not token.startswith(prefix) or token == prefix:
        raise SeqGone("The token is not of this collection")
    return token.removeprefix(prefix)


def _cut(rows: list[Row], limit: int) -> list[Row]:
    """The first changes, cut between commits: those of one commit have one sequence."""
    rows.sort(key=lambda row: _number(row.seq))
    last = _number(rows[limit].seq)
    kept = [row for row in rows[:limit] if _number(row.seq) < last]
    if not kept:
        raise Invalid("One change has more rows than that", source="number-of-matches-within-limits")
    return kept


def _number(seq: str) -> int:
    return int(seq.partition("-")[0])


def _limit(tree: Element) -> int | None:
    for name in (f"{D}limit/{D}nresults", f"{CR}limit/{CR}nresults", f"{C}limit/{C}nresults"):
        text = (tree.findtext(name) or "").strip()
        if text.isascii() and text.isdigit() and int(text[:18]) > 0:
            return int(text[:18])
    return None


def _truncated(path: str) -> str:
    status = "<D:status>HTTP/1.1 507 Insufficient Storage</D:status><D:error><D:number-of-matches-within-limits/></D:error>"
    return f"<D:response><D:href>{xml.href(path)}</D:href>{status}</D:response>"


def _multiget(asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
    """Named resources, of any collection the request stands above."""
    given = list(dict.fromkeys(path_of(found.text or "", asked.seen.path) for found in asked.tree.findall(f"{D}href")))
    if len(given) > MOST_HREFS:
        raise BadRequest("The report names too many resources")
    kind = "calendar" if asked.tree.tag.startswith(C) else "book"
    left = dict.fromkeys(given)
    found: list[str] = []
    for collection in asked.collections(kind):
        path = Seen(asked.visit, asked.seen.root, collection).path
        hrefs = [one.removeprefix(path) for one in given if one.startswith(path) and one != path]
        rows = asked.visit.pim.rows(collection, hrefs=hrefs) if hrefs else ()
        found += asked.responses(collection, rows)
        for row in rows:
            left.pop(path + row.key[1], None)
    return xml.answer_multistatus(start_response, [*found, *(xml.gone(one) for one in left)])


def _query(asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
    """What passes a filter."""
    found: list[str] = []
    limit, tail = _limit(asked.tree), ""
    for collection in asked.collections("calendar" if asked.tree.tag.startswith(C) else "book"):
        zone = _zone(asked.tree, collection)
        asked.data.zone = zone
        rows, texts = _matching(asked, collection, zone)
        if limit is not None and len(rows) > limit - len(found):
            rows, tail = rows[: limit - len(found)], _truncated(asked.seen.path)
        found += asked.responses(collection, rows, texts)
    return xml.answer_multistatus(start_response, found, tail)


def _matching(asked: Asked, collection: Collection, zone: tzinfo | None) -> tuple[Sequence[Row], Mapping[str, bytes] | None]:
    """The rows that pass, and their texts where all of those had to be read."""
    pim, card = asked.visit.pim, collection.kind == "book"
    given = asked.tree.find(f"{CR if card else C}filter")
    wanted = filters.read_book(given) if card else filters.read_calendar(given, zone)
    low, high = wanted.range or (None, None)
    read = partial(pim.rows, collection, component=wanted.component, start=low, end=high, zone=zone)
    only = [asked.href] if asked.href else None
    if wanted.plain:
        return read(hrefs=only), None
    top = "VCARD" if card else "VCALENDAR"
    if wanted.indexed:
        words = {href: one for href, one in pim.words(collection, wanted.sieve).items() if asked.href in ("", href)}
        passing = {href for href, one in words.items() if one is None or wanted.test(filters.WordNode(top, one))}
        rows = [row for row in read(hrefs=list(passing) if len(passing) <= FEW else None) if row.key[1] in passing]
        odd = [row for row in rows if words[row.key[1]] is None]
    else:
        rows = odd = list(read(hrefs=only))
    texts = pim.texts(collection, odd)
    failing = {row.key[1] for row in odd} - {href for href, text in texts.items() if _passes(wanted, text, top)}
    return [row for row in rows if row.key[1] not in failing], texts if len(odd) == len(rows) else None


def _passes(wanted: filters.Filter, text: bytes, name: str) -> bool:
    """Whether an object whose words do not say so passes."""
    parsed = _parsed(text, name)
    return parsed is not None and wanted.test(filters.TextNode(parsed, parsed))


def _parsed(text: bytes, name: str) -> Component | None:
    try:
        return tree(text, name)
    except Invalid:
        return None


def _zone(asked: Element, collection: Collection) -> tzinfo | None:
    """The zone of floating times: the report's own, else the calendar's."""
    name = (asked.findtext(f"{C}timezone-id") or "").strip()
    if name:
        found = named(name)
        if found is None:
            raise Invalid("The time zone is not known", source="valid-timezone")
        return found
    text = asked.findtext(f"{C}timezone") or collection.props.get("timezone") or ""
    return zone_of(text)


def _free_busy(asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
    """Who is busy when, as a VFREEBUSY."""
    given = asked.tree.find(f"{C}time-range")
    if given is None:
        raise Invalid("A free-busy-query has a time-range", source="valid-filter")
    low, high = filters.read_range(given)
    found: dict[str, list[tuple[datetime, datetime]]] = {}
    for collection in asked.collections("calendar"):
        if collection.props.get("transparent") == "true" and asked.seen.collection is None:
            continue
        zone = _zone(asked.tree, collection)
        rows = asked.visit.pim.rows(collection, hidden=True, component="VEVENT", start=low, end=high, zone=zone)
        busy = instances.busy(list(asked.visit.pim.texts(collection, rows).values()), low, high, zone)
        for kind, stretches in busy.items():
            found.setdefault(kind, []).extend(stretches)
    lines = [f"FREEBUSY;FBTYPE={kind}:{_utc(start)}/{_utc(end)}" for kind, some in found.items() for start, end in instances.merged(some)]
    stamp = _utc(asked.visit.instance.now())
    body = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//cozyd//cozyd//EN", "BEGIN:VFREEBUSY", f"UID:freebusy-{_utc(low)}-{_utc(high)}"]
    body += [f"DTSTAMP:{stamp}", f"DTSTART:{_utc(low)}", f"DTEND:{_utc(high)}", *lines, "END:VFREEBUSY", "END:VCALENDAR", ""]
    return answer(start_response, 200, [("Content-Type", "text/calendar; charset=utf-8")], "\r\n".join(body).encode())


def _utc(moment: datetime) -> str:
    return times.value(When(moment.astimezone(UTC).replace(tzinfo=None), utc=True))


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def _named_by(element: Element) -> str:
    """The property that an expand-property names.

    :raises BadRequest: what it has is no name.
    """
    name = element.get("name") or ""
    if not _NAME.fullmatch(name):
        raise BadRequest("A property has no name")
    return "{" + (element.get("namespace") or "DAV:") + "}" + name


def _expand_property(asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
    """Properties, and those of what they point to: here that is always the principal (RFC 3253, section 3.8)."""
    seen = asked.seen
    inner = ""
    for child in asked.tree.findall(f"{D}property"):
        tag, below = _named_by(child), [_named_by(one) for one in child.findall(f"{D}property")]
        if below and tag in (f"{D}current-user-principal", f"{D}owner", f"{D}principal-URL"):
            inner += xml.element(tag, properties.response(Seen(seen.visit, seen.root), below))
        elif below:
            inner += xml.element(tag)
        else:
            inner += properties.values(seen, [tag])
    return xml.answer_multistatus(start_response, [xml.response(seen.path, inner)])


def _search_properties(_: Asked, start_response: StartResponse) -> Iterable[bytes]:
    """What the one principal is found by (RFC 3744, section 9.5)."""
    one = "<D:principal-search-property><D:prop><D:displayname/></D:prop><D:description>Name</D:description></D:principal-search-property>"
    body = (
        f'<?xml version="1.0" encoding="utf-8"?>\n<D:principal-search-property-set xmlns:D="DAV:">{one}</D:principal-search-property-set>'
    )
    return answer(start_response, 200, [("Content-Type", XML)], body.encode())


def _search(asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
    """The one principal, when its properties contain what is searched (RFC 3744, section 9.4)."""
    home = Seen(asked.visit, asked.seen.root)
    any_of = asked.tree.get("test", "allof") == "anyof"
    tests = []
    for search in asked.tree.findall(f"{D}property-search"):
        wanted = (search.findtext(f"{D}match") or "").casefold()
        names = [child.tag for child in search.findall(f"{D}prop/*")]
        tests += [wanted in properties.values(home, [name]).casefold() for name in names]
    if not (any(tests) if any_of and tests else all(tests)):
        return xml.answer_multistatus(start_response, [])
    loose = [child.tag for child in asked.tree if child.tag not in _OF_A_SEARCH]  # python-caldav asks beside the prop
    return xml.answer_multistatus(start_response, [properties.response(home, [*(asked.names or ()), *loose], minimal=asked.minimal)])


_OF_A_SEARCH = tuple(f"{D}{name}" for name in ("prop", "property-search", "apply-to-principal-collection-set"))


_REPORTS: Mapping[str, Callable[[Asked, StartResponse], Iterable[bytes]]] = {
    f"{D}sync-collection": _sync,
    f"{C}calendar-multiget": _multiget,
    f"{CR}addressbook-multiget": _multiget,
    f"{C}calendar-query": _query,
    f"{CR}addressbook-query": _query,
    f"{C}free-busy-query": _free_busy,
    f"{D}expand-property": _expand_property,
    f"{D}principal-search-property-set": _search_properties,
    f"{D}principal-property-search": _search,
}
_ANYWHERE = frozenset((f"{D}expand-property", f"{D}principal-search-property-set", f"{D}principal-property-search"))
