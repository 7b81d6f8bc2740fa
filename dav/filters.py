"""Filters of `calendar-query` and `addressbook-query` as predicates (pure; RFC 4791, section 9.7; RFC 6352, section 10.5)."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Protocol
from xml.etree.ElementTree import Element

from cozyd.errors import Invalid
from cozyd.pim import instances, times
from cozyd.pim.content import Component, Line, unescape
from cozyd.pim.mapped import Context
from cozyd.pim.recurrence import TooComplex
from cozyd.pim.words import WORDS
from cozyd.pim.zones import Zones
from dav.sieve import needed

C, CR = "{urn:ietf:params:xml:ns:caldav}", "{urn:ietf:params:xml:ns:carddav}"
COLLATIONS = ("i;ascii-casemap", "i;octet", "i;unicode-casemap")
LOW, HIGH = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
MOST_CONDITIONS = 500
MOST_REPEATS = 100
_UPPER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, wanted: wanted in text,
    "equals": lambda text, wanted: text == wanted,
    "starts-with": str.startswith,
    "ends-with": str.endswith,
}

Range = tuple[datetime, datetime]


class Node(Protocol):
    """What a filter looks into: a component, or the words that the index keeps of one."""

    @property
    def name(self) -> str:
        """Of the component."""

    def values(self, name: str) -> Sequence[str]:
        """The values of a property, as people read them."""

    def nodes(self, name: str) -> Sequence["Node"]:
        """The components of a name below it."""


@dataclass(frozen=True, slots=True)
class WordNode:
    """Words of the index: values by property, and lists of words by component."""

    name: str
    words: Mapping[str, Any]

    def values(self, name: str) -> Sequence[str]:
        """See `Node`."""
        found: Sequence[str] = self.words.get(name, ())
        return found

    def nodes(self, name: str) -> Sequence["WordNode"]:
        """See `Node`."""
        return [WordNode(name, words) for words in self.words.get(name, ())]


@dataclass(frozen=True, slots=True)
class TextNode:
    """A parsed component."""

    component: Component
    calendar: Component

    @property
    def name(self) -> str:
        """Its name."""
        return self.component.name

    def values(self, name: str) -> Sequence[str]:
        """See `Node`."""
        return [unescape(line.value) for line in self.lines(name)]

    def lines(self, name: str) -> Sequence[Line]:
        """The properties of a name; with a group before a dot, those in it."""
        group, dot, plain = name.rpartition(".")
        found = self.component.all(plain)
        return [line for line in found if line.group.upper() == group] if dot else found

    def nodes(self, name: str) -> Sequence["TextNode"]:
        """See `Node`."""
        return [TextNode(one, self.calendar) for one in self.component.components(name)]


Test = Callable[[Node], bool]


@dataclass(slots=True)
class Filter:
    """A filter, and how much of it the rows can decide.

    :param test: whether an object passes; time ranges of whole objects are left to `range`.
    :param component: the one kind of component it asks for.
    :param range: the time the object has to touch.
    :param plain: there is nothing to test beyond `component` and `range`.
    :param indexed: the words of the index are enough to test it.
    :param sieve: an object that passes has one of these in its words, or words beyond ASCII; empty: nothing is known.
    """

    test: Test
    component: str | None = None
    range: Range | None = None
    plain: bool = False
    indexed: bool = True
    sieve: Sequence[str] = ()


# -- reading ------------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads one filter."""

    def __init__(self, space: str, zone: tzinfo | None) -> None:
        self.space = space
        self.zone = zone
        self.indexed = True
        self._left = MOST_CONDITIONS

    def invalid(self, detail: str) -> Invalid:
        """The error of a malformed filter."""
        return Invalid(detail, source="valid-filter")

    def unsupported(self, detail: str) -> Invalid:
        """The error of a condition that is not known."""
        return Invalid(detail, source="supported-filter")

    def properties(self, element: Element, *, any_of: bool) -> Test:
        """The tests of an element's prop-filters."""
        tests = [self.property(child) for child in element.findall(f"{self.space}prop-filter")]
        return _joined(tests, any_of=any_of)

    def property(self, element: Element) -> Test:
        """One prop-filter."""
        name = self.named(element)
        if name not in WORDS:
            self.indexed = False
        if element.find(f"{self.space}is-not-defined") is not None:
            return lambda node: not node.values(name)
        if len(element) == 1 and element[0].tag == f"{self.space}text-match":
            return _of_texts(self.text_match(element[0]), name)
        tests: list[Callable[[Node, int], bool]] = []
        for child in element:
            if child.tag == f"{self.space}text-match":
                tests.append(self._text(child, name))
            elif child.tag == f"{self.space}param-filter":
                tests.append(self._parameter(child, name))
            elif child.tag == f"{C}time-range":
                tests.append(self._time(child, name))
            else:
                raise self.unsupported(f"The filter {child.tag} is not known")
        any_of = element.get("test", "anyof" if self.space == CR else "allof") == "anyof"
        return _of_one_property(tests, name, any_of=any_of)

    def named(self, element: Element) -> str:
        """The name a filter is about.

        :raises Invalid: it has none, or there are too many filters.
        """
        self._left -= 1
        if self._left < 0:
            raise self.invalid("The filter has too many conditions")
        name = (element.get("name") or "").upper()
        if not name:
            raise self.invalid("A filter has no name")
        return name

    def _text(self, element: Element, name: str) -> Callable[[Node, int], bool]:
        matches = self.text_match(element)
        return lambda node, number: matches(node.values(name)[number])

    def text_match(self, element: Element) -> Callable[[str], bool]:
        """A text-match, with its collation."""
        collation = element.get("collation", "i;unicode-casemap" if self.space == CR else "i;ascii-casemap")
        if collation == "default":
            collation = "i;unicode-casemap"
        if collation not in COLLATIONS:
            raise Invalid(f"The collation {collation} is not known", source="supported-collation")
        kind = _MATCHES.get(element.get("match-type", "contains"))
        if kind is None:
            raise self.invalid("The match-type is not known")
        negated = element.get("negate-condition", "no").lower() in ("yes", "true")
        wanted = fold(element.text or "", collation)
        return lambda text: kind(fold(text, collation), wanted) != negated

    def _parameter(self, element: Element, name: str) -> Callable[[Node, int], bool]:
        self.indexed = False
        parameter = self.named(element)
        absent = element.find(f"{self.space}is-not-defined") is not None
        match = element.find(f"{self.space}text-match")
        matches = self.text_match(match) if match is not None else None

        def test(node: Node, number: int) -> bool:
            assert isinstance(node, TextNode)
            found = node.lines(name)[number].values(parameter)
            if absent:
                return not found
            return bool(found) and (matches is None or any(matches(one) for value in found for one in {value, *value.split(",")}))

        return test

    def _time(self, element: Element, name: str) -> Callable[[Node, int], bool]:
        self.indexed = False
        low, high = self.range(element)

        def test(node: Node, number: int) -> bool:
            assert isinstance(node, TextNode)
            when = times.read(node.lines(name)[number], Zones(node.calendar))
            if when is None:
                return False
            start = instances.moment(when, self.zone)
            return instances.touches(start, start + timedelta(days=1) if when.all_day else start, low, high)

        return test

    def range(self, element: Element) -> Range:
        """A time-range.

        :raises Invalid: it has no end and no start, or is no UTC time.
        """
        return read_range(element, open_ended=True)


