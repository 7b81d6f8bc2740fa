"""RELATED of a card of 4.0 <-> `relationships.related` of a contact: who is whose friend, child, colleague (RFC 6350, section 6.6.6).

A card names people by their UIDs, a contact by their ids. So that the text is a function of the document alone, the UIDs lie in its
private data: `related`, {id: UID}. A card of 3.0 has no such property: there people are JSON's alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cozyd.documents.store import Doc, Map, Stored
from cozyd.pim.content import Component, Line, make
from cozyd.pim.fields import items_of, look, text_of
from cozyd.pim.record import CONTACTS, record_of

_URN = "urn:uuid:"
_TOKENS = {
    "coResident": "co-resident",
    "coWorker": "co-worker",
} | {name: name for name in ("parent", "child", "sibling", "spouse", "friend", "colleague", "acquaintance")}
_NAMES = {token: name for name, token in _TOKENS.items()}
OTHER = "related"
"""The type of those that a card has no word for, or JSON has none."""


class Look(Protocol):
    """What has to be read: a part of the document store."""

    def get_many(self, doctype: str, ids: Sequence[str]) -> Sequence[Stored | None]:
        """See `DocumentStore`."""


def bare(uid: str) -> str:
    """A UID without the prefix that references have."""
    text = uid.strip()
    return text[len(_URN) :] if text.lower().startswith(_URN) else text


def is_said(card: Component) -> bool:
    """Whether cards of this version say who is related."""
    return card.value("VERSION").strip() == "4.0"


def uids_of(card: Component) -> dict[str, list[str]]:
    """UID -> types of the people that a card names, each once."""
    found: dict[str, list[str]] = {}
    for line in _lines(card):
        found.setdefault(bare(line.value), _types(line))
    return found


def people_of(doc: Mapping[str, Any], private: Map) -> Doc | None:
    """What a card says of them: UID -> tokens; None of nobody."""
    uids: Map = private.get("related") or {}
    items = [(uids[id], item) for item in items_of(look(doc, "relationships.related.data")) if (id := text_of(item.get("_id"))) in uids]
    return {uid: _tokens(_names(item)) for uid, item in items if uid} or None


def write(card: Component, wanted: Mapping[str, Sequence[str]], known: Sequence[str]) -> None:
    """Have these people; lines that are right stay, and so do those of people nobody here knows.

    :param known: UIDs of all that are, or were, contacts here.
    """
    left = dict(wanted)
    for line in _lines(card):
        uid = bare(line.value)
        tokens = left.pop(uid, None)
        if tokens is None and (uid in known or uid in wanted):
            card.remove(line)
        elif tokens is not None and _tokens(_types(line)) != list(tokens):
            card.replace(line, line.with_parameter("TYPE", tokens))
    for uid, tokens in left.items():
        card.insert(make("RELATED", f"{_URN}{uid}", (("TYPE", tuple(tokens)),) if tokens else ()), after=("RELATED",))


def linked(doc: Doc, people: Mapping[str, tuple[str, Sequence[str]]], private: Map) -> dict[str, Any] | None:
    """`relationships.related` after a card has named these; those whom no card could name stay. None: there is none.

    :param people: id -> UID and types.
    """
    known: Map = private.get("related") or {}
    old = look(doc, "relationships.related")
    found = []
    for item in items_of(look(doc, "relationships.related.data")):
        id = text_of(item.get("_id"))
        if id not in people and known.get(id):
            continue
        same = id not in people or _tokens(_names(item)) == _tokens(people[id][1])
        found.append(item if same else item | _typed(item, people[id][1]))
    there = {item.get("_id") for item in found}
    found += [{"_id": id, "_type": CONTACTS, **_typed({}, types)} for id, (_, types) in people.items() if id not in there]
    return {**old, "data": found} if isinstance(old, Mapping) else {"data": found} if found else None


def missing(doc: Mapping[str, Any], private: Map, look_up: Look) -> dict[str, str]:
    """UIDs of people that a contact names and its private data do not."""
    known = private.get("related") or {}
    data = items_of(look(doc, "relationships.related.data"))
    ids = list(dict.fromkeys(id for item in data if (id := text_of(item.get("_id"))) and id not in known))
    found = [one for one in look_up.get_many(CONTACTS, ids) if one is not None] if ids else []
    return {one.ref.id: bare(text_of(record_of(one).get("uid")) or one.ref.id) for one in found}


# -- inside -------------------------------------------------------------------------------------------------------------


def _lines(card: Component) -> list[Line]:
    return [line for line in card.all("RELATED") if line.value.strip().lower().startswith(_URN) and line.first("VALUE").lower() != "text"]


def _types(line: Line) -> list[str]:
    return sorted({_NAMES.get(token, OTHER) for token in line.types - {""}}) or [OTHER]


def _names(item: Mapping[str, Any]) -> list[str]:
    found = look(item, "metadata.relationTypes")
    return [text_of(one) for one in found] if isinstance(found, list) else []


def _tokens(names: Sequence[str]) -> list[str]:
    return sorted({_TOKENS[name] for name in names if name in _TOKENS})


def _typed(item: Mapping[str, Any], types: Sequence[str]) -> dict[str, Any]:
    metadata = item.get("metadata")
    return {"metadata": {**(metadata if isinstance(metadata, Mapping) else {}), "relationTypes": list(types)}}
