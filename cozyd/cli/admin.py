"""Requests to the admin application: at the running server's socket file, or in this process when no server runs.

So no command disagrees with the server's caches. Processes that share the data folder keep none: there each command works
in its own process, beside them. The server is asked first, as a command that need not load it ends in a tenth of the time.
"""

import fcntl
import http.client
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click

from cozyd import jsons
from cozyd.config import Config
from cozyd.errors import BadRequest, Locked

T = TypeVar("T")
PIECE = 1 << 16
PATIENCE = 10.0
"""Seconds to wait for a server that is starting, or for another command, to give the data folder free or answer."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket file."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=600)
        self._path = path

    def connect(self) -> None:
        """Open the socket file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(config: Config, method: str, path: str, parameters: Mapping[str, Any] | None = None, *, body: Any = None) -> Any:
    """Send a request; the parsed answer, or its text.

    :param path: parts are quoted by `at`.
    :param body: a JSON value; None: no body.
    :raises click.ClickException: the answer is an error; its text says which.
    """
    sent = None if body is None else jsons.dump(body)
    return _send(config, method, _target(path, parameters), lambda answer: _parsed(b"".join(answer)), sent)


def follow(config: Config, method: str, path: str, parameters: Mapping[str, Any], tell: Callable[[Any], None]) -> None:
    """Send a request that takes a while; each line of its answer is told as it comes.

    :raises click.ClickException: the answer is an error, at once or in its last line.
    """

    def read(body: Iterable[bytes]) -> None:
        rest = b""
        for piece in body:
            *whole, rest = (rest + piece).split(b"\n")
            for line in map(jsons.load, whole):
                if "error" in line:
                    raise click.ClickException(str(line["error"]))
                tell(line)

    _send(config, method, _target(path, parameters), read)


def _target(path: str, parameters: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def at(*parts: str) -> str:
    """A path of the admin application."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def answers(config: Config) -> bool:
    """Whether a server runs on the data folder."""
    connection = _UnixConnection(config.storage.admin_socket)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def is_used(config: Config) -> bool:
    """Whether any process has the data folder, one that shares it with others too."""
    try:
        with open(config.storage.path / "lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _send(config: Config, method: str, target: str, read: Callable[[Iterable[bytes]], T], body: bytes | None = None) -> T:
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = _UnixConnection(config.storage.admin_socket)
        fault = _fault_of(connection)
        if fault is None:
            return _at_the_server(config, connection, method, target, read, body)
        try:
            return _in_this_process(config, method, target, read, body)
        except Locked as cause:
            if not isinstance(fault, FileNotFoundError | ConnectionRefusedError):
                raise click.ClickException(f"{config.storage.admin_socket} cannot be used: {fault.strerror or fault}") from cause
            if time.monotonic() > deadline:
                raise click.ClickException(f"the process that uses {config.storage.path} does not answer") from cause
        time.sleep(0.05)


def _fault_of(connection: _UnixConnection) -> OSError | None:
    """Why the socket file cannot be opened; None: it is open, a server listens."""
    try:
        connection.connect()
    except OSError as error:
        connection.close()
        return error
    return None


def _at_the_server(
    config: Config, connection: _UnixConnection, method: str, target: str, read: Callable[[Iterable[bytes]], T], body: bytes | None
) -> T:
    try:
        connection.request(method, target, body)
        with connection.getresponse() as answer:
            return _checked(answer.status, iter(lambda: answer.read1(PIECE), b""), read)
    except (OSError, http.client.HTTPException) as cause:
        raise click.ClickException(f"the process that uses {config.storage.path} does not answer: {cause}") from cause
    finally:
        connection.close()


def _in_this_process(config: Config, method: str, target: str, read: Callable[[Iterable[bytes]], T], body: bytes | None) -> T:
    from werkzeug.test import Client

    from blueprints.admin import create_admin_app
    from cozyd.stack import Stack
    from workers import TABLE

    stack = Stack.open(config, TABLE)
    try:
        answer = Client(create_admin_app(stack)).open(target, method=method, data=body, buffered=False)
        return _checked(answer.status_code, answer.iter_encoded(), read)
    finally:
        stack.close()


def _checked(status: int, body: Iterable[bytes], read: Callable[[Iterable[bytes]], T]) -> T:
    if status >= 400:
        raise click.ClickException(_reason(b"".join(body), status))
    return read(body)


def _parsed(body: bytes) -> Any:
    try:
        return jsons.load(body)
    except BadRequest:
        return body.decode()


def _reason(body: bytes, status: int) -> str:
    found = _parsed(body)
    if isinstance(found, dict) and found.get("errors"):
        return str(found["errors"][0]["detail"])
    return found if isinstance(found, str) and found.isprintable() and found else f"the server answered {status}"
