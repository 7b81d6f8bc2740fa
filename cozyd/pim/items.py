"""The lists of a contact (mails, phones, addresses, chats, sites) and the lines of a card (pure).

A changed item rewrites only what differs in its own line; an unknown parameter, the group and the place stay. Items are
paired with lines by their value, then by type and label, then by order (docs/pim.md).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim.contact import label_of
from cozyd.pim.content import Component, Line, escape, make, unescape
from cozyd.pim.fields import items_of, text_of, tidy

MOST_ITEMS = 1000
_APPLE_LABEL = re.compile(r"_\$!<(.*)>!\$_$")
_APPLE_LABELS = {"home": ("", "home"), "work": ("", "work"), "mobile": ("cell", ""), "homefax": ("fax", "home"), "workfax": ("fax", "work")}


@dataclass(frozen=True, slots=True)
class Kind:
    """One list of a contact.

    :param name: the property's name; `others`: of properties that are read too, and never written anew.
    :param read: from a line to the item's own keys.
    :param write_value: from an item, and the line it had, to the property's value.
    :param canonical: what items are compared by.
    :param change: a line, and what goes with it in the card, after the item's own keys have changed; the line itself where none has.
    :param merge: an item of a card with what only JSON says of the same one.
    :param mine: whether a line of this name belongs to this list.
    :param types: whether items are of a type: `cell`, `voice`, `fax`.
    :param mark: the label that all items of the list have in a card.
    """

    name: str
    read: Callable[[Component, Line], Doc]
    write_value: Callable[[Doc, Line | None], str]
    canonical: Callable[[Doc], str]
    change: Callable[[Component, Line, Doc], Line]
    merge: Callable[[Doc, Doc], Doc]
    others: tuple[str, ...] = ()
    mine: Callable[[Component, Line], bool] = lambda _card, _line: True
    types: bool = False
    mark: str = ""


def read(card: Component, kind: Kind) -> list[Doc] | None:
    """The items of a card, the primary one first."""
    lines = _lines(card, kind)[:MOST_ITEMS]
    if not lines:
        return None
    found = [_item(card, kind, line) for line in lines]
    first = _primary(lines)
    found[first]["primary"] = True
    found.insert(0, found.pop(first))
    return found


def merged(kind: Kind, old: Any, new: list[Doc] | None) -> list[Doc] | None:
    """The items of a card with what the same items had before that no card says."""
    if not new or not isinstance(old, list):
        return new
    left = {kind.canonical(item): item for item in reversed(items_of(old))}
    return [kind.merge(item, left.pop(kind.canonical(item), {})) for item in new]


def plain_merge(item: Doc, old: Doc) -> Doc:
    """Keys that the card does not have stay."""
    return {key: value for key, value in old.items() if key not in ("type", "label", "primary")} | item


def write(card: Component, kind: Kind, value: Any) -> None:
    """Change the lines of a list so that they give these items."""
    wanted = [item for item in items_of(value) if kind.write_value(item, None).strip(";")]
    lines = _lines(card, kind)
    paired = _pair([_item(card, kind, line) for line in lines], wanted, kind)
    for number, line in enumerate(lines):
        if number not in paired.values():
            _delete(card, line)
    for number, item in enumerate(wanted):
        if number in paired:
            _change(card, kind, lines[paired[number]], item)
        else:
            _add(card, kind, item)
    _mark_primary(card, kind, wanted)


# -- lines and items ----------------------------------------------------------------------------------------------------


def _lines(card: Component, kind: Kind) -> list[Line]:
    lines = card.all(kind.name) if not kind.others else [line for line in card.lines if line.name == kind.name or line.name in kind.others]
    return [line for line in lines if kind.mine(card, line) and kind.canonical(kind.read(card, line))]


def _item(card: Component, kind: Kind, line: Line) -> Doc:
    item = kind.read(card, line) | _labels(card, kind, line) | {"primary": False}
    return dict(tidy(item) or {})


def _labels(card: Component, kind: Kind, line: Line) -> Doc:
    """`type` and `label` of a line: of its own label, else of its TYPE tokens."""
    own = own_label(card, line)
    types = line.types
    kind_of_phone = ("cell" if types & {"cell", "iphone"} else "fax" if "fax" in types else "voice") if kind.types else ""
    if own:
        known = _APPLE_LABEL.match(own)
        if known is None:
            return {"type": own, "label": label_of(own)}
        phone, label = _APPLE_LABELS.get(known.group(1).lower(), ("", ""))
        return {"type": phone or kind_of_phone, "label": label or ("work" if "work" in types else "home" if "home" in types else "")}
    label = "work" if "work" in types else "home" if "home" in types or kind.types else ""
    return {"type": kind_of_phone, "label": label}


def own_label(card: Component, line: Line) -> str:
    """What `itemN.X-ABLabel` says of a line, empty where there is none."""
    found = _label_line(card, line)
    return unescape(found.value).strip() if found is not None else ""


def _label_line(card: Component, line: Line) -> Line | None:
    if not line.group:
        return None
    return next((one for one in card.all("X-ABLABEL") if one.group.lower() == line.group.lower()), None)


def _primary(lines: Sequence[Line]) -> int:
    """Which line is preferred: the lowest PREF, TYPE=pref, else the first."""
    ranks = []
    for number, line in enumerate(lines):
        pref = line.first("PREF")
        ranks.append((int(pref) if pref.isascii() and pref.isdigit() and len(pref) < 10 else 1 if "pref" in line.types else 1000, number))
    return min(ranks)[1]


# -- changing -----------------------------------------------------------------------------------------------------------


def _pair(old: Sequence[Doc], new: Sequence[Doc], kind: Kind) -> dict[int, int]:
    """Number of a wanted item -> number of its line."""
    paired: dict[int, int] = {}

    def match(same: Callable[[Doc, Doc], bool]) -> None:
        for number, item in enumerate(new):
            if number in paired:
                continue
            for place, known in enumerate(old):
                if place not in paired.values() and same(item, known):
                    paired[number] = place
                    break

    match(lambda item, known: kind.canonical(item) == kind.canonical(known))
    match(lambda item, known: (item.get("type"), item.get("label")) == (known.get("type"), known.get("label")))
    left_new = [number for number in range(len(new)) if number not in paired]
    left_old = [place for place in range(len(old)) if place not in paired.values()]
    if len(left_new) == len(left_old):
        paired.update(zip(left_new, left_old, strict=True))
    return paired


def _change(card: Component, kind: Kind, line: Line, item: Doc) -> None:
    before = _item(card, kind, line)
    changed = kind.change(card, line, item)
    wanted = {"type": text_of(item.get("type")), "label": text_of(item.get("label"))}
    if not kind.mark and wanted != {"type": text_of(before.get("type")), "label": text_of(before.get("label"))}:
        changed = _relabel(card, kind, changed, wanted, before)
    if changed is not line:
        card.replace(line, changed)


def label_as(card: Component, line: Line, text: str) -> None:
    """Give a line of no group a label of its own."""
    group = _free_group(card)
    named = line.with_group(group)
    card.replace(line, named)
    card.insert(make("X-ABLabel", escape(text), group=group), after=(line.name,))


def _relabel(card: Component, kind: Kind, line: Line, wanted: Mapping[str, str], before: Doc) -> Line:
    """Give a line another type and label."""
    label_line = _label_line(card, line)
    custom = bool(wanted["type"]) and not (kind.types and wanted["type"] in ("cell", "voice", "fax"))
    if custom:
        if label_line is not None:
            card.replace(label_line, label_line.with_value(escape(wanted["type"])))
            return line
        group = line.group or _free_group(card)
        card.insert(make("X-ABLabel", escape(wanted["type"]), group=group), after=(kind.name,))
        return line.with_group(group)
    if label_line is not None and wanted["type"] != text_of(before.get("type")):
        card.remove(label_line)
    tokens = [token for token in _tokens(line) if token.lower() not in ("home", "work", "cell", "iphone", "fax", "voice")]
    return line.with_parameter("TYPE", [*_new_tokens(kind, wanted), *tokens])


def _tokens(line: Line) -> list[str]:
    return [token for value in line.values("TYPE") for token in value.split(",")]


def _new_tokens(kind: Kind, item: Mapping[str, Any]) -> list[str]:
    tokens = []
    if kind.types and item.get("type") in ("cell", "fax", "voice"):
        tokens.append(str(item["type"]).upper())
    if item.get("label") in ("home", "work"):
        tokens.append(str(item["label"]).upper())
    return tokens


def _add(card: Component, kind: Kind, item: Doc) -> None:
    tokens = _new_tokens(kind, item)
    line = make(kind.name, kind.write_value(item, None), (("TYPE", tuple(tokens)),) if tokens else ())
    type_ = text_of(item.get("type"))
    named = type_ if type_ and not (kind.types and type_ in ("cell", "voice", "fax")) else kind.mark
    group = _free_group(card) if named else ""
    line = line.with_group(group)
    card.insert(line, after=(kind.name,))
    if named:
        card.insert(make("X-ABLabel", escape(named), group=group), after=(kind.name,))
    added = kind.change(card, line, item)
    if added is not line:
        card.replace(line, added)


def _delete(card: Component, line: Line) -> None:
    group = line.group.lower()
    others = [one for one in card.lines if one.group.lower() == group and one.name.startswith("X-AB")] if group else []
    card.remove(line, *others)


def _free_group(card: Component) -> str:
    taken = {line.group.lower() for line in card.lines}
    number = 1
    while f"item{number}" in taken:
        number += 1
    return f"item{number}"


def _mark_primary(card: Component, kind: Kind, wanted: Sequence[Doc]) -> None:
    """Move the mark of the preferred line, when another item is primary now."""
    chosen = next((item for item in wanted if item.get("primary") is True), None)
    lines = _lines(card, kind)
    if chosen is None or not lines:
        return
    target = next((n for n, line in enumerate(lines) if kind.canonical(kind.read(card, line)) == kind.canonical(chosen)), None)
    if target is None or _primary(lines) == target:
        return
    version4 = card.value("VERSION").strip() == "4.0"
    for number, line in enumerate(lines):
        plain = line.with_parameter("PREF", ()) if line.first("PREF") else line
        tokens = [token for token in _tokens(plain) if token.lower() != "pref"]
        if "pref" in plain.types:
            plain = plain.with_parameter("TYPE", tokens)
        if number == target:
            plain = plain.with_parameter("PREF", ("1",)) if version4 else plain.with_parameter("TYPE", [*tokens, "PREF"])
        if plain is not line:
            card.replace(line, plain)
