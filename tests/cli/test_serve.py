"""`cozyd serve`: the first screen, whose commands work as pasted; later starts; Ctrl-C; what it says when it cannot."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cozyd.cli.welcome import first_run
from cozyd.config import Config, Server, Storage
from cozyd.stack import Stack
from tests.support.command import Command
from tests.support.serving import CLI, Served, eventually, free_port, run
from tests.support.visitor import Visitor


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory):
    """A first start as `make serve` does it: the server, and what it printed."""
    folder = tmp_path_factory.mktemp("first")
    served = Served(folder / "data")
    command = [*CLI, "serve", "--first-run", "alice.localhost"]
    with (folder / "data.log").open("wb") as log:
        process = subprocess.Popen(command, env=served.environ, stdout=log, stderr=log, start_new_session=True)
    eventually(lambda: "listening on" in served.log(), within=20)
    yield served, served.log()
    process.terminate()
    process.wait(20)


def line(text: str, name: str) -> str:
    found = re.search(rf"^ +{name} +(\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


def test_the_first_screen_says_all_she_needs(screen):
    served, text = screen
    assert line(text, "Web") == f"http://{served.domain}"
    assert line(text, "CalDAV, CardDAV") == f"{served.base}/sync/dav/"
    assert line(text, "WebDAV") == f"{served.base}/sync/files/"
    visitor = Visitor(served)
    assert visitor.submit_login(line(text, "Passphrase")).status == 303
    assert b"first device" in visitor.get("/sync/").body


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("rclone")), reason="curl or rclone is not installed")
def test_the_commands_of_the_first_screen_work_as_pasted(screen, tmp_path: Path):
    _, text = screen
    commands = text[text.index("\ncurl ") : text.index("\n  Passphrase and password are shown")]
    assert all(name in commands for name in ("curl", "rclone", "vdirsyncer"))
    environ = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = run(["bash", "-e"], input=commands, env=environ, timeout=40)
    assert done.returncode == 0, done.stderr
    assert Path("/etc/hosts").read_text() in done.stdout
    assert "hosts.txt" in done.stdout
    assert "html" not in done.stdout
    assert len(list((tmp_path / ".contacts" / "contacts").glob("*.vcf"))) == 1


def seconds_to_answer(served: Served) -> float:
    """Seconds from the start to the first answer, of the processor's time: what else runs on the machine does not count."""
    served.start()
    return served.cpu()


