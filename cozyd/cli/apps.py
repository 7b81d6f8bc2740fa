"""`cozyd apps`: what is installed, and how it gets there."""

from pathlib import Path
from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at, follow
from cozyd.cli.shapes import InstanceGroup
from cozyd.config import Config

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_konnector = click.option("--konnector", is_flag=True, help="It is a konnector, not a web app.")
_domain = click.argument("domain")
_slug = click.argument("slug")


@click.group(cls=InstanceGroup)
def apps() -> None:
    """Install, update and remove web apps and konnectors."""


@apps.command("list")
@_domain
@_json
@click.pass_obj
def list_(config: Config, domain: str, as_json: bool) -> None:
    """Show what DOMAIN has installed."""
    found = ask(config, "GET", at("instances", domain, "apps"))["data"]
    if as_json:
        click.echo(jsons.dump(found))
        return
    for app in found:
        shown = app["attributes"]
        waits = f"  ({shown['available_version']} waits)" if shown.get("available_version") else ""
        click.echo(f"{shown['slug']:20} {shown['version']:16} {shown['state']:8} {shown['source']}{waits}")


@apps.command("install")
@_domain
@_slug
@click.argument("source", required=False)
@_konnector
@_json
@click.pass_obj
def install(config: Config, domain: str, slug: str, source: str | None, konnector: bool, as_json: bool) -> None:
    """Install SLUG for DOMAIN from SOURCE: a folder, an archive, https://, git+https://, npm:, registry://; without, the registry."""
    parameters = {"Source": _absolute(source), "Kind": _kind(konnector)}
    follow(config, "POST", at("instances", domain, "apps", slug), parameters, lambda shown: _tell(shown, as_json, "installed"))


@apps.command("update")
@_domain
@_slug
@click.argument("source", required=False)
@click.option("--accept", is_flag=True, help="Accept new permissions and terms.")
@_konnector
@_json
@click.pass_obj
def update(config: Config, domain: str, slug: str, source: str | None, accept: bool, konnector: bool, as_json: bool) -> None:
    """Update SLUG of DOMAIN; new permissions or terms wait until they are accepted."""
    parameters = {"Source": _absolute(source), "Kind": _kind(konnector), "PermissionsAcked": "true" if accept else None}
    follow(config, "PUT", at("instances", domain, "apps", slug), parameters, lambda shown: _tell(shown, as_json, "is at"))


@apps.command("create")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
def create(name: str, folder: Path | None) -> None:
    """Make the folder of a new web app, with build and tests (docs/first-app.md)."""
    from cozyd.apps import starter
    from cozyd.packaged import folder as static

    target = folder or Path(name)
    starter.create(static("starter"), target, name)
    click.echo(f"{target} is made. In it: npm install, npm run build; then: cozyd serve --appdir {name}:{target / 'build'}")


@apps.command("remove")
@_domain
@_slug
@_konnector
@click.pass_obj
def remove(config: Config, domain: str, slug: str, konnector: bool) -> None:
    """Remove SLUG from DOMAIN; what it kept in documents and files stays."""
    ask(config, "DELETE", at("instances", domain, "apps", slug), {"Kind": _kind(konnector)})
    click.echo(f"{slug} is removed")


def _kind(konnector: bool) -> str:
    return "konnector" if konnector else "webapp"


def _absolute(source: str | None) -> str | None:
    """A path of this machine as an address."""
    if source is None or ":" in source:
        return source
    return Path(source).absolute().as_uri()


def _tell(shown: dict[str, Any], as_json: bool, what: str) -> None:
    if as_json:
        click.echo(jsons.dump(shown))
        return
    waits = f"; {shown['available_version']} waits for consent (--accept)" if shown.get("available_version") else ""
    click.echo(f"{shown['slug']} {what} {shown['version']}{waits}")
