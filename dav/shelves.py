"""The address books and calendars of a visitor: her own, and those that others of this server share with her (decisions/0064).

A shared one has an id of its own here, and every call for it goes to the owner's room, after the share was looked at again. A call for
an id that is none of hers finds nothing: no request reads the one person's collection with the other's id.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cozyd import neighbours
from cozyd.documents.store import Map, Row
from cozyd.errors import CozyError, Forbidden, NotFound
from cozyd.instance import Instance
from cozyd.pim import Collection, Kind, Pim

_SHARED = re.compile(r"shared-([0-9a-f]{32})")


def is_shared(id: str) -> bool:
    """Whether an id is one that only shared collections have."""
    return _SHARED.fullmatch(id) is not None


class Shelves:
    """What `Pim` does, over both kinds; see there for arguments and errors.

    :param locate: finds the other people of the server.
    """

    def __init__(self, instance: Instance, locate: neighbours.Locate) -> None:
        self._instance = instance
        self._own: Pim = instance.pim
        self._locate = locate

    def collections(self) -> Sequence[Collection]:
        """Her own, then those of others."""
        found = list(self._own.collections())
        for taken in neighbours.taken(self._locate, self._instance):
            try:
                found.append(_seen(taken, _origin(taken)))
            except NotFound:  # the owner has removed the collection
                continue
        return found

    def collection(self, id: str) -> Collection:
        """One by id."""
        taken = self._taken(id)
        return _seen(taken, _origin(taken)) if taken is not None else self._own.collection(id)

    def has(self, id: str) -> bool:
        """Whether there is one of this id, or only others could have it."""
        return is_shared(id) or self._own.has(id)

    def make(self, kind: Kind, props: Map, *, id: str, dead: Map | None = None) -> Collection:
        """Make one of her own."""
        return self._own.make(kind, props, id=id, dead=dead)

    def change(self, collection: Collection, props: Map, *, dead: Map | None = None) -> None:
        """Change properties: of a shared one for her alone."""
        taken = self._taken(collection.id)
        if taken is None:
            self._own.change(collection, props, dead=dead)
        else:
            neighbours.name_own(self._instance, taken, props, dead)

    def remove(self, collection: Collection) -> None:
        """Remove a collection of hers, or have a shared one no more."""
        taken = self._taken(collection.id)
        if taken is None:
            self._own.remove(collection)
        else:
            neighbours.leave(self._instance, taken.id)

    def rows(self, collection: Collection, *, hidden: bool = False, **asked: Any) -> Sequence[Row]:
        """Rows without texts.

        :param hidden: with the private events of a shared calendar; else they are gone for her (docs/dav.md).
        """
        pim, origin = self._at(collection)
        rows = pim.rows(origin, **asked)
        if hidden or not is_shared(collection.id):
            return rows
        if asked.get("since"):
            return [row._replace(gone=True, value=None) if _is_private(row) else row for row in rows]
        return [row for row in rows if not _is_private(row)]

    def words(self, collection: Collection, *asked: Any) -> Mapping[str, Map | None]:
        """Words by href."""
        pim, origin = self._at(collection)
        return pim.words(origin, *asked)

    def texts(self, collection: Collection, rows: Sequence[Row]) -> Mapping[str, bytes]:
        """Texts by href of rows of this collection."""
        return self._at(collection)[0].texts(rows)

    def exported(self, collection: Collection) -> bytes:
        """All of one, as one file."""
        pim, origin = self._at(collection)
        return pim.exported([origin], private=not is_shared(collection.id))

    def put(self, collection: Collection, href: str, raw: bytes, *, match: str | None) -> Row:
        """Store a text under an href."""
        pim, origin = self._at(collection, writing=True, href=href)
        return pim.put(origin, href, raw, match=match)

    def add_all(self, collection: Collection, raw: bytes) -> Sequence[tuple[str, Row | CozyError]]:
        """Store the objects of a file."""
        pim, origin = self._at(collection, writing=True)
        return pim.add_all(origin, raw)

    def delete(self, collection: Collection, href: str, *, match: str | None) -> None:
        """Remove what is under an href."""
        pim, origin = self._at(collection, writing=True, href=href)
        pim.delete(origin, href, match=match)

    def move(self, collection: Collection, href: str, to: Collection, name: str, *, overwrite: bool, match: str | None) -> Row:
        """Move a resource; from one person to another it is put there, and then removed here."""
        pim, origin = self._at(collection, writing=True, href=href)
        other, target = self._at(to, writing=True, href=name)
        if other is pim:
            return pim.move(origin, href, target, name, overwrite=overwrite, match=match)
        rows = pim.rows(origin, hrefs=[href])
        if not rows:
            raise NotFound("There is no such resource")
        row = other.put(target, name, pim.texts(rows)[href], match=None if overwrite else "")
        pim.delete(origin, href, match=match or rows[0].value["etag"])
        return row

    def _at(self, collection: Collection, *, writing: bool = False, href: str = "") -> tuple[Pim, Collection]:
        """The room that has a collection, and what the collection is there.

        :param href: what is written there.
        """
        taken = self._taken(collection.id)
        if taken is None:
            return self._own, collection
        origin = _origin(taken)
        if writing and not taken.may("PUT", origin):
            raise Forbidden("It is shared to be read only", source="need-privileges")
        if href and any(map(_is_private, taken.owner.pim.rows(origin, hrefs=[href]))):
            raise Forbidden("This name is taken by something private", source="need-privileges")
        return taken.owner.pim, origin

    def _taken(self, id: str) -> neighbours.Taken | None:
        found = _SHARED.fullmatch(id)
        return neighbours.find(self._locate, self._instance, found[1]) if found is not None else None


def _is_private(row: Row) -> bool:
    return not row.gone and row.value.get("private") is True


def _origin(taken: neighbours.Taken) -> Collection:
    """The collection as its owner has it.

    :raises NotFound: it is gone, or may not be read.
    """
    found = taken.owner.pim.collection(taken.collection)
    if not taken.may("GET", found):
        raise NotFound("There is no such collection")
    return found


def _seen(taken: neighbours.Taken, origin: Collection) -> Collection:
    """The same as she sees it: under its id here, with her own name and color where she has given it some."""
    shown = origin.props.get("name") or {"contacts": "Contacts", "calendar": "Calendar"}.get(origin.id, origin.id)
    props = {**origin.props, "name": f"{shown} ({taken.owner.public_name()})", **(taken.own.private.get("props") or {})}
    return replace(
        origin,
        id=neighbours.shared_id(taken.id),
        props={name: text for name, text in props.items() if text not in ("", None)},
        dead=taken.own.private.get("dead") or {},
        read_only=origin.read_only or not taken.may("PUT", origin),
        owner=taken.owner.url("/sync/dav/me/"),
    )
