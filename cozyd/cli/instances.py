"""`cozyd instances`: the life of instances."""

import os
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at, follow
from cozyd.cli.shapes import OfInstance
from cozyd.config import Config

Function = Callable[..., Any]

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_domain = click.argument("domain")
_OPTIONS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("--email",), "Email", "Her address."),
    (("--public-name",), "PublicName", "How others see her; the domain's first part by default."),
    (("--phone",), "Phone", "Her phone number."),
    (("--locale",), "Locale", "Language: en, fr, de, es."),
    (("--timezone", "--tz"), "Timezone", "Time zone: Europe/Paris."),
    (("--quota", "--disk-quota"), "DiskQuota", "What her files may take: 10GB, 500MB; -1 for no limit."),
    (("--context", "--context-name"), "ContextName", "The context of the configuration."),
    (("--settings",), "Settings", "Further settings: name:value,name:value."),
    (("--passphrase",), "Passphrase", "Her passphrase; a new one ends every session."),
    (("--auth-mode",), "AuthMode", "How she logs in: basic, two_factor_mail."),
    (("--uuid",), "UUID", "Her id at a managing service."),
    (("--oidc-id", "--oidc_id"), "OIDCID", "Her id at an OpenID Connect provider."),
    (("--franceconnect-id", "--franceconnect_id"), "FranceConnectID", "Her id at FranceConnect."),
    (("--tos",), "TOSSigned", "Version of the terms of service that she has signed."),
    (("--tos-latest",), "TOSLatest", "Version of the terms of service to sign: 2.0.0-20270101."),
    (("--old-domain",), "OldDomain", "A domain that leads to this one."),
    (("--org-domain",), "OrgDomain", "Domain of her organization."),
    (("--org-id",), "OrgID", "Id of her organization."),
    (("--sponsorships",), "sponsorships", "Sponsors, with commas."),
)
_FLAGS = (
    ("--magic-link/--no-magic-link", "MagicLink", "Whether links by mail log her in."),
    ("--auto-update/--no-auto-update", "AutoUpdate", "Whether her apps are updated by themselves."),
)


def _described(command: Function) -> Function:
    """The options that say how an instance is; they arrive under the names of the admin application."""
    for names, parameter, text in reversed(_OPTIONS):
        command = click.option(*names, parameter, help=text)(command)
    for switch, parameter, text in reversed(_FLAGS):
        command = click.option(switch, parameter, default=None, help=text)(command)
    aliases = click.option("--alias", "aliases", multiple=True, metavar="HOST", help="Another host name; may be repeated.")
    listed = click.option("--domain-aliases", "listed", hidden=True)
    return aliases(listed(command))


@click.group()
def instances() -> None:
    """Add, list, change and remove instances: one domain per person."""


@instances.command("add")
@_domain
@_described
@click.option("--template", "Template", help="A template of the configuration.")
@click.option("--apps", "Apps", help="Slugs of apps to install, with commas; a comma alone: none.")
@click.option("--if-missing", is_flag=True, help="Fine when it is there already.")
@_json
@click.pass_obj
def add(
    config: Config, /, domain: str, aliases: tuple[str, ...], listed: str | None, if_missing: bool, as_json: bool, **named: Any
) -> None:
    """Make an instance on DOMAIN (host and port as browsers show it)."""
    _check_allowed()
    if if_missing and domain in _domains(config):
        _print_one(ask(config, "GET", at("instances", domain))["data"], as_json)
        return
    made: dict[str, Any] = {}

    def tell(step: dict[str, Any]) -> None:
        made.update(step.get("data") or {})
        if "step" in step and not as_json:
            click.echo(f"making {step['step']}", err=True)

    given = {"Domain": domain, "DomainAliases": _joined(aliases, listed), "Progress": "true"}
    follow(config, "POST", "/instances", given | _texts(named), tell)
    _print_one(made, as_json)
    token = made["attributes"].get("register_token")
    if token and not as_json:
        code = b64decode(token).hex()
        click.echo(f'Registration token: "{code}"', err=True)
        click.echo(f"Her passphrase is chosen at {config.server.scheme}://{made['attributes']['domain']}/?registerToken={code}", err=True)