def read_range(element: Element, *, open_ended: bool = False) -> Range:
    """`start` and `end` of an element, UTC.

    :raises Invalid: `valid-filter`.
    """
    found = []
    given = [name for name in ("start", "end") if element.get(name) is not None]
    for name, default in (("start", LOW), ("end", HIGH)):
        text = element.get(name)
        if text is None:
            found.append(default)
            continue
        when = times.parse(text.strip(), "", Zones(Component("VCALENDAR", Line(b"", "", "", (), ""))))
        if when is None or not when.utc:
            raise Invalid("A time-range is given in UTC", source="valid-filter")
        found.append(when.moment())
    if found[0] >= found[1] or len(given) < (1 if open_ended else 2):
        raise Invalid("A time-range has a start before its end", source="valid-filter")
    return found[0], found[1]


def fold(text: str, collation: str) -> str:
    """A text as a collation compares it (RFC 4790, RFC 5051)."""
    if collation == "i;octet":
        return text
    if collation == "i;ascii-casemap":
        return text.translate(_UPPER)
    return text.lower() if text.isascii() else unicodedata.normalize("NFKD", text.casefold())


def _joined(tests: Sequence[Test], *, any_of: bool) -> Test:
    if not tests:
        return lambda _: True
    if len(tests) == 1:
        return tests[0]
    return lambda node: (any if any_of else all)(test(node) for test in tests)


def _of_texts(matches: Callable[[str], bool], name: str) -> Test:
    """Whether a value of a property passes: what is asked most."""

    def test(node: Node) -> bool:
        for text in node.values(name):  # noqa: SIM110 - twice as fast as any()
            if matches(text):
                return True
        return False

    return test


def _of_one_property(tests: Sequence[Callable[[Node, int], bool]], name: str, *, any_of: bool) -> Test:
    """Whether one of the properties of a name passes."""
    if not tests:
        return lambda node: bool(node.values(name))
    join = any if any_of else all
    return lambda node: any(join(test(node, number) for test in tests) for number in range(len(node.values(name))))


# -- calendars ----------------------------------------------------------------------------------------------------------


def read_calendar(element: Element | None, zone: tzinfo | None) -> Filter:
    """A CALDAV:filter.

    :raises Invalid: `valid-filter`, `supported-filter` or `supported-collation`.
    """
    if element is None:
        return Filter(lambda _: True, plain=True)
    reader = _Reader(C, zone)
    tops = element.findall(f"{C}comp-filter")
    if len(tops) != 1 or (tops[0].get("name") or "").upper() != "VCALENDAR":
        raise reader.invalid("A filter begins with VCALENDAR")
    found = Filter(_component(tops[0], reader, None))
    below = tops[0].findall(f"{C}comp-filter")
    if len(below) == 1 and below[0].find(f"{C}is-not-defined") is None and tops[0].get("test", "allof") == "allof":
        found.component = (below[0].get("name") or "").upper()
        given = below[0].find(f"{C}time-range")
        found.range = read_range(given, open_ended=True) if given is not None else None
        found.test = _component(tops[0], reader, below[0] if given is not None else None)
        inner = [child for child in below[0] if child.tag != f"{C}time-range"]
        found.plain = not inner and not [child for child in tops[0] if child is not below[0]]
    found.indexed, found.sieve = reader.indexed, needed(element)
    return found


