"""A lock's fence: who wakes after it ran out writes nothing (docs/decisions/0072-locks-of-the-dead.md)."""

import base64
import io
from pathlib import Path
from typing import Any

from cozyd.stack import Stack
from dav.webdav import mount
from tests.support.stack import Clock, open_stack
from tests.support.webdav import LOCK


class Person:
    """A device in this process, whose clock the test moves."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack, self.instance = stack, stack.locate("alice.example")
        self.password = self.instance.auth.devices.add(name, ("files",), read_only=False)[1]

    def __call__(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        found: dict[str, Any] = {}

        def start(status: str, given: list[tuple[str, str]], *_: Any) -> None:
            found.update(status=int(status[:3]), headers=dict(given))

        data = body.encode() if isinstance(body, str) else body
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "/sync/files",
            "PATH_INFO": path,
            "HTTP_HOST": "alice.example",
            "HTTP_AUTHORIZATION": "Basic " + base64.b64encode(f"me:{self.password}".encode()).decode(),
            "CONTENT_LENGTH": str(len(data)),
            "wsgi.input": io.BytesIO(data),
            "cozyd.stack": self.stack,
            "cozyd.instance": self.instance,
        } | {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        text = b"".join(mount(environ, start))
        return found["status"], found["headers"], text


def test_a_late_write_of_a_client_whose_lock_ran_out_is_refused(tmp_path: Path):
    clock = Clock()
    stack = open_stack(tmp_path / "data", clock)
    stack.create("alice.example")
    dead, alive = Person(stack, "dead"), Person(stack, "alive")
    try:
        assert dead("PUT", "/a.txt", b"first")[0] == 201
        status, headers, _ = dead("LOCK", "/a.txt", LOCK.format(scope="exclusive"), depth="0", timeout="Second-600")
        assert status == 200
        old = f"({headers['Lock-Token']})"
        assert alive("PUT", "/a.txt", b"meanwhile")[0] == 423
        clock.passes(seconds=601)
        assert dead("PUT", "/a.txt", b"late, and nobody has the lock", **{"if": old})[0] == 412
        assert alive("LOCK", "/a.txt", LOCK.format(scope="exclusive"), depth="0")[0] == 200
        assert dead("PUT", "/a.txt", b"late, and another one has it", **{"if": old})[0] == 412
        assert dead("DELETE", "/a.txt", **{"if": old})[0] == 412
        assert dead("LOCK", "/a.txt", **{"if": old})[0] == 412
        assert dead("GET", "/a.txt")[2] == b"first"
    finally:
        stack.close()