@instances.command("list")
@click.option("--fields", help="Members to show, with commas.")
@_json
@click.pass_obj
def list_(config: Config, fields: str | None, as_json: bool) -> None:
    """List the instances."""
    found = [one["attributes"] for one in ask(config, "GET", "/instances")["data"]]
    if fields:
        chosen = [name.strip() for name in fields.split(",")]
        found = [{name: one.get("prefix" if name == "db_prefix" else name) for name in chosen} for one in found]
    if as_json:
        click.echo(jsons.dump(found))
    elif fields:
        for one in found:
            click.echo("\t".join("" if value is None else str(value) for value in one.values()))
    else:
        for one in found:
            click.echo(_line(one))


@instances.command("count")
@_json
@click.pass_obj
def count(config: Config, as_json: bool) -> None:
    """Say how many instances there are."""
    found = ask(config, "GET", "/instances/count")
    click.echo(jsons.dump(found) if as_json else found["count"])


@instances.command("show")
@_domain
@_json
@click.pass_obj
def show(config: Config, domain: str, as_json: bool) -> None:
    """Show one instance."""
    found = ask(config, "GET", at("instances", domain))
    found["data"]["attributes"] |= found["meta"]
    _print_one(found["data"], as_json)


@instances.command("set")
@_domain
@_described
@click.option("--no-alias", is_flag=True, help="Remove all aliases.")
@click.option("--onboarding-finished", "OnboardingFinished", type=bool, help="Whether she has chosen her passphrase.")
@click.option("--blocked", "Blocked", type=bool, hidden=True)
@click.option("--blocking-reason", "BlockingReason", hidden=True)
@click.option("--deleting", "Deleting", type=bool, help="false: an interrupted removal was a mistake.")
@_json
@click.pass_obj
def set_(config: Config, /, domain: str, aliases: tuple[str, ...], listed: str | None, no_alias: bool, as_json: bool, **named: Any) -> None:
    """Change an instance; what is not named stays. --alias replaces all aliases."""
    changes = _texts(named) | {"DomainAliases": "," if no_alias else _joined(aliases, listed) or None}
    _print_one(ask(config, "PATCH", at("instances", domain), changes)["data"], as_json)


@instances.command("rename")
@_domain
@click.argument("new")
@_json
@click.pass_obj
def rename(config: Config, domain: str, new: str, as_json: bool) -> None:
    """Give DOMAIN the domain NEW. The old one leads to it; devices, tokens and links go on."""
    _print_one(ask(config, "PATCH", at("instances", domain), {"NewDomain": new})["data"], as_json)


@instances.command("block")
@_domain
@click.option("--reason", help="PAYMENT_FAILED, LOGIN_FAILED, IMPORTING, MOVING, or another word.")
@_json
@click.pass_obj
def block(config: Config, domain: str, reason: str | None, as_json: bool) -> None:
    """Serve nobody of DOMAIN until `unblock`; nothing is lost."""
    _print_one(ask(config, "PATCH", at("instances", domain), {"Blocked": "true", "BlockingReason": reason or ""})["data"], as_json)


@instances.command("unblock")
@_domain
@_json
@click.pass_obj
def unblock(config: Config, domain: str, as_json: bool) -> None:
    """Serve DOMAIN again."""
    _print_one(ask(config, "PATCH", at("instances", domain), {"Blocked": "false"})["data"], as_json)


@click.command("settings", cls=OfInstance)
@_domain
@click.argument("changes", required=False)
@_json
@click.pass_obj
def settings(config: Config, domain: str, changes: str | None, as_json: bool) -> None:
    """Show DOMAIN's settings, or change some: name:value,name:value."""
    if changes is not None:
        ask(config, "PATCH", at("instances", domain), {"Settings": changes})
    found = ask(config, "GET", at("instances", domain, "settings"))
    _print_one({"attributes": found}, as_json)


@instances.command("set-passphrase")
@_domain
@click.argument("passphrase")
@click.pass_obj
def set_passphrase(config: Config, domain: str, passphrase: str) -> None:
    """Give her another passphrase. Every session ends; what was in her vault cannot be opened any more."""
    ask(config, "PATCH", at("instances", domain), {"Passphrase": passphrase})
    click.echo(f"Passphrase has been changed for instance {domain}")


