"""`cozyd features`: feature flags of instances, contexts and everybody."""

from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at
from cozyd.cli.shapes import InstanceGroup
from cozyd.config import Config
from cozyd.errors import BadRequest

_changes = click.argument("changes", required=False)


@click.group(cls=InstanceGroup)
def features() -> None:
    """Show and set feature flags; CHANGES is JSON, {"name": value}, null removes one. Answers are JSON."""


@features.command("show")
@click.argument("domain")
@click.pass_obj
def show(config: Config, domain: str) -> None:
    """Show DOMAIN's own flags."""
    _print(ask(config, "GET", at("instances", domain, "feature", "flags")))


@features.command("set")
@click.argument("domain")
@click.argument("changes")
@click.pass_obj
def set_(config: Config, domain: str, changes: str) -> None:
    """Set flags of DOMAIN."""
    _print(ask(config, "PATCH", at("instances", domain, "feature", "flags"), body=_read(changes)))


@features.command("ratio")
@click.argument("context")
@_changes
@click.pass_obj
def ratio(config: Config, context: str, changes: str | None) -> None:
    """Show or set flags of a share of CONTEXT's instances: {"name": [{"ratio": 0.1, "value": true}]}."""
    _show_or_set(config, at("instances", "feature", "contexts", context), changes)


@features.command("defaults")
@_changes
@click.pass_obj
def defaults(config: Config, changes: str | None) -> None:
    """Show or set flags of all instances."""
    _show_or_set(config, at("instances", "feature", "defaults"), changes)


@features.command("config")
@click.argument("context")
@click.pass_obj
def of_configuration(config: Config, context: str) -> None:
    """Show the flags that the configuration gives CONTEXT."""
    _print(ask(config, "GET", at("instances", "feature", "config", context)))


@features.command("sets")
@click.argument("domain")
@click.argument("names", nargs=-1)
@click.pass_obj
def sets(config: Config, domain: str, names: tuple[str, ...]) -> None:
    """Show DOMAIN's sets of flags, or replace them by NAMES."""
    path = at("instances", domain, "feature", "sets")
    _print(ask(config, "PUT", path, body=list(names)) if names else ask(config, "GET", path))


def _show_or_set(config: Config, path: str, changes: str | None) -> None:
    _print(ask(config, "GET", path) if changes is None else ask(config, "PATCH", path, body=_read(changes)))


def _read(text: str) -> dict[str, Any]:
    try:
        return jsons.load_object(text)
    except BadRequest as error:
        raise click.ClickException(f"{text!r} is no JSON object") from error


def _print(value: Any) -> None:
    click.echo(jsons.dump(value))
