"""Content lines of vCard and iCalendar (RFC 6350 section 3.3, RFC 5545 section 3.1): read, change some, keep the rest as it was.

A line keeps the very bytes it came as, folds and line end included; only lines that are set are written anew. So a text that
nobody edits goes out as it came in.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cozyd.errors import Invalid

LONGEST_LINE = 75
MOST_LINES = 20_000
MOST_PARAMETERS = 500
_NAME = re.compile(r"(?:([A-Za-z0-9-_]+)\.)?([A-Za-z0-9-_]+)")
_BORDER = re.compile(rb"\r?\n(?![ \t]|\r?\n|$)")
_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CARET = {"n": "\n", "^": "^", "'": '"'}

Parameters = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One content line.

    :param raw: its bytes, folds and line end included.
    :param group: what stands before the dot of a grouped property, empty otherwise.
    :param name: upper case.
    :param parameters: (NAME, values) in order; a bare one of vCard 2.1 counts as TYPE.
    :param value: unfolded, still escaped.
    """

    raw: bytes
    group: str
    name: str
    parameters: Parameters
    value: str

    def values(self, parameter: str) -> tuple[str, ...]:
        """All values of a parameter."""
        return tuple(value for name, values in self.parameters if name == parameter for value in values)

    def first(self, parameter: str) -> str:
        """The first value of a parameter, empty when it has none."""
        found = self.values(parameter)
        return found[0] if found else ""

    @property
    def types(self) -> frozenset[str]:
        """TYPE tokens, lower case."""
        return frozenset(token.lower() for value in self.values("TYPE") for token in value.split(","))

    def with_value(self, value: str) -> "Line":
        """The same property with another value."""
        return make(self.name, value, self.parameters, group=self.group)

    def with_parameter(self, name: str, values: Sequence[str]) -> "Line":
        """The same property with a parameter replaced, or removed when there are no values."""
        kept = [one for one in self.parameters if one[0] != name]
        if values:
            place = next((number for number, one in enumerate(self.parameters) if one[0] == name), len(kept))
            kept.insert(min(place, len(kept)), (name, tuple(values)))
        return make(self.name, self.value, tuple(kept), group=self.group)

    def with_group(self, group: str) -> "Line":
        """The same property in another group."""
        return make(self.name, self.value, self.parameters, group=group)


def make(name: str, value: str, parameters: Parameters = (), *, group: str = "") -> Line:
    """A new line, folded at 75 octets on the borders of characters."""
    value = _BREAKS.sub("", value)  # a URI or keyword of an app: nothing in it begins a line
    head = f"{group}.{name}" if group else name
    text = head + "".join(f";{key}={','.join(map(_quoted, values))}" for key, values in parameters) + f":{value}"
    return Line(fold(text), group, name.upper(), parameters, value)


def _quoted(value: str) -> str:
    plain = "".join({"\n": "^n", '"': "^'", "^": "^^"}.get(char, char) for char in value if char >= " " or char == "\n")
    return f'"{plain}"' if any(char in plain for char in ":;,") else plain


def fold(text: str) -> bytes:
    """A line's bytes, with CRLF."""
    data = text.encode()
    if len(data) <= LONGEST_LINE:
        return data + b"\r\n"
    if len(data) == len(text):
        starts = range(LONGEST_LINE, len(data), LONGEST_LINE - 1)
        return b"\r\n ".join([data[:LONGEST_LINE], *(data[start : start + LONGEST_LINE - 1] for start in starts)]) + b"\r\n"
    pieces: list[bytes] = []
    room = LONGEST_LINE
    piece = bytearray()
    for char in text:
        encoded = char.encode()
        if len(piece) + len(encoded) > room:
            pieces.append(bytes(piece))
            piece, room = bytearray(), LONGEST_LINE - 1
        piece += encoded
    pieces.append(bytes(piece))
    return b"\r\n ".join(pieces) + b"\r\n"


