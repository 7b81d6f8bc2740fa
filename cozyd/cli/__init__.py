"""The `cozyd` command: a client of the admin application, and `serve` (docs/cli.md)."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from cozyd import __version__
from cozyd.cli.apps import apps
from cozyd.cli.backup import backup, restore
from cozyd.cli.checks import check, fix
from cozyd.cli.features import features
from cozyd.cli.files import files
from cozyd.cli.fsck import fsck
from cozyd.cli.instances import instances, settings
from cozyd.cli.jobs import jobs, triggers, worker
from cozyd.cli.maintenance import maintenance
from cozyd.cli.migrate import migrate
from cozyd.cli.moving import export_cozy, import_cozy
from cozyd.cli.passwords import passwords
from cozyd.cli.push import push
from cozyd.cli.search import doctypes, search
from cozyd.cli.serving import config_group, serve_command
from cozyd.cli.tokens import token
from cozyd.config import ConfigError, load
from cozyd.errors import CozyError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "path", type=click.Path(path_type=Path), help="Configuration file.")
@click.version_option(__version__, prog_name="cozyd")
@click.pass_context
def cozyd(context: click.Context, path: Path | None) -> None:
    """A personal cloud: contacts, calendars, files and documents for every device."""
    try:
        context.obj = load(path, os.environ, {})
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


@cozyd.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands: eval "$(cozyd completion bash)"."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cozyd, {}, "cozyd", "_COZYD_COMPLETE").source())


@cozyd.command("version", hidden=True)
def version() -> None:
    """Print the version."""
    click.echo(__version__)


cozyd.add_command(serve_command)
cozyd.add_command(worker)
cozyd.add_command(config_group)
cozyd.add_command(instances)
cozyd.add_command(token)
cozyd.add_command(features)
cozyd.add_command(settings)
cozyd.add_command(passwords)
cozyd.add_command(migrate)
cozyd.add_command(import_cozy)
cozyd.add_command(export_cozy)
cozyd.add_command(backup)
cozyd.add_command(restore)
cozyd.add_command(files)
cozyd.add_command(apps)
cozyd.add_command(maintenance)
cozyd.add_command(jobs)
cozyd.add_command(triggers)
cozyd.add_command(fsck)
cozyd.add_command(check)
cozyd.add_command(fix)
cozyd.add_command(search)
cozyd.add_command(push)
cozyd.add_command(doctypes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors are one sentence on standard error, and exit status 1."""
    try:
        cozyd(arguments, prog_name="cozyd")
    except (CozyError, ConfigError) as error:
        click.echo(f"Error: {error.detail if isinstance(error, CozyError) else error}", err=True)
        raise SystemExit(1) from error
