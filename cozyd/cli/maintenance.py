"""`cozyd maintenance`: konnectors that do not run for now."""

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at
from cozyd.config import Config


@click.group()
def maintenance() -> None:
    """Put konnectors of all instances into maintenance: no trigger runs them; their owners still may."""


@maintenance.command("list")
@click.pass_obj
def list_(config: Config) -> None:
    """List them with their options."""
    for one in ask(config, "GET", at("konnectors", "maintenance"))["data"]:
        click.echo(f"{one['id']}  {jsons.dump(one['attributes']['maintenance_options']).decode()}")


@maintenance.command("begin")
@click.argument("slug")
@click.option("--not-by-hand", is_flag=True, help="Owners may not run it either.")
@click.option("--short", is_flag=True, help="It is over soon.")
@click.option("--message", default="", help="What owners read, in English.")
@click.pass_obj
def begin(config: Config, slug: str, not_by_hand: bool, short: bool, message: str) -> None:
    """Put SLUG into maintenance, or change its options."""
    options: dict[str, object] = {
        "flag_infra_maintenance": False,
        "flag_short_maintenance": short,
        "flag_disallow_manual_exec": not_by_hand,
    }
    if message:
        options["messages"] = {"en": {"short_message": message, "long_message": message}}
    ask(config, "PUT", at("konnectors", "maintenance", slug), body={"data": {"attributes": options}})


@maintenance.command("end")
@click.argument("slug")
@click.pass_obj
def end(config: Config, slug: str) -> None:
    """Have SLUG run again."""
    ask(config, "DELETE", at("konnectors", "maintenance", slug))
