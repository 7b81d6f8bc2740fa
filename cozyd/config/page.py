"""The page of every option, docs/config.md."""

from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from cozyd.config.tables import FREE, PROVIDER, TABLES, TEMPLATE


def document() -> str:
    """docs/config.md."""
    lines = [
        "# Configuration",
        "One file, `cozyd.toml`, from `--config`, `$COZYD_CONFIG`, `./`, `~/.config/cozyd/` or `/etc/cozyd/`, in this order. No file",
        "is fine too. Each key may come as an environment variable (`COZYD_SERVER_PORT`); a command's option wins over the",
        "environment, that over the file. `cozyd config show` prints what is in force, `cozyd config check` says what to do about it.",
        "An unknown table, key or variable and a bad value are errors that name the file and the key. Paths may begin with `~`.",
        "This page is made from `cozyd/config/tables.py`.",
        "",
        "```toml",
        "# /etc/cozyd/cozyd.toml, behind a TLS proxy on the same machine",
        "[server]",
        'scheme = "https"',
        'trusted_proxy = "127.0.0.1"',
        "",
        "[storage]",
        'path = "/srv/cozyd"',
        "```",
    ]
    for name, kind in TABLES.items():
        lines += [
            "",
            f"## `[{name}]`",
            (kind.__doc__ or "").split(": ", 1)[1].capitalize(),
            "",
            "| key | default | meaning |",
            "|---|---|---|",
        ]
        for item in fields(kind):
            bounds = _bounds(item)
            choices = f" One of {', '.join(f'`{one}`' for one in item.metadata['choices'])}." if item.metadata["choices"] else ""
            lines.append(f"| `{item.name}` | `{_shown(item.default)}` | {item.metadata['doc']}{choices}{bounds} |")
    return "\n".join(lines + _document_free()) + "\n"


def _document_free() -> list[str]:
    lines = [
        "",
        "## `[contexts.<name>]`",
        FREE["contexts"],
        "",
        "## `[templates.<name>]`",
        FREE["templates"],
        "",
        "| key | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{key}` | {meaning} |" for key, (_, meaning) in TEMPLATE.items()]
    lines += ["", "## `[oidc.<context>]`", FREE["oidc"], "", "| key | meaning |", "|---|---|"]
    return [*lines, *(f"| `{key}` | {meaning} |" for key, meaning in PROVIDER.items())]


def _bounds(item: Field[Any]) -> str:
    low, high = item.metadata["low"], item.metadata["high"]
    if low is None:
        return ""
    return f" At least {low}, at most {high}." if high is not None else f" At least {low}."


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, int | Path) else f'"{value}"'