def parse(raw: bytes, *, most: int = MOST_LINES) -> list[Line]:
    """The lines of a text; empty ones belong to the one before.

    :param most: how many there may be.
    :raises Invalid: it is not UTF-8, or a line is none.
    """
    lines: list[Line] = []
    for piece in _logical(raw):
        lines.append(_parse_line(piece))
        if len(lines) > most:
            raise Invalid("The object has too many lines")
    return lines


def _logical(raw: bytes) -> Iterator[bytes]:
    """The text cut before each line that is no continuation; a byte order mark, or empty lines, stay with the first line."""
    start, first = 0, len(raw) - len(raw.lstrip(b"\xef\xbb\xbf\r\n"))
    for found in _BORDER.finditer(raw, first):
        yield raw[start : found.end()]
        start = found.end()
    if start < len(raw):
        yield raw[start:]


def _parse_line(raw: bytes) -> Line:
    unfolded = re.sub(rb"\r?\n[ \t]", b"", raw).strip(b"\r\n").removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    try:
        text = unfolded.decode()
    except UnicodeDecodeError as cause:
        raise Invalid("The text is not UTF-8") from cause
    head, value = _split_head(text)
    pieces = split(head, ";")
    found = _NAME.fullmatch(pieces[0].strip())
    if len(pieces) > MOST_PARAMETERS:
        raise Invalid("A line has too many parameters")
    if found is None:
        raise Invalid(f"A line has no property name: {text[:60]!r}")
    parameters = tuple(_parameter(piece) for piece in pieces[1:] if piece)
    return Line(raw, found.group(1) or "", found.group(2).upper(), parameters, value)


def _split_head(text: str) -> tuple[str, str]:
    if '"' not in text:
        head, colon, value = text.partition(":")
    else:
        parts = split(text, ":")
        head, colon, value = parts[0], ":" if len(parts) > 1 else "", text[len(parts[0]) + 1 :]
    if not colon:
        raise Invalid(f"A line has no colon: {text[:60]!r}")
    return head, value


def _parameter(piece: str) -> tuple[str, tuple[str, ...]]:
    name, equals, value = piece.partition("=")
    if not equals:
        return "TYPE", (name,)
    return name.strip().upper(), tuple(_unquoted(one) for one in split(value, ","))


def _unquoted(value: str) -> str:
    plain = value.strip().removeprefix('"').removesuffix('"')
    return re.sub(r"\^([n^'])", lambda found: _CARET[found.group(1)], plain) if "^" in plain else plain


def split(text: str, mark: str) -> list[str]:
    """Cut at a mark outside of quotes."""
    if '"' not in text:
        return text.split(mark)
    found, start, quoted = [], 0, False
    for number, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif char == mark and not quoted:
            found.append(text[start:number])
            start = number + 1
    found.append(text[start:])
    return found


# -- values -------------------------------------------------------------------------------------------------------------


def unescape(value: str) -> str:
    """A TEXT value as people read it."""
    if "\\" not in value:
        return value
    plain = [part.replace("\\n", "\n").replace("\\N", "\n").replace("\\", "") for part in value.split("\\\\")]
    return "\\".join(plain)


_WRITTEN = dict.fromkeys(range(32)) | {9: "\t", 10: "\\n", 13: "\\n", ord("\\"): "\\\\", ord(","): "\\,", ord(";"): "\\;"}


def escape(text: str) -> str:
    """A TEXT value as it is written."""
    if text.isalnum():
        return text
    return text.replace("\r\n", "\n").translate(_WRITTEN)


def uri_of(value: str) -> str:
    """A URI as people read it: it is not escaped (RFC 5545, section 3.3.13), though some programs do."""
    return re.sub(r"\\([,;:])", r"\1", value.strip())


_MARKS = {mark: re.compile(rf"\\.|{mark}", re.DOTALL) for mark in ";,"}


def parts(value: str, mark: str = ";") -> list[str]:
    """A structured value cut at a mark that is not escaped; the parts are still escaped."""
    if "\\" not in value:
        return value.split(mark)
    found, start = [], 0
    for one in _MARKS[mark].finditer(value):
        if one.group() == mark:
            found.append(value[start : one.start()])
            start = one.end()
    return [*found, value[start:]]


