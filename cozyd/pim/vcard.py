"""`io.cozy.contacts` <-> vCard 3.0 and 4.0 (pure; RFC 2426, RFC 6350; the table is in docs/pim.md).

A card that came by CardDAV is kept as it was sent. `read` gives the fields it maps to; `patch` changes only the lines of the
fields an app has changed; `create` writes a card for a contact that an app has made.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cozyd.documents.store import Doc
from cozyd.errors import Invalid
from cozyd.pim import contact, items, kinds, related
from cozyd.pim.content import Component, Line, escape, make, parts, tree, unescape
from cozyd.pim.fields import is_list, is_object, is_text, look, place, text_of, tidy
from cozyd.pim.mapped import words_of, write_words

LARGEST = 4 << 20
CATEGORIES, RELATED = "_categories", "_related"
"""The paths of what is no field of its own: names of groups, and words beside them (`groups.words_of`); UIDs of people (`related`)."""
KNOWN = "_known"
"""The UIDs of all people that a contact names, or has named."""
FULL_NAME = "fullname"
NAME_PARTS = ("familyName", "givenName", "additionalName", "namePrefix", "nameSuffix")
_SHORT_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:T.*)?$")
_PARTIAL_DATE = re.compile(r"--(\d{2})-?(\d{2})$")


def parse(raw: bytes) -> Component:
    """A card.

    :raises Invalid: it is none (`valid-address-data`), or too large (`max-resource-size`).
    """
    if len(raw) > LARGEST:
        raise Invalid("The card is larger than 4 MiB", source="max-resource-size")
    try:
        card = tree(raw, "VCARD")
    except Invalid as error:
        raise Invalid(error.detail, source="valid-address-data") from error
    if card.value("VERSION").strip() not in ("3.0", "4.0"):
        raise Invalid("vCard 3.0 or 4.0 is expected", source="valid-address-data")
    if len(card.all("UID")) > 1:
        raise Invalid("The card has two UIDs", source="valid-address-data")
    return card


def uid_of(card: Component) -> str:
    """The card's UID, empty when it has none."""
    return card.value("UID").strip()


def read(card: Component) -> Doc:
    """The JSON fields a card maps to, by dotted path; absent ones are None."""
    return {one.path: tidy(one.read(card)) for one in FIELDS}


def apply(card: Component, doc: Doc, fields: Mapping[str, Any] | None = None) -> Doc:
    """A contact with the fields of a card; what a card has no place for stays.

    :param fields: what `read` has given of the card.
    """
    found = dict(doc)
    fields = kinds.known_cozys(doc, fields if fields is not None else read(card))
    for path, kind in LISTS.items():
        place(found, path, items.merged(kind, look(doc, path), fields[path]))
    for path, value in fields.items():
        if path not in LISTS and path not in (CATEGORIES, FULL_NAME):
            place(found, path, value)
    found.setdefault("metadata", {})
    found["metadata"] = {"version": 1} | dict(found["metadata"])
    contact.derive(found)
    return found


def said(card: Component, doc: Doc) -> Doc:
    """What a contact has of the fields that its card maps to, by path: what an edit by an app is told from.

    :param doc: as the card has left it, with the names of `resource.with_names`.
    """
    found = {one.path: value_of(doc, one.path) for one in FIELDS if one.path != CATEGORIES}
    found[CATEGORIES] = sorted(categories(card)) or None
    return found | ({RELATED: doc.get(RELATED)} if related.is_said(card) else {})


def value_of(doc: Mapping[str, Any], path: str) -> Any:
    """A mapped field of a contact; deprecated forms are read too."""
    if path == "cozy" and not doc.get("cozy") and isinstance(doc.get("url"), str):
        return [{"url": doc["url"], "primary": True}]
    return look(doc, path)


