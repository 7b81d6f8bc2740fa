"""A card in the other version: vCard 3.0 <-> 4.0 (pure; RFC 2426, RFC 6350). What has no form there stays as it is."""

import re
from collections.abc import Callable, Mapping

from cozyd.pim.content import Component, Line, make

VERSIONS = ("3.0", "4.0")
_TO_4 = {
    "X-GENDER": "GENDER",
    "X-ANNIVERSARY": "ANNIVERSARY",
    "X-ADDRESSBOOKSERVER-KIND": "KIND",
    "X-ADDRESSBOOKSERVER-MEMBER": "MEMBER",
    "X-BIRTHPLACE": "BIRTHPLACE",
}
_TO_3 = {new: old for old, new in _TO_4.items()}
_BINARY = ("PHOTO", "LOGO", "SOUND", "KEY")
_GONE_IN_4 = ("LABEL", "MAILER", "CLASS", "NAME", "PROFILE", "SORT-STRING")
_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)?;base64,", re.ASCII)


def converted(card: Component, version: str) -> Component:
    """The card in a version; itself when it has that already."""
    if card.value("VERSION").strip() == version:
        return card
    step: Callable[[Line], Line | None] = _line_4 if version == "4.0" else _line_3
    lines: list[Line | Component] = [new for line in card.lines if (new := step(line)) is not None]
    found = Component(card.name, card.begin, lines, card.end)
    if version == "3.0" and found.get("N") is None:
        found.insert(make("N", ";;;;"), after=("FN", "VERSION"))
    return found


def _renamed(line: Line, names: Mapping[str, str]) -> Line:
    return make(names[line.name], line.value, line.parameters, group=line.group) if line.name in names else line


def _line_4(line: Line) -> Line | None:
    if line.name == "VERSION":
        return line.with_value("4.0")
    if line.name in _GONE_IN_4:
        return None
    line = _renamed(line, _TO_4)
    if line.name in _BINARY and line.first("ENCODING").lower() in ("b", "base64"):
        kind = line.first("TYPE").lower() or "jpeg"
        media = kind if "/" in kind else f"{'image' if line.name in ('PHOTO', 'LOGO') else 'application'}/{kind}"
        plain = line.with_parameter("ENCODING", ()).with_parameter("TYPE", ()).with_parameter("VALUE", ())
        return plain.with_value(f"data:{media};base64,{line.value}")
    if "pref" in line.types:
        tokens = [token for value in line.values("TYPE") for token in value.split(",") if token.lower() != "pref"]
        line = line.with_parameter("TYPE", tokens).with_parameter("PREF", ("1",))
    return line


def _line_3(line: Line) -> Line | None:
    if line.name == "VERSION":
        return line.with_value("3.0")
    line = _renamed(line, _TO_3)
    found = _URI.match(line.value) if line.name in _BINARY else None
    if found is not None:
        kind = (found.group(1) or "image/jpeg").rpartition("/")[2].upper()
        plain = line.with_parameter("MEDIATYPE", ()).with_parameter("VALUE", ())
        return plain.with_parameter("ENCODING", ("b",)).with_parameter("TYPE", (kind,)).with_value(line.value[found.end() :])
    if line.first("PREF"):
        tokens = [token for value in line.values("TYPE") for token in value.split(",")]
        preferred = ["PREF"] if line.first("PREF") == "1" else []
        line = line.with_parameter("PREF", ()).with_parameter("TYPE", [*tokens, *preferred])
    return line
