"""`cozyd passwords`: device passwords."""

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at
from cozyd.cli.shapes import InstanceGroup
from cozyd.config import Config


@click.group(cls=InstanceGroup)
def passwords() -> None:
    """Add, list and revoke device passwords."""


@passwords.command("add")
@click.argument("domain")
@click.argument("name")
@click.option("--contacts", is_flag=True, help="It reaches contacts.")
@click.option("--calendars", is_flag=True, help="It reaches calendars and tasks.")
@click.option("--files", is_flag=True, help="It reaches files.")
@click.option("--read-only", is_flag=True, help="It may not change anything.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def add(config: Config, /, domain: str, name: str, read_only: bool, as_json: bool, **reach: bool) -> None:
    """Make a password for a device; the password alone is on the last line. Without options it reaches everything."""
    chosen = [one for one, wanted in reach.items() if wanted] or list(reach)
    parameters = {"Name": name, "Reach": ",".join(chosen), "ReadOnly": "true" if read_only else None}
    made = ask(config, "POST", at("instances", domain, "passwords"), parameters)["data"]
    if as_json:
        click.echo(jsons.dump(made["attributes"] | {"id": made["id"]}))
        return
    click.echo(f"{name} may {'read' if read_only else 'read and change'} {', '.join(chosen)}. It is shown only now:")
    click.echo(made["attributes"]["password"])


@passwords.command("list")
@click.argument("domain")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(config: Config, domain: str, as_json: bool) -> None:
    """List the device passwords of DOMAIN."""
    found = ask(config, "GET", at("instances", domain, "passwords"))["data"]
    if as_json:
        click.echo(jsons.dump([one["attributes"] | {"id": one["id"]} for one in found]))
        return
    for one in found:
        attributes = one["attributes"]
        mode = "reads" if attributes["read_only"] else "reads and writes"
        used = attributes["last_used"] or "never"
        click.echo(f"{one['id']}  {attributes['name']:24} {mode} {', '.join(attributes['reach'])}; last used {used}")


@passwords.command("remove")
@click.argument("domain")
@click.argument("id")
@click.pass_obj
def remove(config: Config, domain: str, id: str) -> None:
    """Revoke a device password; ID is from `passwords list`, its name does too when it is the only one."""
    found = ask(config, "GET", at("instances", domain, "passwords"))["data"]
    named = [one["id"] for one in found if id in (one["id"], one["attributes"]["name"])]
    if not named:
        raise click.ClickException(f"{domain} has no password of this id or name: {id}")
    if len(named) > 1:
        raise click.ClickException(f"{len(named)} passwords are called {id}; use the id")
    ask(config, "DELETE", at("instances", domain, "passwords", named[0]))
    click.echo("It is revoked.")