def patch(card: Component, doc: Doc, changed: set[str]) -> None:
    """Change the lines of these fields, and no other."""
    if changed & {"cozy", "metadata.card.urls"}:
        kinds.label_cozys(card, doc, changed)
    changed = changed - {one.path for one in FIELDS if not one.takes(value_of(doc, one.path))}
    for one in FIELDS:
        if one.path in changed:
            one.write(card, value_of(doc, one.path))
    if RELATED in changed:
        related.write(card, doc.get(RELATED) or {}, doc.get(KNOWN) or ())
    shown, made = text_of(doc.get(FULL_NAME)).strip(), contact.full_name(doc.get("name"))
    if FULL_NAME in changed and shown not in ("", made):
        _write_full_name(card, shown)
    elif "name" in changed:
        _write_full_name(card, made or _shown(card))


def create(doc: Doc, uid: str) -> bytes:
    """A card for a contact that an app has made: version 3.0, FN and N always."""
    skeleton = f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{escape(uid)}\r\nEND:VCARD\r\n"
    card = tree(skeleton.encode(), "VCARD")
    shown = text_of(doc.get("fullname")) or contact.full_name(doc.get("name")) or text_of(doc.get("displayName"))
    shown = shown or contact.primary(doc.get("email"), "address") or contact.primary(doc.get("phone"), "number")
    card.insert(make("FN", escape(shown or text_of(doc.get("company")) or "?")))
    card.insert(make("N", _name_value(doc.get("name"))))
    for one in FIELDS:
        value = value_of(doc, one.path)
        if one.path != "name" and tidy(value) is not None and one.takes(value):
            one.write(card, value)
    return card.render()


def stamp(card: Component, time: str) -> None:
    """Set REV to the time of the change."""
    compact = re.sub(r"\.\d+", "", time)
    if card.value("VERSION").strip() == "4.0":
        compact = compact.replace("-", "").replace(":", "")
    card.set("REV", make("REV", compact))


# -- single fields ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mapped:
    """One JSON field and how a card has it.

    :param fits: whether a value that is not empty can be written; of one that cannot, the lines stay as they are.
    """

    path: str
    read: Callable[[Component], Any]
    write: Callable[[Component, Any], None]
    fits: Callable[[Any], bool] = is_text

    def takes(self, value: Any) -> bool:
        """Whether a value is written: an empty one takes lines away."""
        return tidy(value) is None or self.fits(value)


def _text(path: str, name: str) -> Mapped:
    """A field that is one text property."""

    def read_text(card: Component) -> Any:
        return unescape(card.value(name)) or None

    def write_text(card: Component, value: Any) -> None:
        old, text = card.get(name), text_of(value)
        if not text:
            card.set(name, None)
        else:
            card.set(name, old.with_value(escape(text)) if old is not None else make(name, escape(text)))

    return Mapped(path, read_text, write_text)


def _read_name(card: Component) -> Any:
    found = [" ".join(unescape(one) for one in parts(part, ",") if one) for part in parts(card.value("N"))]
    name = {key: value for key, value in zip(NAME_PARTS, found, strict=False) if value.strip()}
    surname = unescape(card.value("X-COZY-SURNAME"))
    if not name:
        name = {"givenName": _shown(card)}
    return name | ({"surname": surname} if surname else {})


def _shown(card: Component) -> str:
    """FN, or what stands for a missing one."""
    for name in ("FN", "NICKNAME", "ORG", "EMAIL", "TEL"):
        text = unescape(parts(card.value(name))[0]).strip()
        if text:
            return text
    return "?"


def _write_name(card: Component, value: Any) -> None:
    old = card.get("N")
    text = _name_value(value, old)
    card.set("N", old.with_value(text) if old is not None else make("N", text), after=("FN", "VERSION"))
    surname = text_of(value.get("surname")) if isinstance(value, Mapping) else ""
    if surname or card.get("X-COZY-SURNAME"):
        card.set("X-COZY-SURNAME", make("X-COZY-SURNAME", escape(surname)) if surname else None)