@instances.command("auth-mode")
@_domain
@click.argument("mode")
@click.pass_obj
def auth_mode(config: Config, domain: str, mode: str) -> None:
    """Choose how she logs in: basic, two_factor_mail."""
    done = ask(config, "POST", at("instances", domain, "auth-mode"), body={"auth_mode": mode})
    click.echo(done or f"Auth mode has been changed for {domain}")


@instances.command("clean-sessions")
@_domain
@click.pass_obj
def clean_sessions(config: Config, domain: str) -> None:
    """End every session of hers, and forget her log-ins."""
    ask(config, "DELETE", at("instances", domain, "sessions"))
    click.echo(f"The sessions of {domain} are ended.")


@instances.command("remove")
@_domain
@click.option("--force", is_flag=True, help="Do not ask.")
@click.option("--if-there", is_flag=True, help="Fine when it is gone already.")
@_json
@click.pass_obj
def remove(config: Config, domain: str, force: bool, if_there: bool, as_json: bool) -> None:
    """Remove an instance with every byte of hers; an interrupted removal is finished by the next."""
    _check_allowed()
    if if_there and domain not in _domains(config):
        return
    ask(config, "GET", at("instances", domain))
    if not force:
        click.confirm(f"Everything of {domain} will be gone for good. Remove it?", abort=True)

    def tell(step: dict[str, Any]) -> None:
        click.echo(jsons.dump(step) if as_json else f"removing {step['step']}", err=not as_json)

    follow(config, "DELETE", at("instances", domain), {"Progress": "true"}, tell)
    if not as_json:
        click.echo(f"{domain} is removed.")


@instances.command("show-db-prefix", hidden=True)
@_domain
@click.pass_obj
def show_prefix(config: Config, domain: str) -> None:
    """Print the tenant's name in stores."""
    click.echo(ask(config, "GET", at("instances", domain, "prefix")))


@instances.command("set-disk-quota", hidden=True)
@_domain
@click.argument("quota")
@click.pass_obj
def set_quota(config: Config, domain: str, quota: str) -> None:
    """Say what her files may take; 0 for no limit."""
    ask(config, "PATCH", at("instances", domain), {"DiskQuota": "-1" if quota == "0" else quota})


for _name, _command in (
    ("ls", list_),
    ("create", add),
    ("modify", set_),
    ("destroy", remove),
    ("rm", remove),
    ("delete", remove),
):
    instances.add_command(click.Command(_name, callback=_command.callback, params=_command.params, hidden=True, help=_command.help))


def _check_allowed() -> None:
    """Whether instances are made and removed here at all.

    :raises click.ClickException: the operator forbids it, and says why.
    """
    reason = os.environ.get("COZY_DISABLE_INSTANCES_ADD_RM")
    if reason:
        raise click.ClickException(reason)


def _domains(config: Config) -> frozenset[str]:
    """Every host name of every instance."""
    found = [one["attributes"] for one in ask(config, "GET", "/instances")["data"]]
    return frozenset(name for one in found for name in (one["domain"], *one.get("domain_aliases", ())))


def _joined(aliases: tuple[str, ...], listed: str | None) -> str:
    return ",".join([*aliases, *([listed] if listed else [])])


def _texts(named: dict[str, Any]) -> dict[str, Any]:
    """Options as parameters; those that were not given are left out."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in named.items() if value is not None}


def _line(one: dict[str, Any]) -> str:
    aliases = ", ".join(one.get("domain_aliases", ()))
    state = "blocked" if one.get("blocked") else "onboarded" if one.get("onboarding_finished") else "pending"
    return f"{one['domain']:40} {one.get('locale', ''):4} {one.get('disk_quota', 'no quota'):>14}  {state:10} {one['prefix']}  {aliases}"


def _print_one(one: dict[str, Any], as_json: bool) -> None:
    attributes: dict[str, Any] = one["attributes"]
    if as_json:
        click.echo(jsons.dump(attributes))
        return
    for name, value in attributes.items():
        shown = jsons.dump(value).decode() if isinstance(value, dict) else ", ".join(map(str, value)) if isinstance(value, list) else value
        click.echo(f"{name:22} {shown}")
