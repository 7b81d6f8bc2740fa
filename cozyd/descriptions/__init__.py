"""`Description`: what a doctype's documents look like, one file each in `doctypes/` (docs/doctypes/README.md).

A file is JSON Schema written as TOML, with a table `search`: which members stand for the document in results, and which are
searched. Validation, the search index, the pages and the models for programs all come from it. A member that may be left out may
be null as well, and members that are not described may be there: nine of ten doctypes, and many members, are not ours.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cozyd.errors import NotFound

FOLDER = Path(__file__).parent / "doctypes"
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Description:
    """What one doctype's documents look like.

    :param schema: JSON Schema (draft 2020-12), as written: without what `strict` adds.
    :param title: paths of the members that name a document, `a.b`, through lists too.
    :param text: paths of further members that are searched.
    """

    doctype: str
    name: str
    about: str
    schema: Schema
    title: Sequence[str]
    text: Sequence[str]

    @property
    def searched(self) -> bool:
        """Whether its documents are found by their words."""
        return bool(self.title or self.text)


@dataclass(frozen=True, slots=True)
class Problem:
    """Where a document is not as described.

    :param path: JSON pointer.
    :param text: what is wrong, without the value.
    """

    path: str
    text: str


@cache
def described() -> Sequence[str]:
    """Every doctype that has a description, in order."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in FOLDER.glob("*.toml")))


@cache
def description(doctype: str) -> Description:
    """The description of a doctype.

    :raises NotFound: it has none.
    """
    if doctype not in described():
        raise NotFound(f"{doctype} has no description")
    given = tomllib.loads((FOLDER / f"{doctype}.toml").read_text())
    search = given.pop("search", {})
    name, about = given.pop("title"), given.pop("description")
    return Description(doctype, name, about, {"type": "object"} | given, search.get("title", ()), search.get("text", ()))


@cache
def searched() -> Mapping[str, Description]:
    """The descriptions whose documents are found by their words."""
    return {doctype: found for doctype in described() if (found := description(doctype)).searched}


def problems(doctype: str, doc: Mapping[str, Any]) -> list[Problem]:
    """Where a document is not as its doctype says; nothing for a doctype without a description."""
    if doctype not in described() or str(doc.get("_id", "")).startswith("_design/"):
        return []
    return [Problem("/" + "/".join(map(str, error.instance_path)), error.message) for error in _validator(doctype).iter_errors(dict(doc))]


@cache
def _validator(doctype: str) -> Any:
    import jsonschema_rs

    schema = _lenient(description(doctype).schema)
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, mask="the value")


def _lenient(schema: Schema) -> Schema:
    """A schema whose optional members may be null."""
    required = schema.get("required", ())
    found = dict(schema)
    if "properties" in schema:
        inner = {name: _lenient(one) for name, one in schema["properties"].items()}
        found["properties"] = {
            name: one if name in required or "type" not in one else one | {"type": [one["type"], "null"]} for name, one in inner.items()
        }
    if "items" in schema:
        found["items"] = _lenient(schema["items"])
    return found
