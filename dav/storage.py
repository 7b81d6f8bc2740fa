"""Radicale's `Storage`, `Auth` and `Rights` over `instance.pim`: no second storage, no locks shared by users."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import vobject
from radicale import auth, pathutils, rights, storage
from radicale import item as radicale_item
from radicale.item import filter as item_filter

from cozyd.documents.store import Row
from cozyd.files.tree import read_time
from cozyd.pim import Collection as PimCollection
from cozyd.pim.resource import etag
from cozyd.pim.zones import named
from dav.access import visit
from dav.listing import sync_token

USER = "me"
FAR = 2**62
_PROPERTIES: Mapping[str, str] = {
    "D:displayname": "name",
    "ICAL:calendar-color": "color",
    "ICAL:calendar-order": "order",
    "C:calendar-description": "description",
    "CR:addressbook-description": "description",
    "C:calendar-timezone": "timezone",
    "C:supported-calendar-component-set": "components",
}
_TZID = re.compile(r"TZID([=:])(\"?)([^\":;\r\n]+)")


class Auth(auth.BaseAuth):
    """Whoever comes here was identified before."""

    def get_external_login(self, environ: Any) -> tuple[str, str]:  # noqa: ARG002
        """The one principal of an instance."""
        return USER, ""

    def _login(self, login: str, password: str) -> str:  # noqa: ARG002
        return login


class Rights(rights.BaseRights):
    """The visitor's rules; string work but for the kind of a collection, which one read has told."""

    def authorization(self, user: str, user_groups: Any, path: str) -> str:  # noqa: ARG002
        """Radicale's letters for a path."""
        parts = pathutils.strip_path(path).split("/")
        if parts in ([""], [USER]):
            return "RW" if parts == [USER] else "R"
        if parts[0] != USER or len(parts) > 3:
            return ""
        known = visit().collections.get(parts[1])
        if known is not None:
            return "rwi" if visit().writes(known) else "ri"
        may = any(visit().may("POST", doctype) for doctype in ("io.cozy.contacts", "io.cozy.calendar.events"))
        return "rw" if may and len(parts) == 2 else ""


class Item(radicale_item.Item):
    """A resource; it is parsed only where a filter looks into it, and then a copy whose time zones are its own."""

    @property
    def vobject_item(self) -> Any:
        """The parsed text. vobject keeps zones by TZID for the whole process: names that are not IANA's carry a hash."""
        text = self.serialize()
        mark = etag(text.encode())[:8]

        def renamed(found: re.Match[str]) -> str:
            name = found.group(3)
            return found.group(0) if named(name) is not None else f"TZID{found.group(1)}{found.group(2)}{name}-{mark}"

        return vobject.readOne(_TZID.sub(renamed, text))


class Collection(storage.BaseCollection):
    """An address book or calendar, or the plain collections above them."""

    def __init__(self, path: str, known: PimCollection | None) -> None:
        self._path = path
        self.known = known

    @property
    def path(self) -> str:
        """Without slashes at the ends."""
        return self._path

    @property
    def etag(self) -> str:
        """Moves with the content."""
        return f'"{self.known.token}"' if self.known is not None else '"home"'

    @property
    def last_modified(self) -> str:
        """Not kept: the time of the answer."""
        return format_datetime(datetime.now(UTC), usegmt=True)

    def get_meta(self, key: str | None = None) -> Any:
        """Properties by Radicale's names."""
        meta = _meta(self.known) if self.known is not None else {}
        return meta if key is None else meta.get(key)

    def set_meta(self, props: Mapping[str, str]) -> None:
        """Replace the properties."""
        if self.known is None:
            raise ValueError("the principal has no properties of its own")
        ours, dead = _split(props)
        missing = {name: "" for name in ("name", "color", "order", "description", "timezone") if name not in ours}
        self.known = visit().instance.pim.change(self.known, missing | ours, dead=dead)

    def sync(self, old_token: str = "") -> tuple[str, Iterable[str]]:
        """The token alone is asked here; reports of changes are answered before Radicale."""
        if old_token or self.known is None:
            raise ValueError("the token is not known")
        return sync_token(self.known), ()

    def get_all(self) -> Iterator[radicale_item.Item]:
        """Everything in it."""
        yield from self._items(visit().instance.pim.rows(self.known) if self.known is not None else ())

    def get_multi(self, hrefs: Iterable[str]) -> Iterator[tuple[str, radicale_item.Item | None]]:
        """Named resources."""
        wanted = list(dict.fromkeys(hrefs))
        rows = visit().instance.pim.rows(self.known, hrefs=wanted) if self.known is not None else ()
        found = {item.href: item for item in self._items(rows)}
        for href in wanted:
            yield href, found.get(href)

    def get_filtered(self, filters: Iterable[Any]) -> Iterator[tuple[radicale_item.Item, bool]]:
        """What the rows let through; True when they have decided the whole filter."""
        if self.known is None:
            return
        component, start, end, simple = item_filter.simplify_prefilters(filters, self.tag)
        low = datetime.fromtimestamp(start, UTC) if start > -(2**35) else None
        high = datetime.fromtimestamp(end, UTC) if end < 2**37 else None
        rows = visit().instance.pim.rows(self.known, component=component, start=low, end=high)
        for item in self._items(rows):
            yield item, simple

    def has_uid(self, uid: str) -> bool:
        """Whether something in it has this UID."""
        return self.known is not None and any(row.value["uid"] == uid for row in visit().instance.pim.rows(self.known))

    def delete(self, href: str | None = None) -> None:
        """Remove a resource, or the collection."""
        assert self.known is not None
        if href is None:
            visit().instance.pim.remove(self.known)
        else:
            visit().instance.pim.delete(self.known, href, match=None)

    def _items(self, rows: Sequence[Row]) -> Iterator[radicale_item.Item]:
        if self.known is None or not rows:
            return
        texts = dict(visit().instance.pim.text(self.known, [row.key[1] for row in rows]))
        for row in rows:
            text = texts.get(row.key[1])
            if text is not None:
                yield self._item(row, text)

    def _item(self, row: Row, text: bytes) -> Item:
        value = row.value
        return Item(
            collection=self,
            href=row.key[1],
            last_modified=format_datetime(read_time(value["mtime"]), usegmt=True),
            text=text.decode("utf-8", "replace"),
            etag=f'"{value["etag"]}"',
            uid=value["uid"],
            name="VCARD" if value["comp"] == "VCARD" else "VCALENDAR",
            component_name=value["comp"],
            time_range=(_seconds(value.get("start"), -FAR), _seconds(value.get("end"), FAR)),
        )