def _name_value(value: Any, old: Line | None = None) -> str:
    """The five parts; a part that is as it was keeps its comma list."""
    name = value if isinstance(value, Mapping) else {}
    before = parts(old.value) if old is not None else []
    found = []
    for number, key in enumerate(NAME_PARTS):
        text = text_of(name.get(key))
        kept = before[number] if number < len(before) else ""
        same = " ".join(unescape(one) for one in parts(kept, ",") if one) == text
        found.append(kept if kept and same else escape(text))
    return ";".join(found + before[len(NAME_PARTS) :])


def _write_full_name(card: Component, text: str) -> None:
    old = card.get("FN")
    card.set("FN", old.with_value(escape(text)) if old is not None else make("FN", escape(text)), after=("VERSION",))


def _read_company(card: Component) -> Any:
    return unescape(parts(card.value("ORG"))[0]) or None


def _write_company(card: Component, value: Any) -> None:
    _write_org(card, text_of(value), [unescape(part) for part in parts(card.value("ORG"))[1:]])


def _read_units(card: Component) -> Any:
    return [unescape(part) for part in parts(card.value("ORG"))[1:]] or None


def _write_units(card: Component, value: Any) -> None:
    units = [text_of(one) for one in value] if isinstance(value, list) else []
    _write_org(card, unescape(parts(card.value("ORG"))[0]), units)


def _write_org(card: Component, company: str, units: list[str]) -> None:
    old = card.get("ORG")
    if not company and not units:
        card.set("ORG", None)
        return
    text = ";".join(escape(part) for part in (company, *units))
    card.set("ORG", old.with_value(text) if old is not None else make("ORG", text))


def categories(card: Component) -> list[str]:
    """The words of CATEGORIES, each once."""
    return list(dict.fromkeys(_folded(word) for word in words_of(card.all("CATEGORIES"))))


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word).strip()


def _write_categories(card: Component, value: Any) -> None:
    write_words(card, "CATEGORIES", value or (), _folded)


# -- dates --------------------------------------------------------------------------------------------------------------


def _date(name: str, *others: str) -> tuple[Callable[[Component], tuple[str, bool]], Callable[[Component, str], None]]:
    """Read a date (text, whole?) and write one in the syntax that is there."""

    def find(card: Component) -> Line | None:
        own = next((line for one in (name, *others) if (line := card.get(one)) is not None), None)
        return own or (_apple_anniversary(card) if name == "ANNIVERSARY" else None)

    def read_date(card: Component) -> tuple[str, bool]:
        line = find(card)
        return _parse_date(line) if line is not None else ("", False)

    def write_date(card: Component, text: str) -> None:
        line = find(card)
        if not text:
            if line is not None:
                card.remove(line)
            return
        if line is None:
            card.insert(make(name, text))
            return
        compact = "-" not in line.value.removeprefix("--") and not line.value.startswith("--")
        partial = line.value.startswith("--")
        written = text.replace("-", "") if compact and not text.startswith("--") else text
        if partial and text.startswith("--") and len(line.value) == 6:
            written = "--" + text[2:].replace("-", "")
        card.replace(line, line.with_parameter("X-APPLE-OMIT-YEAR", ()).with_parameter("VALUE", ()).with_value(written))

    return read_date, write_date


def _apple_anniversary(card: Component) -> Line | None:
    """`itemN.X-ABDATE` with Apple's label for it."""
    labels = {line.group.lower() for line in card.all("X-ABLABEL") if line.value.strip() == "_$!<Anniversary>!$_"}
    return next((line for line in card.all("X-ABDATE") if line.group and line.group.lower() in labels), None)


def _parse_date(line: Line) -> tuple[str, bool]:
    """`YYYY-MM-DD` and True of a whole date; `--MM-DD`, a year, or what was found, and False of a partial one."""
    text = line.value.strip()
    partial = _PARTIAL_DATE.match(text)
    if partial:
        return f"--{partial.group(1)}-{partial.group(2)}", False
    whole = _SHORT_DATE.match(text)
    if whole is None:
        return text, False
    year, month, day = whole.groups()
    if line.first("X-APPLE-OMIT-YEAR") == year:
        return f"--{month}-{day}", False
    return f"{year}-{month}-{day}", True


