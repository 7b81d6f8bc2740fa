"""What the contacts' services derive from a contact: names as shown, sort key, labels (pure; docs/pim.md)."""

from collections.abc import Mapping
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim.fields import items_of, text_of

NAME_ORDER = ("namePrefix", "givenName", "additionalName", "familyName", "nameSuffix")
_WORK = frozenset("en pro professional office job work fr professionnel professionnelle bureau travail boulot taff".split())


def full_name(name: Any) -> str:
    """Prefix, given, additional, family name and suffix, joined by spaces."""
    if not isinstance(name, Mapping):
        return ""
    return " ".join(part for key in NAME_ORDER if (part := text_of(name.get(key)).strip()))


def primary(items: Any, key: str) -> str:
    """The primary item's value, else the first one's."""
    found = items_of(items)
    chosen = next((item for item in found if item.get("primary") is True), found[0] if found else {})
    return text_of(chosen.get(key))


def derive(doc: Doc) -> None:
    """Set fullname, displayName, indexes and labels, as the contacts' services would."""
    name = doc.get("name")
    email, cozy = primary(doc.get("email"), "address"), primary(doc.get("cozy"), "url")
    host = cozy.partition("://")[2] or cozy
    doc["fullname"] = full_name(name)
    doc["displayName"] = doc["fullname"] or email or host
    parts = name if isinstance(name, Mapping) else {}
    key = "".join((text_of(parts.get("familyName")), text_of(parts.get("givenName")), email, host)).strip().lower()
    doc["indexes"] = {"byFamilyNameGivenNameEmailCozyUrl": key or None}


def label_of(kind: str) -> str:
    """`work` for words that mean it, else `home`."""
    words = kind.lower().replace("(", " ").replace(")", " ").split()
    return "work" if any(word in _WORK and word not in ("en", "fr") for word in words) else "home"
