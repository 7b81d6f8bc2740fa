"""A card in the other version: vCard 3.0 <-> 4.0 (pure; RFC 2426, RFC 6350). What has no form there stays as it is."""

import re
from collections.abc import Callable, Mapping

from cozyd.pim.addresses import label_of
from cozyd.pim.content import Component, Line, escape, make, unescape, uri_of

VERSIONS = ("3.0", "4.0")
_TO_4 = {
    "X-GENDER": "GENDER",
    "X-ANNIVERSARY": "ANNIVERSARY",
    "X-ADDRESSBOOKSERVER-MEMBER": "MEMBER",
    "X-BIRTHPLACE": "BIRTHPLACE",
}
_TO_3 = {new: old for old, new in _TO_4.items()}
_BINARY = ("PHOTO", "LOGO", "SOUND", "KEY")
_GONE_IN_4 = ("MAILER", "CLASS", "NAME", "PROFILE", "SORT-STRING")
_SEXES = {"male": "M", "female": "F", "m": "M", "f": "F"}
_PARTIAL = re.compile(r"--(\d{2})-?(\d{2})")
_EXTENDED = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d([.]\d+)?Z?)?")
_PLACE = re.compile(r"([+-]?[\d.]+);([+-]?[\d.]+)", re.ASCII)
_GEO_URI = re.compile(r"geo:([+-]?[\d.]+),([+-]?[\d.]+)", re.ASCII | re.IGNORECASE)
_KEYS = {"pgp": "application/pgp-keys", "x509": "application/pkix-cert"}
"""TYPE of a KEY in 3.0, and the media type that 4.0 has for it."""
_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)?;base64,", re.ASCII)


def converted(card: Component, version: str) -> Component:
    """The card in a version; itself when it has that already."""
    if card.value("VERSION").strip() == version:
        return card
    step: Callable[[Line], Line | None] = _line_4 if version == "4.0" else _line_3
    lines: list[Line | Component] = [new for line in card.lines if (new := step(line)) is not None]
    found = Component(card.name, card.begin, lines, card.end)
    (_labels_into_addresses if version == "4.0" else _labels_out_of_addresses)(found)
    if version == "3.0" and found.get("N") is None:
        found.insert(make("N", ";;;;"), after=("FN", "VERSION"))
    return found


def _labels_into_addresses(card: Component) -> None:
    """LABEL of 3.0, which is of the address with the same types."""
    for label in card.all("LABEL"):
        address = next((one for one in card.all("ADR") if one.types == label.types and not one.first("LABEL")), None)
        if address is not None:
            card.replace(address, address.with_parameter("LABEL", (unescape(label.value),)))
        card.remove(label)


def _labels_out_of_addresses(card: Component) -> None:
    for address in card.all("ADR"):
        if address.first("LABEL"):
            types = tuple(one for one in address.parameters if one[0] == "TYPE")
            card.replace(address, address.with_parameter("LABEL", ()))
            card.insert(make("LABEL", escape(label_of(address)), types), after=("ADR", "LABEL"))


def _renamed(line: Line, names: Mapping[str, str]) -> Line:
    return make(names[line.name], line.value, line.parameters, group=line.group) if line.name in names else line


def _kind(line: Line) -> Line:
    """The kinds are named alike; only that of a group has a name of Apple's in 3.0, where KIND is unknown."""
    if line.name == "KIND" and line.value.strip().lower() == "group":
        return make("X-ADDRESSBOOKSERVER-KIND", line.value, line.parameters, group=line.group)
    return line


def _line_4(line: Line) -> Line | None:
    if line.name == "VERSION":
        return line.with_value("4.0")
    if line.name in _GONE_IN_4:
        return None
    if line.name == "X-ADDRESSBOOKSERVER-KIND":
        return make("KIND", line.value, line.parameters, group=line.group)
    line = _renamed(line, _TO_4)
    if line.name == "GENDER":
        return line.with_value(_SEXES.get(line.value.strip().lower(), line.value))
    if line.name in ("BDAY", "ANNIVERSARY") and line.first("X-APPLE-OMIT-YEAR"):
        return line.with_parameter("X-APPLE-OMIT-YEAR", ()).with_value("--" + line.value.strip().replace("-", "")[4:8])
    if line.name in ("BDAY", "ANNIVERSARY", "REV") and _EXTENDED.fullmatch(line.value.strip()):  # 4.0 knows the basic form alone
        return line.with_value(re.sub("[:-]|[.][0-9]+", "", line.value.strip()))
    if line.name == "URL" and "\\" in line.value:
        line = line.with_value(uri_of(line.value))
    if line.name == "GEO" and (place := _PLACE.fullmatch(line.value.strip())):
        return line.with_value(f"geo:{place[1]},{place[2]}")
    return _preferred_4(_inline_4(line))


def _inline_4(line: Line) -> Line:
    """Binary data as a data: URI."""
    if line.name not in _BINARY or line.first("ENCODING").lower() not in ("b", "base64"):
        return line
    kind = line.first("TYPE").lower() or "jpeg"
    family = {"PHOTO": "image", "LOGO": "image", "SOUND": "audio"}.get(line.name, "application")
    media = kind if "/" in kind else _KEYS.get(kind, f"{family}/{kind}")
    plain = line.with_parameter("ENCODING", ()).with_parameter("TYPE", ()).with_parameter("VALUE", ())
    return plain.with_value(f"data:{media};base64,{line.value}")


def _preferred_4(line: Line) -> Line:
    if "pref" not in line.types:
        return line
    tokens = [token for value in line.values("TYPE") for token in value.split(",") if token.lower() != "pref"]
    return line.with_parameter("TYPE", tokens).with_parameter("PREF", ("1",))


def _line_3(line: Line) -> Line | None:
    if line.name == "VERSION":
        return line.with_value("3.0")
    line = _renamed(_kind(line), _TO_3)
    found = _URI.match(line.value) if line.name in _BINARY else None
    if found is not None:
        media = found.group(1) or "image/jpeg"
        kind = next((short for short, long in _KEYS.items() if long == media), media.rpartition("/")[2]).upper()
        plain = line.with_parameter("MEDIATYPE", ()).with_parameter("VALUE", ())
        return plain.with_parameter("ENCODING", ("b",)).with_parameter("TYPE", (kind,)).with_value(line.value[found.end() :])
    if line.name == "TEL" and line.value.lower().startswith("tel:"):
        line = line.with_parameter("VALUE", ()).with_value(line.value[4:])
    if line.name == "GEO" and (place := _GEO_URI.match(line.value.strip())):
        return line.with_parameter("VALUE", ()).with_value(f"{place[1]};{place[2]}")
    partial = _PARTIAL.fullmatch(line.value.strip()) if line.name in ("BDAY", "X-ANNIVERSARY") else None
    if partial is not None:  # 3.0 has no date without a year; Apple marks one that is not meant
        plain = line.with_parameter("VALUE", ()).with_parameter("X-APPLE-OMIT-YEAR", ("1604",))
        return plain.with_value(f"1604-{partial.group(1)}-{partial.group(2)}")
    tokens = [token for value in line.values("TYPE") for token in value.split(",")]
    if line.first("PREF"):
        tokens += ["PREF"] if line.first("PREF") == "1" else []
        line = line.with_parameter("PREF", ())
    return line.with_parameter("TYPE", tokens) if tokens and tokens != list(line.values("TYPE")) else line
