"""`cozyd instances` and `cozyd token`."""

from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at
from cozyd.config import Config

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def instances() -> None:
    """Add, list, change and remove instances: one domain per person."""


@instances.command("add")
@click.argument("domain")
@click.option("--passphrase", help="Her passphrase; without one nobody can log in until `instances set` gives her one.")
@click.option("--email", help="Her address.")
@click.option("--public-name", help="How others see her; the domain's first part by default.")
@click.option("--alias", "aliases", multiple=True, metavar="HOST", help="Another host name; may be repeated.")
@click.option("--locale", default="en", show_default=True, help="Language: en, fr, de, es.")
@click.option("--quota", metavar="SIZE", help="What her files may take: 10GB, 500MB.")
@_json
@click.pass_obj
def add(config: Config, /, domain: str, as_json: bool, aliases: tuple[str, ...], quota: str | None, **options: str | None) -> None:
    """Make an instance on DOMAIN (host and port as browsers show it)."""
    named = {
        "Passphrase": options["passphrase"],
        "Email": options["email"],
        "PublicName": options["public_name"],
        "Locale": options["locale"],
    }
    made = ask(config, "POST", "/instances", {"Domain": domain, "DomainAliases": ",".join(aliases), "DiskQuota": quota} | named)
    _print_one(made["data"], as_json)
    if not as_json and options["passphrase"] is None:
        click.echo(f"She has no passphrase yet: cozyd instances set {domain} --passphrase ...", err=True)


@instances.command("list")
@_json
@click.pass_obj
def list_(config: Config, as_json: bool) -> None:
    """List the instances."""
    found = ask(config, "GET", "/instances")["data"]
    if as_json:
        click.echo(jsons.dump([_flat(one) for one in found]))
        return
    for one in found:
        attributes = one["attributes"]
        aliases = ", ".join(attributes.get("domain_aliases", ()))
        click.echo(f"{attributes['domain']:40} {attributes.get('locale', ''):4} {attributes.get('disk_quota', 'no quota'):>14}  {aliases}")


@instances.command("show")
@click.argument("domain")
@_json
@click.pass_obj
def show(config: Config, domain: str, as_json: bool) -> None:
    """Show one instance."""
    found = ask(config, "GET", at("instances", domain))
    found["data"]["attributes"] |= found["meta"]
    _print_one(found["data"], as_json)


@instances.command("set")
@click.argument("domain")
@click.option("--alias", "aliases", multiple=True, metavar="HOST", help="Replaces all aliases; may be repeated.")
@click.option("--no-alias", is_flag=True, help="Remove all aliases.")
@click.option("--locale", help="Language: en, fr, de, es.")
@click.option("--quota", metavar="SIZE", help="What her files may take: 10GB, 500MB; -1 for no limit.")
@click.option("--passphrase", help="A new passphrase; ends every session.")
@_json
@click.pass_obj
def set_(config: Config, /, domain: str, aliases: tuple[str, ...], no_alias: bool, as_json: bool, **options: str | None) -> None:
    """Change an instance."""
    changes: dict[str, Any] = {"Locale": options["locale"], "DiskQuota": options["quota"], "Passphrase": options["passphrase"]}
    if aliases or no_alias:
        changes["DomainAliases"] = ",".join(aliases) or ","
    _print_one(ask(config, "PATCH", at("instances", domain), changes)["data"], as_json)


@instances.command("remove")
@click.argument("domain")
@click.option("--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(config: Config, domain: str, force: bool) -> None:
    """Remove an instance with every byte of hers."""
    ask(config, "GET", at("instances", domain))
    if not force:
        click.confirm(f"Everything of {domain} will be gone for good. Remove it?", abort=True)
    ask(config, "DELETE", at("instances", domain))
    click.echo(f"{domain} is removed.")


@click.command("token")
@click.argument("domain")
@click.argument("scope", nargs=-1, required=True)
@click.option("--app", "slug", metavar="SLUG", help="A token as this web app has it.")
@click.pass_obj
def token(config: Config, domain: str, scope: tuple[str, ...], slug: str | None) -> None:
    """Print a token for DOMAIN, good for 30 minutes. SCOPE: io.cozy.contacts io.cozy.files:GET ..."""
    audience = "app" if slug else "cli"
    parameters = {"Domain": domain, "Scope": " ".join(scope), "Audience": audience, "Subject": slug}
    click.echo(ask(config, "POST", "/instances/token", parameters))


for _name, _command in (("ls", list_), ("modify", set_), ("destroy", remove), ("token-cli", token)):
    instances.add_command(click.Command(_name, callback=_command.callback, params=_command.params, hidden=True, help=_command.help))


def _flat(one: dict[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = one["attributes"]
    return attributes


def _print_one(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(jsons.dump(_flat(one)))
        return
    for name, value in _flat(one).items():
        click.echo(f"{name:22} {', '.join(map(str, value)) if isinstance(value, list) else value}")