# -- components ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Component:
    """What lies between BEGIN and END, in order."""

    name: str
    begin: Line
    children: list["Line | Component"] = field(default_factory=list)
    end: Line | None = None

    @property
    def lines(self) -> Iterator[Line]:
        """Its own properties."""
        return (child for child in self.children if isinstance(child, Line))

    def components(self, *names: str) -> list["Component"]:
        """The components right below it, of these names, or all."""
        found = [child for child in self.children if isinstance(child, Component)]
        return [child for child in found if not names or child.name in names]

    def all(self, name: str) -> list[Line]:
        """Every property of a name."""
        return [line for line in self.lines if line.name == name]

    def get(self, name: str) -> Line | None:
        """The first property of a name."""
        return next((line for line in self.lines if line.name == name), None)

    def value(self, name: str) -> str:
        """The first property's value, empty when there is none."""
        line = self.get(name)
        return line.value if line is not None else ""

    def replace(self, old: "Line | Component", new: "Line | Component") -> None:
        """Put one child in another's place."""
        self.children[self._place(old)] = new

    def remove(self, *old: "Line | Component") -> None:
        """Take children out."""
        gone = {id(one) for one in old}
        self.children = [child for child in self.children if id(child) not in gone]

    def insert(self, new: "Line | Component", *, after: Iterable[str] = ()) -> None:
        """Add a child behind the last property of these names, else behind the last property."""
        names = frozenset(after)
        places = [number for number, child in enumerate(self.children) if isinstance(child, Line) and child.name in names]
        if not places:
            places = [number for number, child in enumerate(self.children) if isinstance(child, Line)]
        self.children.insert(places[-1] + 1 if places else 0, new)

    def append(self, new: "Line | Component") -> None:
        """Add a child at the end."""
        self.children.append(new)

    def set(self, name: str, line: Line | None, *, after: Iterable[str] = ()) -> None:
        """Have this line, or none, as the property of a name."""
        old = self.get(name)
        if old is not None and line is not None:
            self.replace(old, line)
        elif old is not None:
            self.remove(old)
        elif line is not None:
            self.insert(line, after=after)

    def render(self) -> bytes:
        """Its bytes."""
        inner = b"".join(child.raw if isinstance(child, Line) else child.render() for child in self.children)
        return self.begin.raw + inner + (self.end.raw if self.end is not None else b"")

    def _place(self, child: "Line | Component") -> int:
        return next(number for number, one in enumerate(self.children) if one is child)


def forest(raw: bytes, *, deepest: int = 8, most: int = MOST_LINES) -> list[Component]:
    """The components of a text, one after the other.

    :raises Invalid: one is unfinished or nested too deep, or a line stands outside of all.
    """
    found: list[Component] = []
    open_: list[Component] = []
    for line in parse(raw, most=most):
        if line.name == "BEGIN":
            open_.append(Component(line.value.strip().upper(), line))
            if len(open_) > deepest:
                raise Invalid("The object is nested too deep")
        elif not open_:
            raise Invalid(f"A line stands outside of any object: {line.name}")
        elif line.name == "END":
            done = open_.pop()
            if done.name != line.value.strip().upper():
                raise Invalid(f"END:{line.value[:60]} does not end BEGIN:{done.name}")
            done.end = line
            (open_[-1].children if open_ else found).append(done)
        else:
            open_[-1].children.append(line)
    if open_:
        raise Invalid(f"{open_[-1].name} has no end")
    return found


def tree(raw: bytes, name: str, *, deepest: int = 8) -> Component:
    """The one component of a text.

    :param name: what it has to be: VCARD, VCALENDAR.
    :raises Invalid: it is another one, several, or none.
    """
    found = forest(raw, deepest=deepest)
    if len(found) != 1:
        raise Invalid(f"There are {len(found)} objects where one {name} is expected")
    if found[0].name != name:
        raise Invalid(f"A {found[0].name} stands where a {name} is expected")
    return found[0]
