"""Types for programs, made from the descriptions of doctypes: TypeScript interfaces, Python `TypedDict`s."""

import re
from collections.abc import Sequence

from cozyd.descriptions import Schema, described, description

_TYPESCRIPT = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}
_PYTHON = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"}


def typescript_models() -> str:
    """A module of TypeScript."""
    lines = [
        "// Made by `cozyd doctypes models`: what documents look like.",
        "",
        "export interface Document { _id?: string; _rev?: string }",
    ]
    for doctype in described():
        known = description(doctype)
        lines += ["", f"/** {known.about} */", f"export interface {name_of(doctype)} extends Document {{"]
        lines += [*_members(known.schema, 1), "}"]
    table = [f'  "{doctype}": {name_of(doctype)}' for doctype in described()]
    return "\n".join([*lines, "", "export interface Doctypes {", *table, "}"]) + "\n"


def _members(schema: Schema, depth: int) -> list[str]:
    indent, required = "  " * depth, schema.get("required", ())
    found = []
    for name, one in schema.get("properties", {}).items():
        kind = _typescript(one, depth)
        found.append(f"{indent}/** {one.get('description', '')} */")
        found.append(f"{indent}{name}: {kind}" if name in required else f"{indent}{name}?: {kind} | null")
    return found


def _typescript(one: Schema, depth: int) -> str:
    if "enum" in one:
        return " | ".join(f'"{value}"' for value in one["enum"])
    if one.get("type") == "array":
        return f"Array<{_typescript(one.get('items', {}), depth)}>"
    if "properties" in one:
        return "\n".join(["{", *_members(one, depth + 1), "  " * depth + "}"])
    return _TYPESCRIPT.get(str(one.get("type")), "Record<string, unknown>" if one.get("type") == "object" else "unknown")


def python_models() -> str:
    """A module of Python."""
    lines = [
        '"""Made by `cozyd doctypes models`: what documents look like."""',
        "",
        "from typing import Any, Literal, NotRequired, TypedDict",
    ]
    for doctype in described():
        known = description(doctype)
        lines += _class(name_of(doctype), known.about, known.schema)
    return "\n".join(lines) + "\n"


def _class(name: str, about: str, schema: Schema) -> list[str]:
    """A class, after those it is made of. Written as a call, as members may be words of Python's own."""
    before: list[str] = []
    members = []
    for member, one in {"_id": {"type": "string"}, "_rev": {"type": "string"}, **schema.get("properties", {})}.items():
        kind = _python(one, name + member[:1].upper() + member[1:], before)
        members.append(
            f'        "{member}": {kind},' if member in schema.get("required", ()) else f'        "{member}": NotRequired[{kind} | None],'
        )
    return [*before, "", "", f"# {about}", f"{name} = TypedDict(", f'    "{name}",', "    {", *members, "    },", ")"]


def _python(one: Schema, name: str, before: list[str]) -> str:
    if "enum" in one:
        return f"Literal[{', '.join(repr(value) for value in one['enum'])}]"
    if one.get("type") == "array":
        return f"list[{_python(one.get('items', {}), name, before)}]"
    if "properties" in one:
        before += _class(name, one.get("description", name), one)
        return name
    return _PYTHON.get(str(one.get("type")), "dict[str, Any]" if one.get("type") == "object" else "Any")


def name_of(doctype: str) -> str:
    """`io.cozy.files.versions` -> `FilesVersions`."""
    words: Sequence[str] = re.split(r"[._]", doctype.removeprefix("io.cozy.").removeprefix("com."))
    return "".join(word[:1].upper() + word[1:] for word in words)
