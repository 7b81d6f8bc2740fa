"""`letter`: a template and its values -> subject, text and HTML of a mail, in the reader's language (docs/mails.md).

A template is one file, `words/<name>.toml`: which values it takes, and for each language a `subject` and a `body`. A body is
paragraphs with an empty line between; one that begins with `= ` is a code to be typed, one with `> ` a button, `label | address`.
Each is Jinja; the blocks are found before any value is put in, so no value makes one.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from cozyd.errors import Invalid

FOLDER = Path(__file__).parent
FALLBACK = "en"
COMMON = ("name", "domain")
"""What every template knows: how the reader is called, and her domain."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail's words."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph; `kind` is `text`, `code` or `button` (then with the address it leads to)."""

    kind: str
    words: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of mail.

    :param values: name -> what it is, of those that have to be given.
    :param optional: of those that may be left out.
    :param subjects: language -> subject.
    :param bodies: language -> blocks, still with their Jinja.
    """

    values: Mapping[str, str]
    optional: Mapping[str, str]
    subjects: Mapping[str, str]
    bodies: Mapping[str, tuple[Block, ...]]


@cache
def names() -> frozenset[str]:
    """Every template's name."""
    return frozenset(path.stem for path in (FOLDER / "words").glob("*.toml"))


@cache
def template(name: str) -> Template:
    """A template by name.

    :raises Invalid: there is none.
    """
    if name not in names():
        raise Invalid(f"There is no mail template {name!r}", source="template_name")
    given = tomllib.loads((FOLDER / "words" / f"{name}.toml").read_text())
    known, optional = given.pop("values", {}), given.pop("optional", {})
    bodies = {language: tuple(_block(part) for part in words["body"].strip().split("\n\n")) for language, words in given.items()}
    return Template(known, optional, {language: words["subject"] for language, words in given.items()}, bodies)


def check(name: str, values: Mapping[str, Any]) -> None:
    """Whether a template can be filled.

    :raises Invalid: there is no such template, a value is missing, or one is unknown to it.
    """
    known = template(name)
    for missing in known.values.keys() - values.keys():
        raise Invalid(f"The mail {name} needs the value {missing}", source="template_values")
    for unknown in values.keys() - known.values.keys() - known.optional.keys() - set(COMMON):
        raise Invalid(f"The mail {name} knows no value {unknown}", source="template_values")


def letter(name: str, locale: str, values: Mapping[str, Any]) -> Letter:
    """The mail of a template.

    :param locale: `fr`, or `fr-CA`; English where the template has no such language.
    :param values: those of the template, and `COMMON`.
    :raises Invalid: as `check`, or an address of a button is none of the web.
    """
    check(name, values)
    known = template(name)
    language = locale.replace("_", "-").partition("-")[0]
    language = language if language in known.bodies else FALLBACK
    filled = dict.fromkeys(known.optional, "") | dict(values)
    plain = [_filled(block, _plain(), filled) for block in known.bodies[language]]
    rich = [_filled(block, _rich(), filled) for block in known.bodies[language]]
    subject = " ".join(_put(_plain(), known.subjects[language], filled).split())
    page = _rich().get_template("letter.html").render(filled, language=language, subject=subject, blocks=[one for one in rich if one])
    return Letter(subject, "\n\n".join(_as_text(block) for block in plain if block) + "\n", page)


def _block(part: str) -> Block:
    part = " ".join(part.split())
    if part.startswith("= "):
        return Block("code", part[2:])
    if part.startswith("> "):
        label, _, address = part[2:].rpartition(" | ")
        return Block("button", label, address)
    return Block("text", part)


def _filled(block: Block, environment: Environment, values: Mapping[str, Any]) -> Block | None:
    """A block with its values put in; None where nothing is left of it."""
    words = _put(environment, block.words, values)
    address = _put(_plain(), block.address, values).strip()
    if not words.strip() or (block.kind == "button" and not address):
        return None
    if block.kind == "button" and not address.startswith(("https://", "http://")):
        raise Invalid("A button of a mail leads to a page of the web", source="template_values")
    return Block(block.kind, words, address)


def _put(environment: Environment, words: str, values: Mapping[str, Any]) -> str:
    try:
        return environment.from_string(words).render(values)
    except TemplateError as cause:
        raise Invalid(f"The mail cannot be written: {cause}", source="template_values") from cause


def _as_text(block: Block) -> str:
    if block.kind == "code":
        return f"    {block.words}"
    return f"{block.words}:\n{block.address}" if block.kind == "button" else block.words


@cache
def _plain() -> Environment:
    return Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701  (text/plain)


@cache
def _rich() -> Environment:
    return Environment(loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
