"""`cozyd serve` and `cozyd config`."""

import dataclasses
import os
import platform
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import click

from cozyd import __version__
from cozyd.cli.welcome import first_run
from cozyd.config import Config, every_option


@click.command("serve")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="TCP port.")
@click.option("--first-run", "first_domain", metavar="DOMAIN", help="With an empty data folder, make this instance and say how to use it.")
@click.pass_obj
def serve_command(config: Config, host: str | None, port: int | None, first_domain: str | None) -> None:
    """Serve until Ctrl-C."""
    from cozyd.server import serve

    server = dataclasses.replace(config.server, host=host or config.server.host, port=config.server.port if port is None else port)
    config = dataclasses.replace(config, server=server)
    serve(config, ready=partial(first_run, first_domain) if first_domain else None)


@click.group("config")
def config_group() -> None:
    """Show and check the configuration."""


@config_group.command("show")
@click.pass_obj
def show(config: Config) -> None:
    """Print the configuration in force, as a cozyd.toml."""
    click.echo(f"# from {config.source or 'defaults and the environment'}")
    last = ""
    for table, key, _ in every_option():
        if table != last:
            click.echo(f"\n[{table}]")
            last = table
        value = getattr(getattr(config, table), key)
        click.echo(f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"')


@config_group.command("check")
@click.pass_obj
def check(config: Config) -> None:
    """Check configuration, versions, permissions and free space; say what to do."""
    findings = list(_findings(config))
    click.echo(f"cozyd {__version__}, Python {platform.python_version()}")
    click.echo(f"configuration: {config.source or 'defaults and the environment'}")
    click.echo(f"data folder: {config.storage.path}, {shutil.disk_usage(_existing(config.storage.path)).free >> 30} GiB free")
    for finding in findings:
        click.echo(f"- {finding}")
    if findings:
        raise SystemExit(1)
    click.echo("All is well.")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _findings(config: Config) -> Any:
    """What an operator should change, one sentence each."""
    path = config.storage.path
    folder = _existing(path)
    if not path.exists() and not _is_writable(folder):
        yield f"{path} cannot be made: give your user the right to write in {folder}"
    if path.exists():
        if not _is_writable(path):
            yield f"{path} cannot be written: chown it to your user"
        elif path.stat().st_mode & 0o077:
            yield f"{path} can be read by others: chmod 700 {path}"
    if shutil.disk_usage(folder).free < 1 << 30:
        yield f"less than 1 GiB is free on the disk of {folder}: make room"
    if config.server.host not in ("127.0.0.1", "localhost", "::1") and config.server.scheme == "http":
        yield 'the server listens beyond this machine without TLS: put a reverse proxy before it and set server.scheme = "https"'


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)
