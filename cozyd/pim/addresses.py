"""ADR and LABEL of a card <-> `address[]` of a contact (pure; RFC 2426, section 3.2; RFC 6350, section 6.3.1; docs/pim.md)."""

from collections.abc import Mapping
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim.content import Component, Line, escape, make, parts, unescape
from cozyd.pim.fields import text_of

PARTS = ("pobox", "apartment", "street", "city", "region", "code", "country")
_SPLIT = ("number", "street", "extendedAddress")
"""What JSON has in smaller pieces than a card."""


def read(card: Component, line: Line) -> Doc:
    """The parts of an address, and how it is printed: as its label says, else made of the parts."""
    found: Doc = dict(zip(PARTS, _parts(line), strict=True))
    apartment = found.pop("apartment")
    if apartment:
        found["extendedAddress"] = {"apartment": apartment}
    return found | {"formattedAddress": _printed(card, line) or _formatted(found)}


def write_value(item: Doc, line: Line | None) -> str:
    """The value of ADR; parts that say the same keep their spelling."""
    before = parts(line.value) if line is not None else []
    written = []
    for number, text in enumerate(_values(item)):
        kept = before[number] if number < len(before) else ""
        written.append(kept if unescape(kept) == text else escape(text))
    return ";".join(written)


def canonical(item: Doc) -> str:
    """What addresses are compared by."""
    values = _values(item)
    return "|".join((values[0], *values[2:])).strip("|").lower()


def change(card: Component, line: Line, item: Doc) -> Line:
    """The line with other parts; a label of what the address was goes, one that an app has given comes."""
    moved = _parts(line) != _values(item)
    before, shown = read(card, line)["formattedAddress"], text_of(item.get("formattedAddress"))
    found = line.with_value(write_value(item, line)) if moved else line
    if not moved and shown in ("", before):
        return found
    is_own = bool(shown) and shown not in (before, _formatted(item))
    return _labelled(card, found, shown if is_own else "")


def merge(item: Doc, old: Doc) -> Doc:
    """An address of a card with what only JSON says of the same one: its id and place, and number, building and stairs apart."""
    kept = {key: value for key, value in old.items() if key not in ("type", "label", "primary", "postcode")}
    split, fresh = ({key: one[key] for key in _SPLIT if key in one} for one in (kept, item))
    found = {key: value for key, value in (kept | item).items() if key not in _SPLIT}
    return found | (split if _values(split) == _values(fresh) else fresh)


# -- inside -------------------------------------------------------------------------------------------------------------


def _parts(line: Line) -> list[str]:
    return [unescape(part) for part in [*parts(line.value), *[""] * 7][:7]]


def _values(item: Mapping[str, Any]) -> list[str]:
    """The seven parts as ADR has them: number and street are one, so are building, stairs and floor."""
    extended = item.get("extendedAddress")
    inner = extended if isinstance(extended, Mapping) else {}
    floor = " ".join(text_of(inner.get(key)) for key in ("building", "stairs", "floor") if inner.get(key))
    apartment = " ".join(part for part in (floor, text_of(inner.get("apartment"))) if part)
    code = text_of(item.get("code")) or text_of(item.get("postcode"))
    rest = [text_of(item.get(key)) for key in ("city", "region")]
    return [text_of(item.get("pobox")), apartment, _street(item), *rest, code, text_of(item.get("country"))]


def _street(item: Mapping[str, Any]) -> str:
    return " ".join(part for part in (text_of(item.get("number")), text_of(item.get("street"))) if part)


def _formatted(item: Mapping[str, Any]) -> str:
    code = text_of(item.get("code")) or text_of(item.get("postcode"))
    second = " ".join(part for part in (code, text_of(item.get("city"))) if part)
    return ", ".join(part for part in (_street(item), second, text_of(item.get("country"))) if part)


def _label_line(card: Component, line: Line) -> Line | None:
    """LABEL of 3.0: a property of its own, of the address with the same types."""
    return next((one for one in card.all("LABEL") if one.types - {"pref"} == line.types - {"pref"}), None)


def label_of(line: Line) -> str:
    """The LABEL parameter of 4.0; breaks are written as `^n` (RFC 6868), or as the examples of RFC 6350 do."""
    return line.first("LABEL").replace("\\n", "\n").replace("\\N", "\n")


def _printed(card: Component, line: Line) -> str:
    if line.first("LABEL"):
        return label_of(line)
    label = _label_line(card, line)
    return unescape(label.value).strip() if label is not None else ""


def _labelled(card: Component, line: Line, text: str) -> Line:
    """An address with this label, or none."""
    if card.value("VERSION").strip() == "4.0":
        return line.with_parameter("LABEL", (text,) if text else ())
    old = _label_line(card, line)
    types = tuple(one for one in line.parameters if one[0] == "TYPE")
    if old is not None and text:
        card.replace(old, old.with_value(escape(text)))
    elif old is not None:
        card.remove(old)
    elif text:
        card.insert(make("LABEL", escape(text), types), after=("ADR", "LABEL"))
    return line.with_parameter("LABEL", ())
