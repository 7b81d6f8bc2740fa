"""`calendar-data` and `address-data`: whole, in part, expanded, limited, or in another version (pure; RFC 4791, 9.6; RFC 6352, 10.4)."""

import re
from collections.abc import Callable
from datetime import tzinfo
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from cozyd.errors import Invalid
from cozyd.pim import instances, vcard_version
from cozyd.pim.content import Component, Line, tree
from dav import xml
from dav.filters import read_range
from dav.properties import CR, C, D

Step = Callable[[Component, tzinfo | None], Component]
_MEDIA = {f"{C}calendar-data": "text/calendar", f"{CR}address-data": "text/vcard"}


class Data:
    """What of each text is asked for; false when nothing is.

    :param zone: of floating times.
    """

    def __init__(self, tag: str, steps: list[Step]) -> None:
        self._tag = tag
        self._steps = steps
        self.zone: tzinfo | None = None

    def __bool__(self) -> bool:
        return bool(self._tag)

    def __call__(self, component: str, text: bytes) -> str:
        """The element of a text.

        :raises Invalid: `max-instances`: expanding it gives too many.
        """
        if self._steps:
            text = self._changed(text, "VCARD" if component == "VCARD" else "VCALENDAR")
        return xml.element(self._tag, _escaped(text.decode("utf-8", "replace")))

    def _changed(self, text: bytes, name: str) -> bytes:
        try:
            found = tree(text, name)
            for step in self._steps:
                found = step(found, self.zone)
        except instances.TooMany as cause:
            raise Invalid("There are more than 5,000 instances in this time", source="max-instances") from cause
        return found.render()


_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _escaped(text: str) -> str:
    """Text as an element's content: carriage returns survive, what XML cannot say is left out."""
    return escape(_UNSAYABLE.sub("", text)).replace("\r", "&#13;")


def read(asked: Element) -> Data:
    """What a report asks of texts.

    :raises Invalid: `supported-calendar-data`, `supported-address-data` or `valid-filter`.
    """
    wanted = asked.find(f"{D}prop")
    element = next((child for child in (wanted if wanted is not None else ()) if child.tag in _MEDIA), None)
    if element is None:
        return Data("", [])
    if element.get("content-type", _MEDIA[element.tag]).lower() not in (_MEDIA[element.tag], "text/x-vcard"):
        raise Invalid("This media type is not served", source="supported-data")
    return Data(element.tag, _calendar(element) if element.tag == f"{C}calendar-data" else _card(element))


def _calendar(element: Element) -> list[Step]:
    if element.get("version", "2.0") != "2.0":
        raise Invalid("This version is not served", source="supported-data")
    steps: list[Step] = []
    for name, step in (("expand", instances.expanded), ("limit-recurrence-set", instances.limited)):
        given = element.find(f"{C}{name}")
        if given is not None:
            low, high = read_range(given)
            steps.append(lambda calendar, zone, step=step, low=low, high=high: step(calendar, low, high, zone))  # type: ignore[misc]
    part = element.find(f"{C}comp")
    if part is not None:
        steps.append(lambda calendar, _: _part(calendar, part))
    return steps


def _part(component: Component, asked: Element) -> Component:
    """A component with the properties and components that are asked for."""
    names = {(one.get("name") or "").upper(): one for one in asked.findall(f"{C}prop")}
    below = {(one.get("name") or "").upper(): one for one in asked.findall(f"{C}comp")}
    every = asked.find(f"{C}allprop") is not None or (not names and not below and len(asked) == 0)
    all_below = asked.find(f"{C}allcomp") is not None or (not names and not below and len(asked) == 0)
    kept: list[Line | Component] = []
    for child in component.children:
        if isinstance(child, Line):
            if every or child.name in names:
                kept.append(_emptied(child, names.get(child.name)))
        elif child.name in below:
            kept.append(_part(child, below[child.name]))
        elif all_below:
            kept.append(child)
    return Component(component.name, component.begin, kept, component.end)


def _emptied(line: Line, asked: Element | None) -> Line:
    return line.with_value("") if asked is not None and asked.get("novalue", "no").lower() == "yes" else line


def _card(element: Element) -> list[Step]:
    steps: list[Step] = []
    version = element.get("version")
    if version is not None:
        if version not in vcard_version.VERSIONS:
            raise Invalid("This version is not served", source="supported-data")
        steps.append(lambda card, _: vcard_version.converted(card, version))
    names = {(one.get("name") or "").upper(): one for one in element.findall(f"{CR}prop")}
    if names:
        always = ("VERSION",)

        def cut(card: Component, _: tzinfo | None) -> Component:
            kept: list[Line | Component] = [
                _emptied(line, names.get(line.name))
                for line in card.lines
                if line.name in names or line.name in always or _named(line) in names
            ]
            return Component(card.name, card.begin, kept, card.end)

        steps.append(cut)
    return steps


def _named(line: Line) -> str:
    return f"{line.group.upper()}.{line.name}" if line.group else line.name
