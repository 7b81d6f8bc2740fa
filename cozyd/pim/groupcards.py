"""`io.cozy.contacts.groups` <-> cards of groups (pure; RFC 6350 KIND and MEMBER, Apple's X-ADDRESSBOOKSERVER-*)."""

from cozyd.documents.store import Doc, Stored
from cozyd.pim.content import Component, Line, escape, make, parts, unescape
from cozyd.pim.fields import text_of
from cozyd.pim.related import bare

KINDS, MEMBERS = ("KIND", "X-ADDRESSBOOKSERVER-KIND"), ("MEMBER", "X-ADDRESSBOOKSERVER-MEMBER")


def is_group(card: Component) -> bool:
    """Whether a card is of a group."""
    return any(line.value.strip().lower() == "group" for name in KINDS for line in card.all(name))


def name_of(card: Component) -> str:
    """What the group is called."""
    return unescape(card.value("FN")).strip() or unescape(parts(card.value("N"))[0]).strip()


def members_of(card: Component) -> list[str]:
    """The UIDs of its members, sorted, each once."""
    return sorted({bare(line.value) for line in _lines(card) if bare(line.value)})


def read(card: Component) -> Doc:
    """What a card says that JSON can change."""
    return {"name": name_of(card), "members": members_of(card)}


def now(stored: Stored) -> Doc:
    """The same of a group as it is."""
    private = stored.private
    uids = {*(private.get("members") or {}).values(), *(private.get("waiting") or ())}
    return {"name": text_of(stored.doc.get("name")).strip(), "members": sorted(uids)}


def patch(card: Component, wanted: Doc) -> None:
    """Have another name and other members; lines that are right stay."""
    before = name_of(card)
    if wanted["name"] != before:
        _rename(card, before, wanted["name"])
    left = set(wanted["members"])
    for line in _lines(card):
        if bare(line.value) in left:
            left.discard(bare(line.value))
        else:
            card.remove(line)
    name = MEMBERS[0] if card.get(KINDS[0]) is not None else MEMBERS[1]
    for uid in sorted(left):
        card.insert(make(name, f"urn:uuid:{uid}"), after=MEMBERS)


def create(uid: str, wanted: Doc) -> bytes:
    """A card for a group that an app has made: of version 3.0, as Apple has it."""
    name = escape(wanted["name"] or "?")
    lines = (make("BEGIN", "VCARD"), make("VERSION", "3.0"), make("UID", escape(uid)), make("FN", name), make("N", f"{name};;;;"))
    members = [make(MEMBERS[1], f"urn:uuid:{one}") for one in wanted["members"]]
    return b"".join(line.raw for line in (*lines, make(KINDS[1], "group"), *members, make("END", "VCARD")))


def _lines(card: Component) -> list[Line]:
    return [line for line in card.lines if line.name in MEMBERS]


def _rename(card: Component, before: str, name: str) -> None:
    shown, structured = card.get("FN"), card.get("N")
    card.set("FN", shown.with_value(escape(name)) if shown is not None else make("FN", escape(name)), after=("VERSION",))
    if structured is not None and unescape(parts(structured.value)[0]).strip() == before:
        card.replace(structured, structured.with_value(";".join([escape(name), *parts(structured.value)[1:]])))