class Storage(storage.BaseStorage):
    """The address books and calendars of the visited instance."""

    _is_collision_free = _supports_unicode = _supports_trailing_whitespace = _supports_problematic_chars = True

    def discover(
        self,
        path: str,
        depth: str = "0",
        child_context_manager: Any = None,  # noqa: ARG002
        user_groups: Any = frozenset(),  # noqa: ARG002
    ) -> Iterator[Any]:
        """The object of a path first, then its children; lazy."""
        parts = [part for part in pathutils.strip_path(path).split("/") if part]
        if parts and parts[0] != USER:
            return
        if len(parts) < 2:
            yield Collection("/".join(parts), None)
            if depth != "0":
                yield from self._children(parts)
            return
        known = visit().collections.get(parts[1])
        if known is None:
            return
        collection = Collection(f"{USER}/{known.id}", known)
        if len(parts) == 2:
            yield collection
            if depth != "0":
                yield from collection.get_all()
            return
        found = dict(collection.get_multi([parts[2]]))[parts[2]]
        if found is not None:
            yield found

    @staticmethod
    def _children(parts: Sequence[str]) -> Iterator[Collection]:
        if not parts:
            yield Collection(USER, None)
            return
        for known in visit().collections.values():
            yield Collection(f"{USER}/{known.id}", known)

    def create_collection(self, href: str, items: Any = None, props: Mapping[str, str] | None = None) -> Any:
        """Make an address book or a calendar."""
        given = props or {}
        if items:
            raise ValueError("a collection is not made with resources in it")
        kind = {"VCALENDAR": "calendar", "VADDRESSBOOK": "book"}.get(given.get("tag", ""))
        if kind is None:
            raise ValueError("only address books and calendars are made here")
        ours, dead = _split(given)
        id = pathutils.strip_path(href).rpartition("/")[2]
        known = visit().instance.pim.make("calendar" if kind == "calendar" else "book", ours, id=id, dead=dead)
        return Collection(f"{USER}/{known.id}", known), {}, []

    def move(self, item: Any, to_collection: Any, to_href: str) -> None:
        """Move a resource."""
        visit().instance.pim.move(item.collection.known, item.href, to_collection.known, to_href, overwrite=True)

    @contextlib.contextmanager
    def acquire_lock(self, mode: str, user: str = "", *arguments: Any, **more: Any) -> Iterator[None]:  # noqa: ARG002
        """Each change is one commit: nothing to lock here."""
        yield

    def verify(self) -> bool:
        """`cozyd` checks its own data."""
        return True


def _meta(known: PimCollection) -> dict[str, str]:
    """Properties by Radicale's names."""
    meta = dict(known.dead)
    meta["tag"] = "VCALENDAR" if known.kind == "calendar" else "VADDRESSBOOK"
    for name, ours in _PROPERTIES.items():
        if (
            ours in known.props
            and (not name.startswith("CR:") or known.kind == "book")
            and (not name.startswith("C:") or known.kind == "calendar")
        ):
            meta[name] = known.props[ours]
    if known.kind == "calendar":
        meta["C:supported-calendar-component-set"] = ",".join(known.components)
    meta.setdefault("D:displayname", {"contacts": "Contacts", "calendar": "Calendar"}.get(known.id, known.id))
    return meta


def _split(props: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Properties that mean something to us, and the others."""
    ours = {_PROPERTIES[name]: value for name, value in props.items() if name in _PROPERTIES}
    if "components" in ours:
        ours["components"] = ours["components"].replace(",", " ")
    return ours, {name: value for name, value in props.items() if name not in _PROPERTIES and name != "tag"}


def _seconds(text: str | None, default: int) -> int:
    return int(read_time(text).timestamp()) if text else default
