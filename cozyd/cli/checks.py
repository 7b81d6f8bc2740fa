"""`cozyd check` and `cozyd fix`: what an operator looks for and mends beside contents (`cozyd fsck`), by cozy-stack's names."""

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at
from cozyd.cli.fsck import fsck
from cozyd.cli.shapes import InstanceGroup
from cozyd.config import Config

_FIXES = {
    "indexes": "Make the indexes that come with doctypes, where one is missing.",
    "password-defined": "Have the record say whether she has a passphrase, where it does not.",
    "service-triggers": "Have each service of each app its trigger, where one is missing.",
}


@click.group(cls=InstanceGroup)
def check() -> None:
    """Look for what is wrong with an instance."""


@check.command("triggers")
@click.argument("domain")
@click.pass_obj
def triggers(config: Config, domain: str) -> None:
    """Print triggers of DOMAIN that are there twice, or whose worker is not, as lines of JSON. Exit status 1 when there are some."""
    found = ask(config, "POST", at("instances", domain, "checks", "triggers"))
    for one in found:
        click.echo(jsons.dump(one))
    raise SystemExit(1 if found else 0)


check.add_command(fsck, "fs")


@click.group(cls=InstanceGroup)
def fix() -> None:
    """Mend an instance."""


def _fix(name: str, what: str) -> None:
    @fix.command(name, help=what)
    @click.argument("domain")
    @click.pass_obj
    def command(config: Config, domain: str) -> None:
        ask(config, "POST", at("instances", domain, "fixers", name))


for _name, _what in _FIXES.items():
    _fix(_name, _what)
