"""`cozyd import-cozy` and `export-cozy`: instances of a cozy-stack move in, and back."""

from pathlib import Path
from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import at, follow
from cozyd.cli.files import rewrite
from cozyd.config import Config

_REMOTE = ("http://", "https://", "swift://", "swift+http://", "swift+https://")


@click.command("import-cozy")
@click.argument("source", default="")
@click.option("--storage", default="", help="The folder of its fs.url, or its Swift; without, it is looked for in SOURCE.")
@click.option("--domain", default="", help="Only this instance.")
@click.option("--dry-run", is_flag=True, help="Say what would come, and what is wrong; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print each step as a line of JSON.")
@click.pass_obj
def import_cozy(config: Config, source: str, storage: str, domain: str, dry_run: bool, as_json: bool) -> None:
    """Bring in the instances of a cozy-stack: from its CouchDB (SOURCE is an address) or a folder of dumps.

    Without SOURCE only the contents of instances that are here already are taken from --storage. It can be run again at any time, and
    goes on where it was cut. What could not be brought in, or differs, is named, and the exit status is 1 then.
    """
    if not source and not storage:
        raise click.UsageError("a SOURCE, or --storage, is expected")
    parameters = {"Source": _place(source), "Storage": _place(storage), "Domain": domain, "DryRun": "true" if dry_run else None}
    teller = _Teller(as_json)
    follow(config, "POST", at("instances", "import-cozy"), parameters, teller)
    raise SystemExit(1 if teller.troubles else 0)


@click.command("export-cozy")
@click.argument("domain")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print each step as a line of JSON.")
@click.pass_obj
def export_cozy(config: Config, domain: str, folder: Path, as_json: bool) -> None:
    """Write the contents of DOMAIN below FOLDER as the local storage of a cozy-stack, for the way back to it."""
    teller = _Teller(as_json)
    follow(config, "POST", at("instances", domain, "export-cozy"), {"Folder": str(folder.absolute())}, teller)
    raise SystemExit(1 if teller.troubles else 0)


def _place(text: str) -> str:
    """An address as it is, a folder as an absolute path: the server reads it."""
    return text if not text or text.startswith(_REMOTE) else str(Path(text).absolute())


class _Teller:
    """Shows steps as they come."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.troubles = 0

    def __call__(self, step: dict[str, Any]) -> None:
        self.troubles += step["step"] == "trouble"
        if self._as_json:
            click.echo(jsons.dump(step))
        elif step["step"] == "trouble":
            rewrite("")
            click.echo(f"{step['kind']}: {step['name']}: {step['reason']}", err=True)
        elif step["step"] == "moved":
            rewrite("")
            counts = ", ".join(f"{count:,} {name}" for name, count in step.items() if name not in ("step", "domain"))
            click.echo(f"{step['domain']}: {counts}")
        elif step["step"] == "done":
            rewrite("")
            click.echo(f"{step['instances']} instances, {step['troubles']} troubles")
        elif "done" in step:
            rewrite(f"{step['step']} {step.get('doctype', '')}: {step['done']:,}")
