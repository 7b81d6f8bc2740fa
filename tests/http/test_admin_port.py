"""The operator's port: for who shows the key of the data folder, and nobody else."""

import base64
import http.client
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.server.operator import key_of
from tests.support.serving import Served, free_port


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port = free_port()
    with Served(tmp_path_factory.mktemp("port") / "data", environ={"COZYD_SERVER_ADMIN_PORT": str(port)}) as server:
        yield server


def ask(served: Served, method: str, path: str, authorization: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(served.environ["COZYD_SERVER_ADMIN_PORT"]), timeout=30)
    connection.request(method, path, headers={"Authorization": authorization} if authorization else {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def basic(password: str, user: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_the_key_opens_the_port_whatever_the_user_name(served: Served):
    key = (served.folder / "admin.key").read_text().strip()
    status, _ = ask(served, "POST", "/instances?Domain=port.localhost", basic(key))
    assert status == 201
    status, body = ask(served, "GET", "/instances/count", basic(key, "admin"))
    assert (status, json.loads(body)) == (200, {"count": 1})


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [("", 401), ("Bearer x", 401), ("Basic", 401), ("Basic !", 401), (basic(""), 403), (basic("x" * 43), 403), (basic("é"), 403)],
)
def test_nobody_else_is_let_in(served: Served, authorization: str, expected: int):
    for path in ("/instances", "/instances/token?Domain=port.localhost&Scope=io.cozy.files", "/version", "/nothing"):
        assert ask(served, "GET", path, authorization)[0] == expected


def test_the_key_is_for_the_eyes_of_the_servers_user_alone(served: Served):
    path = served.folder / "admin.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) >= 40


def test_a_key_that_others_may_read_or_that_is_short_is_refused(tmp_path: Path):
    key = key_of(tmp_path)
    assert key_of(tmp_path) == key
    (tmp_path / "admin.key").write_text("short")
    with pytest.raises(OSError, match="no key of 16 letters"):
        key_of(tmp_path)
    (tmp_path / "admin.key").write_text(key)
    (tmp_path / "admin.key").chmod(0o644)
    with pytest.raises(OSError, match="chmod 600"):
        key_of(tmp_path)
