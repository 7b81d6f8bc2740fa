"""`cozyd backup` and `cozyd restore`."""

import sys
from pathlib import Path
from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at, follow
from cozyd.cli.shapes import OfInstance
from cozyd.config import Config

_json = click.option("--json", "as_json", is_flag=True, help="Print progress and result as lines of JSON.")


@click.command("backup", cls=OfInstance)
@click.argument("domain")
@click.argument("target", type=click.Path(path_type=Path))
@_json
@click.pass_obj
def backup(config: Config, domain: str, target: Path, as_json: bool) -> None:
    """Back up DOMAIN, while it is used, to a TARGET file (NAME.tar) or folder; a folder is brought up to date."""
    follow(config, "POST", at("instances", domain, "backup"), {"Path": str(target.absolute())}, _Teller(as_json))
    if not as_json:
        click.echo(f"The backup of {domain} is in {target}.")


@click.command("restore")
@click.argument("domain")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--force", is_flag=True, help="Do not ask.")
@_json
@click.pass_obj
def restore(config: Config, domain: str, source: Path, force: bool, as_json: bool) -> None:
    """Put the backup SOURCE in the place of DOMAIN, or make DOMAIN of it."""
    attributes = [one["attributes"] for one in ask(config, "GET", "/instances")["data"]]
    known = {host for one in attributes for host in (one["domain"], *one.get("domain_aliases", ()))}
    if domain in known and not force:
        click.confirm(f"What {domain} has now will be replaced by the backup. Go on?", abort=True)
    follow(config, "POST", at("instances", domain, "restore"), {"Path": str(source.absolute())}, _Teller(as_json))
    if not as_json:
        click.echo(f"{domain} is as it was in {source}.")


class _Teller:
    """Shows progress: as JSON, on a terminal as a line that is rewritten, else only the end."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, step: dict[str, Any]) -> None:
        if self._as_json:
            click.echo(jsons.dump(step))
        elif step["step"] == "done":
            self._rewrite("")
            click.echo(f"{step['contents']} contents, {step['bytes']:,} bytes in all.")
        elif step["step"] == "contents":
            self._rewrite(f"contents: {step['done']} of {step['of']}")
        else:
            self._rewrite(f"{step['step']}...")

    @staticmethod
    def _rewrite(text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{text}", nl=False, err=True)