def test_a_later_start_answers_in_two_seconds_and_keeps_the_passphrase_to_itself(tmp_path: Path):
    served = Served(tmp_path / "data").add_alice()
    assert seconds_to_answer(served) < 2
    assert served.stop() == 0
    done = subprocess.Popen(
        [*CLI, "serve", "--first-run", "alice.localhost"], env=served.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.stdout is not None
    first = done.stdout.readline()
    done.send_signal(signal.SIGINT)
    rest, _ = done.communicate(timeout=10)
    assert first == f"Serving http://{served.domain}\n"
    assert "Passphrase" not in rest


def test_ctrl_c_stops_at_once_whatever_is_open(fresh: Served):
    idle = socket.create_connection(("127.0.0.1", fresh.port))
    waiting = socket.create_connection(("127.0.0.1", fresh.port))
    waiting.sendall(f"PUT /sync/files/x HTTP/1.1\r\nHost: {fresh.domain}\r\nContent-Length: 1000\r\n\r\nhalf".encode())
    head = socket.create_connection(("127.0.0.1", fresh.port))
    head.sendall(b"GET / HT")
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    listening = socket.create_connection(("127.0.0.1", fresh.port))
    listening.sendall(f"GET /realtime/ HTTP/1.1\r\nHost: {fresh.domain}\r\n{upgrade}".encode())
    listening.settimeout(10)
    assert b"101" in listening.recv(100)
    token = fresh.token("io.cozy.contacts")
    parked = socket.create_connection(("127.0.0.1", fresh.port))
    feed = "/data/io.cozy.contacts/_changes?feed=longpoll&since=999999&timeout=50000"
    parked.sendall(f"GET {feed} HTTP/1.1\r\nHost: {fresh.domain}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    assert fresh.process is not None
    began = time.monotonic()
    fresh.process.send_signal(signal.SIGINT)
    assert fresh.process.wait(20) == 0
    assert time.monotonic() - began < 6, "far from the ten seconds that a running request would have"
    for one in (idle, waiting, head, listening, parked):
        one.close()
    assert "Traceback" not in fresh.log()


def test_a_server_killed_hard_starts_again(fresh: Served):
    fresh.kill()
    assert Command(fresh.folder)("instances", "list").status == 0
    assert seconds_to_answer(fresh) < 2


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"COZYD_SERVER_HOST": "nowhere.invalid"}, "nowhere.invalid is no address of this machine: set server.host"),
        ({"COZYD_SERVER_HOST": "192.0.2.1"}, "192.0.2.1 is no address of this machine: set server.host"),
        ({"COZYD_SERVER_PORT": "65536"}, "COZYD_SERVER_PORT: 65536 is too large, the most is 65535"),
        ({"COZYD_STORAGE_PATH": "/proc/nowhere"}, "the data folder /proc/nowhere cannot be used"),
        ({"COZYD_STORAGE_PATH": ""}, "COZYD_STORAGE_PATH: a path is expected, not ''"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_sentence(tmp_path: Path, environ: dict[str, str], reason: str):
    done = Command(tmp_path / "data")("serve", **environ)
    assert done.status == 1
    assert reason in done.err
    assert "Traceback" not in done.err


def test_a_path_too_long_for_its_socket_is_refused(tmp_path: Path):
    done = Command(tmp_path / ("x" * 100))("serve", COZYD_SERVER_PORT=str(free_port()))
    assert done.status == 1
    assert "choose a storage.path of at most 90 bytes" in done.err


def test_an_option_is_checked_as_the_file_is(tmp_path: Path):
    done = Command(tmp_path / "data")("serve", "--port", "99999")
    assert (done.status, done.err) == (1, "Error: option --port: 99999 is too large, the most is 65535\n")


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = Command(tmp_path / "data")("serve", COZYD_SERVER_PORT=port)
        checked = Command(tmp_path / "data")("config", "check", COZYD_SERVER_PORT=port)
    advice = f"port {port} on 127.0.0.1 is taken by another program: stop it, or choose another port (--port, server.port)"
    assert (done.status, done.err) == (1, f"Error: {advice}\n")
    assert (checked.status, advice in checked.out) == (1, True)


def test_a_second_server_on_the_same_data_is_refused(fresh: Served):
    done = Command(fresh.folder)("serve", COZYD_SERVER_PORT=str(free_port()))
    assert (done.status, done.err) == (1, f"Error: another process uses {fresh.folder}\n")


def test_a_command_at_a_running_server_loads_no_server(fresh: Served):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cozyd", "instances", "list"],
        env=fresh.environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert fresh.domain in done.stdout
    assert "cozyd.cli.instances" in loaded
    assert not loaded & {"flask", "waitress", "cozyd.stack", "cozyd.server"}


@pytest.mark.parametrize(("port", "web", "alias"), [(8123, "alice.localhost:8123", "localhost:8123"), (80, "alice.localhost", "localhost")])
def test_the_first_screen_names_the_port_that_is_listened_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], port: int, web: str, alias: str
):
    stack = Stack(Config(server=Server(port=port), storage=Storage(path=tmp_path / "data")))
    first_run("alice.localhost", stack)
    said = capsys.readouterr().out
    assert line(said, "Web") == f"http://{web}"
    assert line(said, "WebDAV") == f"http://{alias}/sync/files/"
    assert stack.instance(alias).domain == web
    stack.close()
