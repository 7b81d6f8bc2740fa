"""The operator's port: the admin application for tools that show the key of the data folder (docs/http/instances.md)."""

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

KEY_FILE = "admin.key"
LEAST_KEY = 16

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def key_of(folder: Path) -> str:
    """The key in the data folder; made when there is none, for its owner's eyes alone.

    :raises OSError: the file cannot be used, or others may read it.
    """
    path = folder / KEY_FILE
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    except FileExistsError:
        pass
    if path.stat().st_mode & 0o077:
        raise OSError(f"others may read {path}: chmod 600 {path}")
    key = path.read_text(encoding="utf-8").strip()
    if len(key) < LEAST_KEY:
        raise OSError(f"{path} has no key of {LEAST_KEY} letters or more: remove it, and a new one is made")
    return key


class Guarded:
    """The application behind HTTP Basic: any user name, the key as password. 401 without, 403 with another."""

    def __init__(self, app: App, key: str) -> None:
        self._app = app
        self._key = key.encode()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Ask for the key before anything else."""
        shown = _password(environ.get("HTTP_AUTHORIZATION", ""))
        if shown is None:
            return _refused(start_response, "401 Unauthorized", [("WWW-Authenticate", 'Basic realm="cozyd admin"')])
        if not hmac.compare_digest(shown, self._key):
            return _refused(start_response, "403 Forbidden", [])
        return self._app(environ, start_response)


def _password(header: str) -> bytes | None:
    """The password of Basic credentials; None: there are none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        _, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return password if colon else None


def _refused(start_response: Callable[..., Any], status: str, headers: list[tuple[str, str]]) -> Iterable[bytes]:
    body = b'{"error":"%b"}' % status.partition(" ")[2].encode()
    start_response(
        status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Cache-Control", "no-store"), *headers]
    )
    return [body]