_read_birthday, _write_birthday = _date("BDAY")
_read_anniversary, _write_anniversary = _date("ANNIVERSARY", "X-ANNIVERSARY")


def _whole_birthday(card: Component) -> Any:
    text, whole = _read_birthday(card)
    return text if whole else None


def _partial_birthday(card: Component) -> Any:
    text, whole = _read_birthday(card)
    return None if whole else text or None


def _set_whole_birthday(card: Component, value: Any) -> None:
    text = text_of(value)
    if text or _read_birthday(card)[1]:
        _write_birthday(card, text[:10])


def _set_partial_birthday(card: Component, value: Any) -> None:
    text = text_of(value)
    if text or (card.get("BDAY") is not None and not _read_birthday(card)[1]):
        _write_birthday(card, text)


# -- gender and birthplace: of 4.0, X- in 3.0 ---------------------------------------------------------------------------


def _new_name(card: Component, name: str) -> str:
    return name if card.value("VERSION").strip() == "4.0" else f"X-{name}"


def _read_birthplace(card: Component) -> Any:
    return unescape(card.value("BIRTHPLACE") or card.value("X-BIRTHPLACE")) or None


def _write_birthplace(card: Component, value: Any) -> None:
    old, text = card.get("BIRTHPLACE") or card.get("X-BIRTHPLACE"), text_of(value)
    name = old.name if old is not None else _new_name(card, "BIRTHPLACE")
    new = old.with_value(escape(text)) if old is not None else make(name, escape(text))
    card.set(name, new if text else None)


def _read_gender(card: Component) -> Any:
    line = card.get("GENDER") or card.get("X-GENDER")
    return {"m": "male", "male": "male", "f": "female", "female": "female"}.get(parts(line.value)[0].strip().lower()) if line else None


def _write_gender(card: Component, value: Any) -> None:
    line = card.get("GENDER") or card.get("X-GENDER")
    letter = {"male": "M", "female": "F"}.get(text_of(value), "")
    if line is not None and letter:
        card.replace(line, line.with_value(letter))
    elif line is not None:
        card.remove(line)
    elif letter:
        card.insert(make(_new_name(card, "GENDER"), letter))


def _item_field(path: str, kind: items.Kind) -> Mapped:
    return Mapped(path, lambda card: items.read(card, kind), lambda card, value: items.write(card, kind, value), is_list)


LISTS: Mapping[str, items.Kind] = {
    "email": kinds.EMAIL,
    "phone": kinds.TEL,
    "address": kinds.ADR,
    "impp": kinds.IMPP,
    "cozy": kinds.COZY,
    "metadata.card.urls": kinds.URL,
}


FIELDS: tuple[Mapped, ...] = (
    Mapped("name", _read_name, _write_name, is_object),
    Mapped(FULL_NAME, lambda card: contact.full_name(_read_name(card)), lambda _card, _value: None),  # `patch` writes it
    Mapped("company", _read_company, _write_company),
    Mapped("metadata.card.orgUnits", _read_units, _write_units, is_list),
    _text("jobTitle", "TITLE"),
    _text("metadata.card.role", "ROLE"),
    _text("metadata.card.nickname", "NICKNAME"),
    *(_item_field(path, kind) for path, kind in LISTS.items()),
    Mapped("birthday", _whole_birthday, _set_whole_birthday),
    Mapped("metadata.card.birthday", _partial_birthday, _set_partial_birthday),
    Mapped("metadata.card.anniversary", lambda card: _read_anniversary(card)[0] or None, lambda c, v: _write_anniversary(c, text_of(v))),
    _text("note", "NOTE"),
    Mapped("gender", _read_gender, _write_gender),
    Mapped("birthplace", _read_birthplace, _write_birthplace),
    Mapped(CATEGORIES, lambda card: sorted(categories(card)) or None, _write_categories, is_list),
)
