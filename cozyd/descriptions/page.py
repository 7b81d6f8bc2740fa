"""The page of a doctype, made from its description (docs/doctypes/)."""

from collections.abc import Iterator

from cozyd.descriptions import Description, Schema, described, description


def page(known: Description) -> str:
    """A doctype's page."""
    lines = [f"# {known.doctype}: {known.name}", known.about, "", "| member | type | |", "|---|---|---|"]
    lines += [f"| `{path}` | {kind} | {about} |" for path, kind, about in members(known.schema)]
    if known.searched:
        named = ", ".join(f"`{path}`" for path in known.title)
        further = f", then by {', '.join(f'`{path}`' for path in known.text)}" if known.text else ""
        lines += ["", f"Found by {named}{further}."]
    return "\n".join([*lines, "", f"Made from `cozyd/descriptions/doctypes/{known.doctype}.toml`."])


def overview() -> str:
    """docs/doctypes/README.md."""
    lines = [
        "# Doctypes",
        "What documents look like. Each is described in one file, `cozyd/descriptions/doctypes/<doctype>.toml`: JSON Schema written as",
        "TOML, and which members are searched. These pages, the index of words ([search.md](../search.md)), validation and models for",
        "programs are made from it. Other doctypes and other members are welcome: they are kept as they are. A member that may be left",
        "out may be null.",
        "",
        "- `[documents] validation` of the configuration: `off`, `warn` (a line in the log), `strict` (422 with the member's pointer).",
        "- `cozyd doctypes list`, `show DOCTYPE [--schema]`, `check DOMAIN [DOCTYPE...]`, `models --language typescript|python`.",
        "",
        "| doctype | |",
        "|---|---|",
    ]
    lines += [f"| [{name}]({name}.md) | {description(name).about} |" for name in described()]
    return "\n".join(lines) + "\n"


def members(schema: Schema, above: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, type and meaning of every member, those inside after what they are in."""
    required = schema.get("required", ())
    for name, one in schema.get("properties", {}).items():
        path = f"{above}{name}"
        inner = one.get("items", one)
        kind = f"list of {inner.get('type', 'anything')}" if "items" in one else str(one.get("type", "anything"))
        kind = "one of " + ", ".join(f"`{value}`" for value in one["enum"]) if "enum" in one else one.get("format", kind)
        yield path, kind + (", required" if name in required else ""), one.get("description", "")
        yield from members(inner, f"{path}[]." if "items" in one else f"{path}.")
