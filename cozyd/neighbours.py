"""Calendars and address books shared with other people of the same server: by reference, never as a copy (decisions/0064).

A share is one `io.cozy.sharings` document with the same id on both sides, as sharings between servers have it: rules, members. The
owner's is what counts: it is read at every request, so that what she takes back is gone at the next one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from cozyd.documents.store import Doc, Map, Ref, Stored, Write
from cozyd.errors import CozyError, Forbidden, Invalid, NotFound
from cozyd.instance import Instance
from cozyd.permissions import ACTIONS, Action, Principal, Rule
from cozyd.pim import Collection
from cozyd.pim.collections import DOCTYPE, SYNC
from cozyd.pim.subscriptions import Subscriptions, Touch
from cozyd.pim.times import utc_text

SHARINGS = "io.cozy.sharings"
MOST = 90
"""Members of one collection, and collections of one member."""
Locate = Callable[[str], Instance]


@dataclass(frozen=True, slots=True)
class Given:
    """What she has shared.

    :param member: domain of whom with.
    """

    id: str
    collection: str
    member: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What somebody shares with her.

    :param principal: she, with what the share allows in the owner's instance, and nothing else.
    :param own: how she has it named and coloured.
    """

    id: str
    owner: Instance
    collection: str
    principal: Principal
    own: Stored

    def may(self, action: Action, collection: Collection) -> bool:
        """Whether the share allows it: by the one function that decides it of everybody."""
        try:
            self.principal.check(action, DOCTYPE[collection.kind], {"_id": collection.id})
        except Forbidden:
            return False
        return True


def share(owner: Instance, member: Instance, collection: Collection, *, read_only: bool) -> str:
    """Share a collection; with whom it is shared already, the right is changed.

    :returns: the share's id.
    :raises Invalid: with herself, or with very many.
    """
    if owner.prefix == member.prefix:
        raise Invalid("This is yours already", source="member")
    known = next((one for one in given(owner) if (one.collection, one.member) == (collection.id, member.domain)), None)
    if known is None and (len(given(owner)) >= MOST * 10 or len(_mine(member)) >= MOST):
        raise Invalid("There are very many shares already", source="member")
    body = _body(owner, member, collection, read_only=read_only)
    ref = Ref(SHARINGS, known.id if known is not None else owner.docs.new_id())
    for side, fields, private in ((owner, {"owner": True}, {"member": member.prefix}), (member, {}, {})):
        _write(side, ref, body | fields, private)
    return ref.id


def _body(owner: Instance, member: Instance, collection: Collection, *, read_only: bool) -> Doc:
    name = collection.props.get("name") or collection.id
    changes = "none" if read_only else "sync"
    rule = {"title": name, "doctype": DOCTYPE[collection.kind], "values": [collection.id], "add": changes, "update": changes}
    people = [
        {"status": "owner", "public_name": owner.public_name(), "instance": owner.url("").rstrip("/")},
        {"status": "ready", "public_name": member.public_name(), "instance": member.url("").rstrip("/"), "read_only": read_only},
    ]
    now = utc_text(owner.now())
    return {
        "active": True,
        "by_reference": True,
        "description": name,
        "rules": [rule | {"remove": changes}],
        "members": people,
        "created_at": now,
        "updated_at": now,
    }


def _write(side: Instance, ref: Ref, body: Doc, private: Map) -> None:
    def write() -> None:
        old = side.docs.get_many(ref.doctype, [ref.id])[0]
        kept = {"created_at": old.doc["created_at"]} if old is not None else {}
        data = {**(old.private if old is not None else {}), **private}
        side.docs.commit([Write(ref, body=body | kept, rev=old.rev if old is not None else None, private=data)])

    side.docs.retry(write)


def given(owner: Instance) -> Sequence[Given]:
    """What she shares."""
    return [
        Given(one.ref.id, one.doc["rules"][0]["values"][0], _domain(one.doc["members"][1]), one.doc["members"][1].get("read_only") is True)
        for one in _mine(owner)
        if one.doc.get("owner") is True
    ]


def taken(locate: Locate, member: Instance) -> Sequence[Taken]:
    """What is shared with her now."""
    found = []
    for one in _mine(member):
        try:
            found.append(_taken(locate, member, one))
        except NotFound:
            continue
    return found


