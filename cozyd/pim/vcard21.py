"""Cards of vCard 2.1 as cards of 3.0, when a file of them is imported (pure; versit, "vCard 2.1", 1996; RFC 2426, section 5).

What old phones and programs write: quoted-printable with soft line breaks, a character set for each line, types without a name.
"""

import quopri
import re
from collections.abc import Iterator

from cozyd.errors import Invalid
from cozyd.pim.content import Parameters, escape, make

_STRUCTURED = frozenset(("N", "ADR", "ORG"))
_AS_THEY_ARE = frozenset(("URL", "BDAY", "REV", "GEO", "TZ", "UID"))
_BINARY = frozenset(("PHOTO", "LOGO", "SOUND", "KEY"))
_ENCODINGS = frozenset(("QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT", "B"))
_CARD = re.compile(rb"(?ims)^[ \t]*BEGIN:VCARD[ \t]*\r?$.*?^[ \t]*END:VCARD[ \t]*\r?$")
_VERSION = re.compile(rb"(?im)^VERSION:2\.1[ \t]*\r?$")
_HEAD = re.compile(rb'((?:"[^"]*"|[^":])*):(.*)', re.DOTALL)


def upgraded(raw: bytes) -> bytes:
    """A file of cards with those of version 2.1 as 3.0; others stay byte for byte.

    :raises Invalid: a card has a line that is none.
    """
    if not _VERSION.search(raw):
        return raw
    return _CARD.sub(lambda found: _card(found.group()) if _VERSION.search(found.group()) else found.group(), raw)


def _card(raw: bytes) -> bytes:
    lines = [line for line in _logical(raw) if line.strip()]
    found = [written for line in lines for written in _line(line)]
    names = {line.partition(b":")[0].partition(b";")[0].rpartition(b".")[2].upper() for line in found}
    missing = [make("N", ";;;;").raw] if b"N" not in names else []
    if b"FN" not in names:
        missing.append(make("FN", escape(_shown(lines))).raw)
    return b"".join([*found[:2], *missing, *found[2:]]).rstrip(b"\r\n")


def _logical(raw: bytes) -> Iterator[bytes]:
    """Its lines, whole: folded ones, and those that quoted-printable breaks after `=`."""
    line = b""
    for piece in raw.splitlines():
        soft = line.endswith(b"=") and b"QUOTED-PRINTABLE" in line.partition(b":")[0].upper()
        if soft:
            line = line[:-1] + piece
        elif line and piece[:1] in (b" ", b"\t"):
            line += piece if b"BASE64" not in line.partition(b":")[0].upper() else piece.strip()
        else:
            if line:
                yield line
            line = piece
    yield line


def _line(line: bytes) -> list[bytes]:
    """A line as 3.0 has it; none for what only 2.1 has."""
    found = _HEAD.fullmatch(line)
    if found is None:
        raise Invalid(f"A line has no colon: {line[:60]!r}", source="valid-address-data")
    tokens = [token.strip() for token in found.group(1).decode("latin-1").split(";")]
    group, _, name = tokens[0].rpartition(".")
    name = name.upper()
    encoding, charset, parameters = _parameters(tokens[1:])
    if name == "AGENT":
        return []
    if name == "VERSION":
        return [make("VERSION", "3.0").raw]
    if encoding in ("BASE64", "B"):
        text = re.sub(r"\s", "", found.group(2).decode("ascii", "ignore"))
        return [make(name, text, (("ENCODING", ("b",)), *parameters), group=group).raw]
    data = quopri.decodestring(found.group(2)) if encoding == "QUOTED-PRINTABLE" else found.group(2)
    kept = (*parameters, ("VALUE", ("uri",))) if name in _BINARY else parameters
    return [make(name, _value(name, _text(data, charset)), kept, group=group).raw]


def _parameters(tokens: list[str]) -> tuple[str, str, Parameters]:
    """Encoding, character set, and what 3.0 has too."""
    encoding, charset = "", ""
    types: list[str] = []
    others: list[tuple[str, tuple[str, ...]]] = []
    for token in tokens:
        key, equals, value = token.partition("=")
        key, value = (key.upper(), value.strip('"')) if equals else ("", token)
        if key == "ENCODING" or (not key and value.upper() in _ENCODINGS):
            encoding = value.upper()
        elif key == "CHARSET":
            charset = value
        elif key in ("", "TYPE") and value:
            types.append(value)
        elif key not in ("", "VALUE"):
            others.append((key, (value,)))
    return encoding, charset, ((("TYPE", tuple(types)),) if types else ()) + tuple(others)


def _text(data: bytes, charset: str) -> str:
    """Characters: of the named set, else UTF-8, else Latin-1, which has a character for each byte."""
    for name in (charset, "utf-8"):
        try:
            return data.decode(name or "utf-8").replace("\r\n", "\n")
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("latin-1").replace("\r\n", "\n")


def _value(name: str, text: str) -> str:
    if name in ("BEGIN", "END", *_AS_THEY_ARE, *_BINARY):
        return text.strip().replace("\n", "")
    if name in _STRUCTURED:
        return ";".join(escape(_plain(part)) for part in re.split(r"(?<!\\);", text))
    if name == "CATEGORIES":
        return ",".join(escape(_plain(part)) for part in text.split(","))
    return escape(_plain(text))


def _plain(text: str) -> str:
    return re.sub(r"\\([;,:\\])", r"\1", text)


def _shown(lines: list[bytes]) -> str:
    """What stands for a missing FN: the name, in the order it is said."""
    for line in lines:
        found = _HEAD.fullmatch(line)
        if found is not None and re.match(rb"([\w-]+\.)?N(;|$)", found.group(1), re.IGNORECASE):
            encoding, charset, _ = _parameters([token.strip() for token in found.group(1).decode("latin-1").split(";")][1:])
            data = quopri.decodestring(found.group(2)) if encoding == "QUOTED-PRINTABLE" else found.group(2)
            family, given, *_ = [_plain(part).strip() for part in re.split(r"(?<!\\);", _text(data, charset))] + [""]
            return f"{given} {family}".strip() or "?"
    return "?"
