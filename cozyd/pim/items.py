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
from cozyd.pim.content import Component, Line, escape, make, parts, unescape, uri_of
from cozyd.pim.fields import items_of, text_of, tidy

MOST_ITEMS = 1000
_APPLE_LABEL = re.compile(r"_\$!<(.*)>!\$_$")
_APPLE_LABELS = {"home": ("", "home"), "work": ("", "work"), "mobile": ("cell", ""), "homefax": ("fax", "home"), "workfax": ("fax", "work")}
_ADR_PARTS = ("pobox", "apartment", "street", "city", "region", "code", "country")


@dataclass(frozen=True, slots=True)
class Kind:
    """One list of a contact.

    :param name: the property's name.
    :param value: the key an item is known by.
    :param read_value: from a line to the item's own keys.
    :param write_value: from an item, and the line it had, to the property's value.
    :param canonical: what items are compared by.
    :param mine: whether a line of this name belongs to this list.
    """

    name: str
    value: str
    read_value: Callable[[Line], Doc]
    write_value: Callable[[Doc, Line | None], str]
    canonical: Callable[[Doc], str]
    mine: Callable[[Component, Line], bool] = lambda _card, _line: True
    types: bool = False


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
    return [line for line in card.all(kind.name) if kind.mine(card, line) and kind.canonical(kind.read_value(line))]


def _item(card: Component, kind: Kind, line: Line) -> Doc:
    item = kind.read_value(line) | _labels(card, kind, line) | {"primary": False}
    return dict(tidy(item) or {})


def _labels(card: Component, kind: Kind, line: Line) -> Doc:
    """`type` and `label` of a line: of its own label, else of its TYPE tokens."""
    own = _own_label(card, line)
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


def _own_label(card: Component, line: Line) -> str:
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
        ranks.append((int(pref) if pref.isdigit() else 1 if "pref" in line.types else 1000, number))
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
    changed = line
    if tidy(kind.read_value(line)) != tidy({key: item.get(key) for key in kind.read_value(line)} | _own(kind, item)):
        changed = changed.with_value(kind.write_value(item, line))
        if kind is ADR:  # what was printed on an envelope is of the old address
            changed = changed.with_parameter("LABEL", ())
            card.remove(*(one for one in card.all("LABEL") if one.types - {"pref"} == line.types - {"pref"}))
    wanted = {"type": text_of(item.get("type")), "label": text_of(item.get("label"))}
    if wanted != {"type": text_of(before.get("type")), "label": text_of(before.get("label"))}:
        changed = _relabel(card, kind, changed, wanted, before)
    if changed is not line:
        card.replace(line, changed)


def _own(kind: Kind, item: Doc) -> Doc:
    """The keys of an item that its line's value carries."""
    names = {"EMAIL": ("address",), "TEL": ("number",), "IMPP": ("uri", "protocol"), "URL": ("url",)}
    return {name: item.get(name) for name in names.get(kind.name, (*_ADR_PARTS, "number", "formattedAddress", "extendedAddress"))}


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
    if type_ and not (kind.types and type_ in ("cell", "voice", "fax")):
        group = _free_group(card)
        line = line.with_group(group)
        card.insert(line, after=(kind.name,))
        card.insert(make("X-ABLabel", escape(type_), group=group), after=(kind.name,))
        return
    if kind is COZY:
        group = _free_group(card)
        card.insert(line.with_group(group), after=(kind.name,))
        card.insert(make("X-ABLabel", "Cozy", group=group), after=(kind.name,))
        return
    card.insert(line, after=(kind.name,))


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
    target = next((n for n, line in enumerate(lines) if kind.canonical(kind.read_value(line)) == kind.canonical(chosen)), None)
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


# -- kinds --------------------------------------------------------------------------------------------------------------


def _plain(key: str) -> Callable[[Line], Doc]:
    return lambda line: {key: unescape(line.value).strip()}


def _written(key: str) -> Callable[[Doc, Line | None], str]:
    return lambda item, _: escape(text_of(item.get(key)).strip())


def _read_phone(line: Line) -> Doc:
    return {"number": unescape(line.value).strip().removeprefix("tel:")}