def shared_id(share: str) -> str:
    """The id that a shared collection has in a member's home."""
    return f"shared-{share}"


def concerned(locate: Locate, domain: str, touched: Sequence[Touch]) -> Iterator[tuple[Subscriptions, Sequence[Touch]]]:
    """The members who have what an owner has changed, and what of theirs it is; nobody, while she is still being made."""
    try:
        owner = locate(domain)
    except NotFound:
        return
    changed = {one.collection for one in touched}
    for one in given(owner):
        if one.collection not in changed:
            continue
        id = shared_id(one.id)
        try:
            member, token = locate(one.member), owner.pim.collection(one.collection).token
        except CozyError:
            continue
        told = f"{SYNC}{id}/{token}"
        yield member.subscriptions, [replace(touch, collection=id, token=told) for touch in touched if touch.collection == one.collection]


def find(locate: Locate, member: Instance, id: str) -> Taken:
    """One share with her.

    :raises NotFound: there is none, or the owner took it back.
    """
    stored = member.docs.get(Ref(SHARINGS, id))
    if stored.doc.get("by_reference") is not True:
        raise NotFound("There is no such share")
    return _taken(locate, member, stored)


def _taken(locate: Locate, member: Instance, own: Stored) -> Taken:
    if own.doc.get("owner") is True:
        raise NotFound("It is her own")
    try:
        owner = locate(_domain(own.doc["members"][0]))
    except CozyError as cause:
        raise NotFound("The owner is not here any more") from cause
    if owner.doc.get("blocked") is True or owner.doc.get("deleting") is True:
        raise NotFound("The owner is not served now")
    truth = owner.docs.get(Ref(SHARINGS, own.ref.id))
    if truth.doc.get("owner") is not True or truth.doc.get("active") is not True or truth.private.get("member") != member.prefix:
        raise NotFound("There is no such share")
    rule, person = truth.doc["rules"][0], truth.doc["members"][1]
    actions: frozenset[Action] = frozenset(("GET",)) if person.get("read_only") is True else ACTIONS
    allowed = Rule("share", rule["doctype"], actions, None, tuple(rule["values"]))
    return Taken(own.ref.id, owner, rule["values"][0], Principal("link", own.ref.id, (allowed,)), own)


def revoke(locate: Locate, owner: Instance, id: str) -> None:
    """Take back what she shares: it counts from the next request of the other on.

    :raises NotFound: she shares no such thing.
    """
    stored = owner.docs.get(Ref(SHARINGS, id))
    if stored.doc.get("owner") is not True or stored.doc.get("by_reference") is not True:
        raise NotFound("There is no such share")
    owner.docs.delete(stored.ref, stored.rev)
    try:
        member = locate(_domain(stored.doc["members"][1]))
    except CozyError:
        return
    _drop(member, id)


def leave(member: Instance, id: str) -> None:
    """Take a share out of one's own list; the owner may share it again.

    :raises NotFound: there is no such share.
    """
    stored = member.docs.get(Ref(SHARINGS, id))
    if stored.doc.get("owner") is True or stored.doc.get("by_reference") is not True:
        raise NotFound("There is no such share")
    member.docs.delete(stored.ref, stored.rev)


def _drop(side: Instance, id: str) -> None:
    stored = side.docs.get_many(SHARINGS, [id])[0]
    if stored is not None and stored.doc.get("owner") is not True:
        side.docs.delete(stored.ref, stored.rev)


def name_own(member: Instance, taken: Taken, props: Map, dead: Map | None) -> None:
    """Have another name or color for it, for oneself alone."""

    def write() -> None:
        stored = member.docs.get(taken.own.ref)
        private = dict(stored.private)
        private["props"] = {**(private.get("props") or {}), **props}
        if dead is not None:
            private["dead"] = dict(dead)
        member.docs.commit([Write(stored.ref, patch={}, rev=stored.rev, private=private)])

    member.docs.retry(write)


def _mine(instance: Instance) -> list[Stored]:
    try:
        return [one for one in instance.docs.all(SHARINGS).rows if one.doc.get("by_reference") is True]
    except NotFound:
        return []


def _domain(person: Map) -> str:
    return urlsplit(str(person["instance"])).netloc