def _component(element: Element, reader: _Reader, decided: Element | None) -> Test:
    """One comp-filter, seen from the component it names; `decided`: the one whose time range the rows look at."""
    for child in element:
        if child.tag not in (f"{C}{name}" for name in ("comp-filter", "prop-filter", "time-range", "is-not-defined")):
            raise reader.unsupported(f"The filter {child.tag} is not known")
    any_of = element.get("test", "allof") == "anyof"
    tests = [reader.properties(element, any_of=any_of)] if element.find(f"{C}prop-filter") is not None else []
    tests += [_below(child, reader, decided) for child in element.findall(f"{C}comp-filter")]
    given = element.find(f"{C}time-range")
    if given is not None and element is not decided:
        reader.indexed = False
        tests.append(_happens(read_range(given, open_ended=True), reader.zone))
    return _joined(tests, any_of=any_of)


def _below(element: Element, reader: _Reader, decided: Element | None) -> Test:
    name = reader.named(element)
    if name not in ("VEVENT", "VTODO", "VJOURNAL", "VALARM"):
        reader.indexed = False
    if element.find(f"{C}is-not-defined") is not None:
        return lambda node: not node.nodes(name)
    if name == "VALARM" and element.find(f"{C}time-range") is not None:
        return _alarms(element, reader)
    test = _component(element, reader, decided)
    return lambda node: any(test(one) for one in node.nodes(name))


def _happens(range_: Range, zone: tzinfo | None) -> Test:
    """A time range that the rows have not decided."""

    def test(node: Node) -> bool:
        assert isinstance(node, TextNode)
        try:
            return instances.happens(node.calendar, *range_, zone)
        except (TooComplex, instances.TooMany):
            return True

    return test


def _alarms(element: Element, reader: _Reader) -> Test:
    """Whether an alarm of the component goes off in a time range (RFC 4791, section 9.9)."""
    reader.indexed = False
    given = element.find(f"{C}time-range")
    assert given is not None
    low, high = read_range(given, open_ended=True)
    inner = reader.properties(element, any_of=False)

    def test(node: Node) -> bool:
        assert isinstance(node, TextNode)
        return any(inner(one) and _rings(one.component, node, (low, high), reader.zone) for one in node.nodes("VALARM"))

    return test


def _rings(alarm: Component, node: TextNode, range_: Range, zone: tzinfo | None) -> bool:
    low, high = range_
    trigger = alarm.get("TRIGGER")
    if trigger is None:
        return False
    length = times.duration(trigger.value)
    context = Context(node.calendar, Zones(node.calendar))
    again = _repeats(alarm)
    if length is None:
        when = times.read(trigger, context.zones)
        return when is not None and any(low <= _moved(instances.moment(when, zone), later, 0) < high for later in again)
    ahead = timedelta(days=length[0]) + length[1]
    at_end = trigger.first("RELATED").upper() == "END"
    try:
        near = instances.of(node.calendar, _moved(low, -ahead - again[-1], -8), _moved(high, -ahead, 8), zone)
    except (TooComplex, instances.TooMany):
        return True
    mine = [one.moments(zone)[1 if at_end else 0] for one in near if one.component is node.component]
    return any(low <= _moved(moment, ahead + later, 0) < high for moment in mine for later in again)


def _repeats(alarm: Component) -> Sequence[timedelta]:
    """How long after its trigger an alarm goes off: at once, and as often again as it says (RFC 5545, section 3.8.6.2)."""
    count, length = alarm.value("REPEAT").strip(), times.duration(alarm.value("DURATION"))
    if length is None or not count.isascii() or not count.isdigit():
        return (timedelta(0),)
    step = max(timedelta(days=length[0]) + length[1], timedelta(0))
    try:
        return [step * number for number in range(min(int(count[:4]), MOST_REPEATS) + 1)]
    except OverflowError:
        return (timedelta(0),)


def _moved(moment: datetime, delta: timedelta, days: int) -> datetime:
    try:
        return moment + delta + timedelta(days=days)
    except OverflowError:
        return moment


# -- address books ------------------------------------------------------------------------------------------------------


def read_book(element: Element | None) -> Filter:
    """A CARDDAV:filter.

    :raises Invalid: as `read_calendar`.
    """
    if element is None or len(element) == 0:
        return Filter(lambda _: True, plain=True)
    reader = _Reader(CR, None)
    test = reader.properties(element, any_of=element.get("test", "anyof") == "anyof")
    if len(element.findall(f"{CR}prop-filter")) != len(element):
        raise reader.unsupported("A filter has prop-filters")
    return Filter(test, indexed=reader.indexed, sieve=needed(element))
