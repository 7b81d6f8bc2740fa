"""`cozyd serve` and `cozyd config`."""

import contextlib
import errno
import os
import platform
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cozyd import __version__, jsons
from cozyd.cli.admin import answers
from cozyd.cli.welcome import first_run
from cozyd.config import Config, ConfigError, every_option, load, without_secrets
from cozyd.errors import CozyError

if TYPE_CHECKING:
    from cozyd.stack import Stack

_LEAST_FREE = 1 << 30
_LONGEST_SOCKET_PATH = 103  # of AF_UNIX: 107 bytes on Linux, 103 on macOS


@click.command("serve")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="TCP port.")
@click.option("--first-run", "first_domain", metavar="DOMAIN", help="With an empty data folder, make this instance and say how to use it.")
@click.option("--appdir", "folders", metavar="SLUG:FOLDER", multiple=True, help="Serve an app that is being developed from its folder.")
@click.pass_obj
def serve_command(config: Config, host: str | None, port: int | None, first_domain: str | None, folders: tuple[str, ...]) -> None:
    """Serve until Ctrl-C."""
    from cozyd.apps.developed import parse_option
    from cozyd.server import serve

    try:
        developed = dict(map(parse_option, folders))
    except ValueError as error:
        raise click.ClickException(str(error)) from error

    try:
        config = load(Path(config.source) if config.source else None, os.environ, {("server", "host"): host, ("server", "port"): port})
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    unfit = _unfit_path(config) or _unfit_address(config)
    if unfit and not answers(config):
        raise click.ClickException(unfit)
    serve(config, ready=partial(_prepare, first_domain, developed))


def _prepare(first_domain: str | None, developed: Mapping[str, Path], stack: "Stack") -> None:
    """What is done before the first request."""
    stack.apps.folders.update(developed)
    if first_domain:
        first_run(first_domain, stack)


@click.group("config")
def config_group() -> None:
    """Show and check the configuration."""


@config_group.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(config: Config, as_json: bool) -> None:
    """Print the configuration in force, as a cozyd.toml."""
    tables: dict[str, dict[str, str | int]] = {}
    for table, key, item in every_option():
        value = getattr(getattr(config, table), key)
        if item.metadata["secret"] and value:
            value = "..."
        tables.setdefault(table, {})[key] = value if isinstance(value, int) else without_secrets(str(value))
    if as_json:
        click.echo(jsons.dump(tables))
        return
    click.echo(f"# from {_source(config)}")
    for name, options in tables.items():
        click.echo(f"\n[{name}]")
        for key, value in options.items():
            click.echo(f"{key} = {jsons.dump(value).decode()}")


@config_group.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(config: Config, as_json: bool) -> None:
    """Check configuration, versions, permissions, port and free space; say what to do. Exit status 1 when there is something."""
    findings = list(_findings(config))
    free = shutil.disk_usage(_existing(config.storage.path)).free
    facts = {
        "cozyd": __version__,
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "configuration": _source(config),
        "data folder": str(config.storage.path),
        "free": f"{free / (1 << 30):.1f} GiB",
        "address": f"{config.server.host}:{config.server.port}",
        "server": "running" if answers(config) else "not running",
    }
    if as_json:
        click.echo(jsons.dump({name.replace(" ", "_").lower(): value for name, value in facts.items()} | {"findings": findings}))
    else:
        for name, value in facts.items():
            click.echo(f"{name:14} {value}")
        for finding in findings:
            click.echo(f"- {finding}")
        click.echo("All is well." if not findings else f"{len(findings)} to mend.")
    raise SystemExit(1 if findings else 0)


@config_group.command("contexts")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def contexts(config: Config, as_json: bool) -> None:
    """List the contexts that instances may name."""
    found = sorted(config.contexts)
    click.echo(jsons.dump(found) if as_json else "\n".join(found))


config_group.add_command(click.Command("ls-contexts", callback=contexts.callback, params=contexts.params, hidden=True, help=contexts.help))


def _source(config: Config) -> str:
    return config.source or "defaults and the environment"


def _existing(path: Path) -> Path:
    """The path, or what of it is there."""
    while not path.exists():
        path = path.parent
    return path


def _findings(config: Config) -> Iterator[str]:
    """What an operator should change, one sentence each."""
    yield from _missing_packages()
    yield from _folder_findings(config)
    unfit = _unfit_address(config)
    if unfit and not answers(config):
        yield unfit
    yield from _redis_findings(config)
    yield from _blobs_findings(config)
    if config.server.host not in ("127.0.0.1", "localhost", "::1") and config.server.scheme == "http":
        yield 'the server listens beyond this machine without TLS: put a reverse proxy before it and set server.scheme = "https"'
    if config.server.scheme == "https" and not config.server.trusted_proxy:
        yield "the TLS proxy is not named, so all visitors share one address in rate limits: set server.trusted_proxy to its address"


def _blobs_findings(config: Config) -> Iterator[str]:
    if config.storage.blobs == "file:":
        return
    from cozyd.backends import open_blobs

    with tempfile.TemporaryDirectory() as folder:
        try:
            with contextlib.closing(open_blobs(config, Path(folder))) as blobs:
                blobs.ping()
        except ConfigError as error:
            yield str(error)
        except CozyError as error:
            yield f"{error.detail}: correct storage.blobs and its password, or start the file store"


def _redis_findings(config: Config) -> Iterator[str]:
    if not config.redis.url:
        return
    from cozyd.redis import RedisAway, RedisLink

    link = RedisLink(config.redis.url)
    try:
        link.ask(lambda redis: redis.ping())
    except RedisAway as away:
        yield f"Redis does not answer ({away.__cause__}): start it, or correct redis.url"
    finally:
        link.close()


def _missing_packages() -> Iterator[str]:
    try:
        required = metadata.requires("cozyd") or ()
    except metadata.PackageNotFoundError:
        return
    for requirement in required:
        name = requirement.partition("=")[0].strip()
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            yield f"the Python package {name} is missing: install cozyd again"


def _folder_findings(config: Config) -> Iterator[str]:
    path = config.storage.path
    there = _existing(path)
    if not there.is_dir():
        yield f"{there} is no folder: choose another storage.path"
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield f"{path} cannot be written: give your user the right to write in {there}"
    elif path.exists() and path.stat().st_mode & 0o077:
        yield f"{path} can be read by others: chmod 700 {path}"
    if _unfit_path(config):
        yield _unfit_path(config)
    if shutil.disk_usage(there).free < _LEAST_FREE:
        yield f"less than 1 GiB is free on the disk of {there}: make room"


def _unfit_path(config: Config) -> str:
    """Why the data folder's path cannot be used, and what to do; empty when it can."""
    if len(os.fsencode(config.storage.admin_socket)) <= _LONGEST_SOCKET_PATH:
        return ""
    return f"{config.storage.path} is too long a path for the admin socket in it: choose a storage.path of at most 90 bytes"


def _unfit_address(config: Config) -> str:
    """Why the server could not listen on its address, and what to do; empty when it could."""
    host, port = config.server.host, config.server.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except socket.gaierror:
        return f"{host} is no address of this machine: set server.host"
    except OSError as error:
        return _ADVICE.get(error.errno or 0, "{host}:{port} cannot be listened on: " + str(error.strerror)).format(host=host, port=port)
    return ""


_ADVICE = {
    errno.EADDRINUSE: "port {port} on {host} is taken by another program: stop it, or choose another port (--port, server.port)",
    errno.EACCES: "port {port} needs root: choose one above 1023, and let a reverse proxy listen on {port}",
    errno.EADDRNOTAVAIL: "{host} is no address of this machine: set server.host",
}
