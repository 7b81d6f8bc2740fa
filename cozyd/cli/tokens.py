"""`cozyd token`, and cozy-stack's commands for tokens and OAuth clients."""

from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import ask
from cozyd.cli.instances import instances
from cozyd.cli.shapes import OfInstance
from cozyd.config import Config

_domain = click.argument("domain")
_expire = click.option("--expire", "Expire", metavar="1h30m", help="How long it is good for.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("token", cls=OfInstance)
@_domain
@click.argument("scope", nargs=-1, required=True)
@click.option("--app", "slug", metavar="SLUG", help="A token as this web app has it.")
@_expire
@click.pass_obj
def token(config: Config, /, domain: str, scope: tuple[str, ...], slug: str | None, **named: str | None) -> None:
    """Print a token for DOMAIN, good for 30 minutes. SCOPE: io.cozy.contacts io.cozy.files:GET ..."""
    _print_token(config, domain, "app" if slug else "cli", " ".join(scope), slug, named)


@instances.command("token-cli", hidden=True)
@_domain
@click.argument("scope", nargs=-1, required=True)
@_expire
@click.pass_obj
def token_cli(config: Config, /, domain: str, scope: tuple[str, ...], **named: str | None) -> None:
    """Print a token of the command line."""
    _print_token(config, domain, "cli", " ".join(scope), None, named)


def _of_slug(name: str, audience: str, help: str) -> None:
    @instances.command(name, hidden=True, help=help)
    @_domain
    @click.argument("slug")
    @_expire
    @click.pass_obj
    def command(config: Config, /, domain: str, slug: str, **named: str | None) -> None:
        _print_token(config, domain, audience, "", slug, named)


def _of_client(name: str, audience: str, help: str) -> None:
    @instances.command(name, hidden=True, help=help)
    @_domain
    @click.argument("client")
    @click.argument("scope", nargs=-1, required=True)
    @_expire
    @click.pass_obj
    def command(config: Config, /, domain: str, client: str, scope: tuple[str, ...], **named: str | None) -> None:
        _print_token(config, domain, audience, " ".join(scope), client, named)


_of_slug("token-app", "app", "Print a token as a web app has it.")
_of_slug("token-konnector", "konn", "Print a token as a konnector has it.")
_of_client("token-oauth", "access", "Print an access token of an OAuth client.")
_of_client("refresh-token-oauth", "refresh", "Print a refresh token of an OAuth client.")


@instances.command("client-oauth", hidden=True)
@_domain
@click.argument("redirect")
@click.argument("name")
@click.argument("software")
@click.option("--allow-login-scope", is_flag=True, help="It may ask for the scope `login`.")
@_json
@click.pass_obj
def client_oauth(config: Config, domain: str, redirect: str, name: str, software: str, allow_login_scope: bool, as_json: bool) -> None:
    """Register an OAuth client, let in already; print its id."""
    given = {"Domain": domain, "RedirectURI": redirect, "ClientName": name, "SoftwareID": software}
    made = ask(config, "POST", "/instances/oauth_client", given | {"AllowLoginScope": str(allow_login_scope).lower()})
    click.echo(jsons.dump(made) if as_json else made["client_id"])


@instances.command("find-oauth-client", hidden=True)
@_domain
@click.argument("software")
@click.pass_obj
def find_oauth_client(config: Config, domain: str, software: str) -> None:
    """Print the OAuth client of a software."""
    click.echo(jsons.dump(ask(config, "GET", "/instances/oauth_client", {"domain": domain, "software_id": software})))


def _print_token(config: Config, domain: str, audience: str, scope: str, subject: str | None, named: dict[str, Any]) -> None:
    given = {"Domain": domain, "Scope": scope, "Audience": audience, "Subject": subject} | named
    click.echo(ask(config, "POST", "/instances/token", given))
