"""The properties of the principal, of address books and calendars, and of what is in them (RFC 4918, 3744, 4791, 6352, 5397, 6578)."""

from collections.abc import Callable, Mapping, Sequence
from email.utils import format_datetime
from typing import Any
from xml.sax.saxutils import escape

from cozyd.files.tree import read_time
from cozyd.pim import Collection, Kind, birthdays, ical, timezones, vcard
from cozyd.pim.collections import sync_token
from cozyd.pim.instances import MOST_INSTANCES
from dav import push, xml
from dav.access import Visit
from dav.filters import COLLATIONS

USER = "me"
D, C, CR, CS = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}", "{urn:ietf:params:xml:ns:carddav}", "{http://calendarserver.org/ns/}"
ICAL = "{http://apple.com/ns/ical/}"
MEDIA = {
    "VCARD": "text/vcard; charset=utf-8",
    "VEVENT": "text/calendar; charset=utf-8; component=VEVENT",
    "VTODO": "text/calendar; charset=utf-8; component=VTODO",
    "VJOURNAL": "text/calendar; charset=utf-8; component=VJOURNAL",
}
NAMES = {"contacts": "Contacts", "calendar": "Calendar", birthdays.ID: "Birthdays"}

Make = Callable[["Seen"], str | None]


class Seen:
    """A resource as a visitor sees it: a collection, or one of the two above them where there is none.

    :param root: the path of the mount, without a slash at its end.
    """

    def __init__(self, visit: Visit, root: str, collection: Collection | None = None, *, top: bool = False) -> None:
        self.visit = visit
        self.root = root
        self.collection = collection
        self.top = top

    @property
    def home(self) -> str:
        """The address of the principal, which is the home of everything."""
        return f"{self.root}/{USER}/"

    @property
    def path(self) -> str:
        """Its own address."""
        if self.top:
            return f"{self.root}/"
        return self.home if self.collection is None else f"{self.home}{self.collection.id}/"

    def of(self) -> Collection:
        """The collection it is."""
        assert self.collection is not None
        return self.collection


# -- values -------------------------------------------------------------------------------------------------------------


def _href(path: str) -> str:
    return f"<D:href>{xml.href(path)}</D:href>"


_WRITE = ("write", "write-content", "write-properties", "bind", "unbind")


def _privileges(more: Sequence[str] = ()) -> str:
    """What everybody who sees a resource may, and more."""
    names = ("read", "read-current-user-privilege-set", *more)
    found = "".join(f"<D:privilege><D:{name}/></D:privilege>" for name in names)
    return found + "<D:privilege><C:read-free-busy/></D:privilege>"


def _may_make(seen: Seen) -> bool:
    return any(seen.visit.may("POST", doctype) for doctype in ("io.cozy.contacts", ical.EVENTS))


def _reports(*names: str) -> str:
    return "".join(f"<D:supported-report><D:report><{name}/></D:report></D:supported-report>" for name in names)


def _addresses(seen: Seen) -> str:
    mail = seen.visit.instance.email()
    return (_mailto(mail) if mail else "") + _href(seen.home)


def _mailto(mail: str) -> str:
    return f"<D:href>mailto:{escape(mail)}</D:href>"


_CALENDAR_REPORTS = ("D:sync-collection", "C:calendar-query", "C:calendar-multiget", "C:free-busy-query")
_BOOK_REPORTS = ("D:sync-collection", "CR:addressbook-query", "CR:addressbook-multiget")
_RESOURCE_REPORTS: Mapping[str, Sequence[str]] = {"calendar": _CALENDAR_REPORTS[1:3], "book": _BOOK_REPORTS[1:]}

_EVERYWHERE: dict[str, Make] = {
    f"{D}current-user-principal": lambda seen: _href(seen.home),
    f"{D}principal-collection-set": lambda seen: _href(f"{seen.root}/"),
    f"{D}owner": lambda seen: _href(seen.home),
}
_TOP: dict[str, Make] = _EVERYWHERE | {
    f"{D}resourcetype": lambda _: "<D:collection/>",
    f"{D}displayname": lambda seen: escape(seen.visit.instance.public_name()),
    f"{D}current-user-privilege-set": lambda _: _privileges(),
    f"{D}supported-report-set": lambda _: _reports("D:expand-property", "D:principal-property-search", "D:principal-search-property-set"),
}
_HOME: dict[str, Make] = _EVERYWHERE | {
    f"{D}resourcetype": lambda _: "<D:principal/><D:collection/>",
    f"{D}displayname": lambda seen: escape(seen.visit.instance.public_name()),
    f"{D}principal-URL": lambda seen: _href(seen.home),
    f"{D}alternate-URI-set": lambda _: "",
    f"{D}group-membership": lambda _: "",
    f"{D}group-member-set": lambda _: "",
    f"{D}resource-id": lambda seen: f"<D:href>urn:uuid:{_uuid(seen.visit.instance.prefix)}</D:href>",
    f"{D}current-user-privilege-set": lambda seen: _privileges(_WRITE if _may_make(seen) else ()),
    f"{D}supported-report-set": lambda _: _reports(
        "D:expand-property",
        "D:principal-property-search",
        "D:principal-search-property-set",
        "C:calendar-query",
        "C:calendar-multiget",
        "CR:addressbook-multiget",
    ),
    f"{C}calendar-home-set": lambda seen: _href(seen.home) if seen.visit.may("GET", ical.EVENTS) else None,
    f"{CR}addressbook-home-set": lambda seen: _href(seen.home) if seen.visit.may("GET", "io.cozy.contacts") else None,
    f"{C}calendar-user-address-set": _addresses,
    f"{C}calendar-user-type": lambda _: "INDIVIDUAL",
    f"{CS}email-address-set": lambda seen: _mail_set(seen.visit.instance.email()),
    f"{C}supported-calendar-component-sets": lambda _: "".join(
        f'<C:supported-calendar-component-set><C:comp name="{name}"/></C:supported-calendar-component-set>' for name in ical.COMPONENTS
    ),
    f"{D}getetag": lambda _: None,
    **push.properties(home=True),
}


def _mail_set(mail: str) -> str:
    return f"<CS:email-address>{escape(mail)}</CS:email-address>" if mail else ""


def _uuid(prefix: str) -> str:
    import uuid

    return str(uuid.uuid5(uuid.NAMESPACE_OID, prefix))


def _own(name: str) -> Make:
    """A property of the collection that clients set."""
    return lambda seen: escape(seen.of().props[name]) if seen.of().props.get(name) else None


def _privileges_of(seen: Seen) -> str:
    visit, collection = seen.visit, seen.of()
    found = ["write-content"] if visit.writes(collection) else []
    found += ["write-properties"] if visit.manages(collection) else []
    found += ["bind"] if visit.writes(collection, "POST") else []
    found += ["unbind"] if visit.writes(collection, "DELETE") else []
    return _privileges(["write", *found] if len(found) == len(_WRITE) - 1 else found)


_COLLECTION: dict[str, Make] = _EVERYWHERE | {
    f"{D}displayname": lambda seen: escape(seen.of().props.get("name") or NAMES.get(seen.of().id, seen.of().id)),
    f"{D}sync-token": lambda seen: escape(sync_token(seen.of())),
    f"{CS}getctag": lambda seen: f"&quot;{escape(seen.of().token)}&quot;",
    f"{D}getetag": lambda seen: f"&quot;{escape(seen.of().token)}&quot;",
    f"{D}current-user-privilege-set": _privileges_of,
    f"{D}owner": lambda seen: _href(seen.of().owner or seen.home),
    f"{D}add-member": lambda seen: _href(seen.path),
    **push.properties(home=False),
}
_CALENDAR: dict[str, Make] = _COLLECTION | {
    f"{D}resourcetype": lambda _: "<D:collection/><C:calendar/>",
    f"{D}supported-report-set": lambda _: _reports(*_CALENDAR_REPORTS),
    f"{C}calendar-description": _own("description"),
    f"{C}calendar-timezone": lambda seen: escape(timezones.whole(seen.of().props["timezone"])) if seen.of().props.get("timezone") else None,
    f"{C}calendar-timezone-id": lambda seen: escape(timezones.name_of(seen.of().props.get("timezone", ""))) or None,
    f"{C}supported-calendar-component-set": lambda seen: "".join(f'<C:comp name="{name}"/>' for name in seen.of().components),
    f"{C}supported-calendar-data": lambda _: '<C:calendar-data content-type="text/calendar" version="2.0"/>',
    f"{C}supported-collation-set": lambda _: "".join(f"<C:supported-collation>{one}</C:supported-collation>" for one in COLLATIONS),
    f"{C}max-resource-size": lambda _: str(ical.LARGEST),
    f"{C}max-instances": lambda _: str(MOST_INSTANCES),
    f"{C}schedule-calendar-transp": lambda seen: "<C:transparent/>" if seen.of().props.get("transparent") == "true" else "<C:opaque/>",
    f"{ICAL}calendar-color": _own("color"),
    f"{ICAL}calendar-order": _own("order"),
}
_BOOK: dict[str, Make] = _COLLECTION | {
    f"{D}resourcetype": lambda _: "<D:collection/><CR:addressbook/>",
    f"{D}supported-report-set": lambda _: _reports(*_BOOK_REPORTS),
    f"{CR}addressbook-description": _own("description"),
    f"{CR}supported-address-data": lambda _: '<CR:address-data-type content-type="text/vcard" version="3.0"/>',
    f"{CR}supported-collation-set": lambda _: "".join(f"<CR:supported-collation>{one}</CR:supported-collation>" for one in COLLATIONS),
    f"{CR}max-resource-size": lambda _: str(vcard.LARGEST),
    f"{ICAL}calendar-color": _own("color"),
    f"{ICAL}calendar-order": _own("order"),
}
SETTABLE: Mapping[str, str] = {
    f"{D}displayname": "name",
    f"{ICAL}calendar-color": "color",
    f"{ICAL}calendar-order": "order",
    f"{C}calendar-description": "description",
    f"{CR}addressbook-description": "description",
    f"{C}calendar-timezone": "timezone",
    f"{C}calendar-timezone-id": "timezone",
    f"{C}schedule-calendar-transp": "transparent",
}
"""Properties that clients set, and the names the room has for them."""


def settable(kind: Kind | None) -> Mapping[str, str]:
    """Those of one kind of collection; of the other kind they mean nothing, and are kept as they come."""
    table = _BOOK if kind == "book" else _CALENDAR
    return {name: own for name, own in SETTABLE.items() if name in table}


PROTECTED = frozenset(name for table in (_HOME, _CALENDAR, _BOOK) for name in table if name not in SETTABLE) | frozenset(
    f"{D}{name}"
    for name in ("getcontentlength", "getcontenttype", "getlastmodified", "creationdate", "lockdiscovery", "supportedlock", "acl")
)
_ALL = (
    *(f"{D}{name}" for name in ("resourcetype", "displayname", "getetag", "sync-token", "current-user-principal", "principal-URL")),
    f"{C}calendar-home-set",
    f"{CR}addressbook-home-set",
    f"{CS}getctag",
)
"""What a PROPFIND without a body gets: the principal too, for programs lose the body when they follow a redirect."""


def _table(seen: Seen) -> Mapping[str, Make]:
    if seen.top:
        return _TOP
    if seen.collection is None:
        return _HOME
    return _CALENDAR if seen.collection.kind == "calendar" else _BOOK


def response(seen: Seen, names: Sequence[str] | None, *, more: Sequence[str] = (), only_names: bool = False, minimal: bool = False) -> str:
    """The response of a collection, or of what is above.

    :param names: what is asked; None: the usual ones and the dead ones.
    :param more: what is asked beside them.
    :param only_names: the names of all there are, without values.
    :param minimal: without those that are not there.
    """
    table = _table(seen)
    dead = seen.collection.dead if seen.collection is not None else {}
    if only_names:
        found = [name for name in table if table[name](seen) is not None] + list(dead)
        return xml.response(seen.path, "".join(xml.element(name) for name in found))
    wanted = names if names is not None else [*(name for name in _ALL if name in table), *dead, *more]
    values = {name: table[name](seen) if name in table else None for name in wanted}
    known = "".join(
        dead[name] if name in dead and value is None else xml.element(name, value or "")
        for name, value in values.items()
        if value is not None or name in dead
    )
    missing = [name for name, value in values.items() if value is None and name not in dead and (names is not None or name in more)]
    return xml.response(seen.path, known, () if minimal else missing)


def values(seen: Seen, names: Sequence[str]) -> str:
    """Properties as elements, those that are not there left out."""
    table = _table(seen)
    found = {name: table[name](seen) for name in names if name in table}
    return "".join(xml.element(name, value) for name, value in found.items() if value is not None)


# -- resources ----------------------------------------------------------------------------------------------------------

_ROW: Mapping[str, Callable[[Any], str]] = {
    f"{D}getetag": lambda value: f"&quot;{value['etag']}&quot;",
    f"{D}resourcetype": lambda _: "",
    f"{D}getcontenttype": lambda value: MEDIA[value["comp"]],
    f"{D}getcontentlength": lambda value: str(value["size"]),
    f"{D}getlastmodified": lambda value: format_datetime(read_time(value["mtime"]), usegmt=True),
}
_OF_BOTH = (f"{D}current-user-privilege-set", f"{D}supported-report-set")
"""What collections and resources have alike, or nearly so."""
DATA = frozenset((f"{C}calendar-data", f"{CR}address-data"))


class Lister:
    """Writes the responses of resources in one collection: 1 us each where the rows say all.

    :param names: what is asked; None: all that rows have.
    :param more: what is asked beside them.
    """

    def __init__(
        self, seen: Seen, names: Sequence[str] | None, *, more: Sequence[str] = (), only_names: bool = False, minimal: bool = False
    ) -> None:
        self._prefix = xml.href(seen.path)
        table = _table(seen)
        wanted = list(names) if names is not None else list(dict.fromkeys((*_ROW, *more)))
        self._rows = [(name, _ROW[name]) for name in wanted if name in _ROW]
        fixed = [name for name in wanted if name in _EVERYWHERE or name in _OF_BOTH]
        table = {**table, f"{D}supported-report-set": lambda seen: _reports(*_RESOURCE_REPORTS[seen.of().kind])}
        self._fixed = "".join(xml.element(name, table[name](seen) or "") for name in fixed)
        missing = [name for name in wanted if name not in _ROW and name not in fixed and name not in DATA]
        names_only = "".join(xml.element(name) for name in missing)
        self._tail = "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
        if missing and not minimal:
            self._tail += f"<D:propstat><D:prop>{names_only}</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"
        self._tail += "</D:response>"
        self._only_names = only_names

    def __call__(self, href: str, value: Any, data: str = "") -> str:
        """The response of one resource.

        :param data: more properties, as elements.
        """
        if self._only_names:
            found = "".join(xml.element(name) for name, _ in self._rows)
        else:
            found = "".join(xml.element(name, read(value)) for name, read in self._rows)
        return f"<D:response><D:href>{self._prefix}{xml.href(href)}</D:href><D:propstat><D:prop>{found}{self._fixed}{data}{self._tail}"