def _write_phone(item: Doc, line: Line | None) -> str:
    prefix = "tel:" if line is not None and line.value.lower().startswith("tel:") else ""
    return prefix + escape(text_of(item.get("number")).strip())


def _digits(text: str) -> str:
    return re.sub(r"[^\d+]", "", text) or text


def _read_link(line: Line) -> Doc:
    return {"url": uri_of(line.value)}


def _write_link(item: Doc, _: Line | None) -> str:
    return text_of(item.get("url")).strip()


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def _read_chat(line: Line) -> Doc:
    uri = uri_of(line.value)
    scheme = _SCHEME.match(uri)
    return {"uri": uri, "protocol": (line.first("X-SERVICE-TYPE") or (scheme[1] if scheme else "")).lower()}


def _write_chat(item: Doc, _: Line | None) -> str:
    uri, protocol = text_of(item.get("uri")).strip(), text_of(item.get("protocol"))
    return uri if not uri or _SCHEME.match(uri) or not protocol else f"{protocol}:{uri}"


def _chat_text(item: Doc) -> str:
    return text_of(item.get("uri")).lower().removeprefix(f"{text_of(item.get('protocol')).lower()}:")


def _read_address(line: Line) -> Doc:
    values = [unescape(part) for part in [*parts(line.value), *[""] * 7][:7]]
    found = dict(zip(_ADR_PARTS, values, strict=True))
    apartment = found.pop("apartment")
    if apartment:
        found["extendedAddress"] = {"apartment": apartment}  # type: ignore[assignment]
    shown = line.first("LABEL")
    return found | {"formattedAddress": shown or _formatted(found)}


def _formatted(item: Mapping[str, Any]) -> str:
    first = " ".join(part for part in (text_of(item.get("number")), text_of(item.get("street"))) if part)
    second = " ".join(part for part in (text_of(item.get("code")), text_of(item.get("city"))) if part)
    return ", ".join(part for part in (first, second, text_of(item.get("country"))) if part)


def _write_address(item: Doc, line: Line | None) -> str:
    extended = item.get("extendedAddress")
    inner = extended if isinstance(extended, Mapping) else {}
    apartment = text_of(inner.get("apartment")) or " ".join(
        text_of(inner.get(key)) for key in ("building", "stairs", "floor") if inner.get(key)
    )
    street = " ".join(part for part in (text_of(item.get("number")), text_of(item.get("street"))) if part)
    code = text_of(item.get("code")) or text_of(item.get("postcode"))
    values = {"pobox": text_of(item.get("pobox")), "apartment": apartment, "street": street, "code": code}
    values |= {key: text_of(item.get(key)) for key in ("city", "region", "country")}
    before = parts(line.value) if line is not None else []
    written = []
    for number, key in enumerate(_ADR_PARTS):
        kept = before[number] if number < len(before) else ""
        written.append(kept if unescape(kept) == values[key] else escape(values[key]))
    return ";".join(written)


def _address_text(item: Doc) -> str:
    return "|".join(text_of(item.get(key)) for key in ("pobox", "number", "street", "city", "region", "code", "country")).strip("|").lower()


def _is_cozy(card: Component, line: Line) -> bool:
    return _own_label(card, line).lower() == "cozy"


EMAIL = Kind("EMAIL", "address", _plain("address"), _written("address"), lambda item: text_of(item.get("address")).lower())
TEL = Kind("TEL", "number", _read_phone, _write_phone, lambda item: _digits(text_of(item.get("number"))), types=True)
ADR = Kind("ADR", "street", _read_address, _write_address, _address_text)
IMPP = Kind("IMPP", "uri", _read_chat, _write_chat, _chat_text)
URL = Kind(
    "URL",
    "url",
    _read_link,
    _write_link,
    lambda item: text_of(item.get("url")).rstrip("/").lower(),
    mine=lambda card, line: not _is_cozy(card, line),
)
COZY = Kind("URL", "url", _read_link, _write_link, lambda item: text_of(item.get("url")).rstrip("/").lower(), mine=_is_cozy)
