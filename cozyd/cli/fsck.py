"""`cozyd fsck`: whether documents and contents agree."""

from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at, follow, is_used
from cozyd.cli.files import rewrite
from cozyd.cli.shapes import OfInstance
from cozyd.config import Config


@click.command("fsck", cls=OfInstance)
@click.argument("domain", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every instance.")
@click.option("--mend", is_flag=True, help="Mend what can be mended.")
@click.option("--offline", is_flag=True, help="No server may run; contents that no document names are told whatever their age.")
@click.option("--no-contents", is_flag=True, help="Do not read the contents to compare them with their MD5.")
@click.option("--json", "as_json", is_flag=True, help="Print findings and progress as lines of JSON.")
@click.pass_obj
def fsck(config: Config, /, domain: str | None, everyone: bool, mend: bool, offline: bool, no_contents: bool, as_json: bool) -> None:
    """Compare documents and contents of DOMAIN, while they are used. Exit status 1 when something is left to mend."""
    if (domain is None) != everyone:
        raise click.UsageError("a DOMAIN, or --all, is expected")
    if offline and is_used(config):
        raise click.ClickException(f"a server runs on {config.storage.path}: stop it first, or leave --offline out")
    names = [one["attributes"]["domain"] for one in ask(config, "GET", "/instances")["data"]] if domain is None else [domain]
    parameters = {"Progress": "true", "NoContents": "true" if no_contents else None, "OrphanAge": 0 if offline else None}
    left = 0
    for name in names:
        teller = _Teller(name, as_json)
        follow(config, "POST" if mend else "GET", at("instances", name, "fsck"), parameters, teller)
        left += teller.left
    raise SystemExit(1 if left else 0)


class _Teller:
    """Shows findings as they come, and sums up."""

    def __init__(self, domain: str, as_json: bool) -> None:
        self._domain, self._as_json = domain, as_json
        self.left = 0

    def __call__(self, step: dict[str, Any]) -> None:
        if step.get("step") == "done":
            self.left = step["findings"] - step["mended"]
        if self._as_json:
            click.echo(jsons.dump({"domain": self._domain} | step))
        elif "step" not in step:
            rewrite("")
            where = step["path"] or step["id"]
            more = {name: step[name] for name in ("expected_fullpath", "content_mismatch", "size") if name in step}
            click.echo(f"{self._domain}: {step['type']} {where}" + (f" {jsons.dump(more).decode()}" if more else ""))
        else:
            self._tell(step)

    def _tell(self, step: dict[str, Any]) -> None:
        rewrite("")
        if step["step"] == "mended":
            click.echo(f"{self._domain}: mended {step['type']} {step['path'] or step['id']}")
        elif step["step"] == "done":
            found, mended = step["findings"], step["mended"]
            click.echo(f"{self._domain}: all is well" if not found else f"{self._domain}: {found} findings, {mended} of them mended")
        elif step["step"] != "begin":
            rewrite(f"{self._domain}: {step['step']} {step['done']:,} of {step['of']:,}")
