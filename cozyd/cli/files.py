"""`cozyd files`: plain folders in and out, and what files take."""

import sys
from pathlib import Path
from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at, follow
from cozyd.cli.shapes import InstanceGroup
from cozyd.config import Config

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=InstanceGroup)
def files() -> None:
    """Bring files in, take them out, see what they take."""


@files.command("import")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("domain")
@click.argument("path", default="/")
@_json
@click.pass_obj
def import_(config: Config, folder: Path, domain: str, path: str, as_json: bool) -> None:
    """Take all of FOLDER, or of cozy-stack's local storage of an instance, into PATH of DOMAIN.

    What is there already with the same bytes is left alone, so that it can be run again. The server reads the folder.
    """
    teller = Teller(as_json)
    follow(config, "POST", at("instances", domain, "import-folder"), {"Folder": str(folder.absolute()), "Path": path}, teller)
    raise SystemExit(1 if teller.trouble else 0)


@files.command("export")
@click.argument("domain")
@click.argument("arguments", nargs=-1, required=True, metavar="[PATH] FOLDER")
@_json
@click.pass_obj
def export(config: Config, domain: str, arguments: tuple[str, ...], as_json: bool) -> None:
    """Write all below PATH of DOMAIN to FOLDER, which is made or has to be empty. The server writes it.

    A content that was altered on the disk is told, not written; the exit status is 1 then.
    """
    if len(arguments) > 2:
        raise click.UsageError("DOMAIN, perhaps a PATH, and a FOLDER are expected")
    path, folder = ("/", *arguments)[-2:]
    teller = Teller(as_json)
    parameters = {"Folder": str(Path(folder).absolute()), "Path": path}
    follow(config, "POST", at("instances", domain, "export-folder"), parameters, teller)
    raise SystemExit(1 if teller.trouble else 0)


@files.command("usage")
@click.argument("domain")
@_json
@click.pass_obj
def usage(config: Config, domain: str, as_json: bool) -> None:
    """Show what the files of DOMAIN take: files, old versions, and how much of it is in the trash."""
    found = ask(config, "GET", at("instances", domain, "disk-usage"), {"include": "trash"})
    if as_json:
        click.echo(jsons.dump(found))
        return
    for name in ("files", "versions", "trashed", "used", "quota"):
        note = {"trashed": "  (of the files)", "versions": f"  ({found['versions_count']} of them)"}.get(name, "")
        click.echo(f"{name:9} {int(found[name]):>20,} bytes{note}" if name in found else f"{name:9} {'no limit':>20}")


class Teller:
    """Shows steps: as JSON, on a terminal as a line that is rewritten; what went wrong always."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.trouble = False

    def __call__(self, step: dict[str, Any]) -> None:
        self.trouble = self.trouble or step["step"] == "damaged"
        if self._as_json:
            click.echo(jsons.dump(step))
        elif step["step"] == "done":
            rewrite("")
            click.echo(", ".join(f"{count:,} {name}" for name, count in step.items() if name != "step"))
        elif "reason" in step:
            rewrite("")
            click.echo(f"{step['path']}: {step['reason']}", err=True)
        else:
            rewrite(f"{step['files']:,} files, {step['bytes']:,} bytes")


def rewrite(text: str) -> None:
    """Show a line in the place of the last one, on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", err=True, nl=False)
