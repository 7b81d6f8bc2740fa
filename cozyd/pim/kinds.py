"""The lists of a contact one by one: mails, phones, chats, sites, Cozys (pure; docs/pim.md); addresses are in `addresses.py`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim import addresses
from cozyd.pim.content import Component, Line, escape, make, unescape, uri_of
from cozyd.pim.fields import items_of, look, text_of, tidy
from cozyd.pim.items import Kind, label_as, own_label, plain_merge

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CHATS = {
    f"X-{name}": name.lower()
    for name in ("JABBER", "AIM", "ICQ", "MSN", "YAHOO", "SKYPE", "GADUGADU", "GROUPWISE", "GTALK", "QQ", "MATRIX", "SIP", "TWITTER")
} | {"X-SKYPE-USERNAME": "skype", "X-GOOGLE-TALK": "gtalk"}
"""Properties from before IMPP, and the protocol each is of."""

Read = Callable[[Component, Line], Doc]
Write = Callable[[Doc, Line | None], str]


def _kind(name: str, read: Read, write: Write, canonical: Callable[[Doc], str], **more: Any) -> Kind:
    """A kind whose items change by their value alone."""

    def change(card: Component, line: Line, item: Doc) -> Line:
        own, value = read(card, line), write(item, line)
        same = value == line.value or tidy(own) == tidy({key: item.get(key) for key in own})
        return line if same else line.with_value(value)

    return Kind(name, read, write, canonical, more.pop("change", change), plain_merge, **more)


def _plain(key: str) -> Read:
    return lambda _, line: {key: unescape(line.value).strip()}


def _written(key: str) -> Write:
    return lambda item, _: escape(text_of(item.get(key)).strip())


# -- phones -------------------------------------------------------------------------------------------------------------


def _read_phone(_: Component, line: Line) -> Doc:
    return {"number": unescape(line.value).strip().removeprefix("tel:")}


def _write_phone(item: Doc, line: Line | None) -> str:
    prefix = "tel:" if line is not None and line.value.lower().startswith("tel:") else ""
    return prefix + escape(text_of(item.get("number")).strip())


def _digits(item: Doc) -> str:
    text = text_of(item.get("number"))
    return re.sub(r"[^\d+]", "", text) or text


# -- chats --------------------------------------------------------------------------------------------------------------


def _read_chat(_: Component, line: Line) -> Doc:
    if line.name in _CHATS:
        return {"uri": unescape(line.value).strip(), "protocol": _CHATS[line.name]}
    uri = uri_of(line.value)
    scheme = _SCHEME.match(uri)
    return {"uri": uri, "protocol": (line.first("X-SERVICE-TYPE") or (scheme[1] if scheme else "")).lower()}


def _write_chat(item: Doc, line: Line | None) -> str:
    uri, protocol = text_of(item.get("uri")).strip(), text_of(item.get("protocol"))
    if line is not None and line.name in _CHATS:
        return escape(uri)
    return uri if not uri or _SCHEME.match(uri) or not protocol else f"{protocol}:{uri}"


def _change_chat(card: Component, line: Line, item: Doc) -> Line:
    """A property of one protocol is no place for another: it becomes an IMPP then."""
    own = _read_chat(card, line)
    if tidy(own) == tidy({key: item.get(key) for key in own}):
        return line
    if line.name in _CHATS and text_of(item.get("protocol")).lower() != own["protocol"]:
        return make("IMPP", _write_chat(item, None), line.parameters, group=line.group)
    return line.with_value(_write_chat(item, line))


def _chat_text(item: Doc) -> str:
    return text_of(item.get("uri")).lower().removeprefix(f"{text_of(item.get('protocol')).lower()}:")


# -- sites and Cozys ----------------------------------------------------------------------------------------------------


def _read_link(_: Component, line: Line) -> Doc:
    return {"url": uri_of(line.value)}


def _write_link(item: Doc, _: Line | None) -> str:
    return text_of(item.get("url")).strip()


def _link_text(item: Doc) -> str:
    return text_of(item.get("url")).rstrip("/").lower()


def _is_cozy(card: Component, line: Line) -> bool:
    return own_label(card, line).lower() == "cozy"


EMAIL = _kind("EMAIL", _plain("address"), _written("address"), lambda item: text_of(item.get("address")).lower())
TEL = _kind("TEL", _read_phone, _write_phone, _digits, types=True)
ADR = Kind("ADR", addresses.read, addresses.write_value, addresses.canonical, addresses.change, addresses.merge)
IMPP = _kind("IMPP", _read_chat, _write_chat, _chat_text, change=_change_chat, others=tuple(_CHATS))
URL = _kind("URL", _read_link, _write_link, _link_text, mine=lambda card, line: not _is_cozy(card, line))
COZY = _kind("URL", _read_link, _write_link, _link_text, mine=_is_cozy, mark="Cozy")


def known_cozys(doc: Mapping[str, Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields of a card in which addresses that are known as Cozys are so again: not every device keeps labels.

    :param doc: the contact as it was.
    """
    known = {_link_text(item) for item in items_of(doc.get("cozy"))}
    urls = items_of(fields.get("metadata.card.urls"))
    lost = [item for item in urls if _link_text(item) in known]
    if not lost:
        return fields
    left = [item for item in urls if item not in lost]
    return {**fields, "cozy": [*items_of(fields.get("cozy")), *lost], "metadata.card.urls": left or None}


def label_cozys(card: Component, doc: Mapping[str, Any], changed: set[str]) -> None:
    """Give the lines of Cozys that have lost their label one, before the two lists are written."""
    cozys = {_link_text(item) for item in items_of(doc.get("cozy"))}
    sites = {_link_text(item) for item in items_of(look(doc, "metadata.card.urls"))}
    for line in card.all("URL"):
        text = _link_text(_read_link(card, line))
        is_lost = text in cozys or ("metadata.card.urls" not in changed and text not in sites)
        if is_lost and not line.group:
            label_as(card, line, "Cozy")
