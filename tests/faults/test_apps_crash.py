"""Installs that end by a kill, and by two processes at once."""

import http.client
import threading
from pathlib import Path
from urllib.parse import quote

from tests.faults.test_several_processes import Farm
from tests.http.test_apps import STREAM, events
from tests.support import apps
from tests.support.canary import Asked, Canary
from tests.support.client import Answer, Client
from tests.support.redis import RedisServer
from tests.support.serving import Served, eventually

PAGE = "/public/page.html"


class Slow:
    """A server of archives that holds one back until it is told."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.packed = apps.archive(version="2.0.0")

    def __call__(self, _: Asked) -> tuple[int, dict[str, str], bytes]:
        self.release.wait(60)
        return 200, {}, self.packed


def test_an_update_that_is_killed_leaves_the_old_version_serving(tmp_path: Path):
    server = Served(tmp_path / "data", environ={"COZYD_OUTBOUND_ALLOW": "127.0.0.1"}).add_alice()
    server.cli("apps", "install", server.domain, "tiny", str(apps.folder(tmp_path / "one")))
    slow = Slow()
    server.start()
    cli = Client(server, scope=("io.cozy.apps",))
    with Canary(slow) as web:
        source = quote(f"{web.base}/two.tgz", safe="")
        ways = (("PUT", "tiny"), ("POST", "new"))
        asking = [threading.Thread(target=quietly, args=(cli, way, f"/apps/{slug}?Source={source}")) for way, slug in ways]
        for thread in asking:
            thread.start()
        eventually(lambda: len(web.asked) == len(ways))
        server.kill()
        for thread in asking:
            thread.join(30)
        slow.release.set()
        with server:
            shown = cli.api("GET", "/apps/tiny").json["data"]["attributes"]
            assert (shown["version"][:6], shown["state"]) == ("1.0.0-", "ready")
            assert cli.ask("GET", PAGE, Host=f"tiny.{cli.domain}").body == b"<p>page</p>"
            assert cli.api("GET", "/apps/new").status == 404
            told = events(cli.api("PUT", f"/apps/tiny?Source={source}", **STREAM))
            assert (told[-1][0], told[-1][1]["data"]["attributes"]["version"]) == ("state", "2.0.0")


def quietly(client: Client, method: str, path: str) -> None:
    """Ask, whatever becomes of it."""
    try:
        client.api(method, path, **STREAM)
    except (OSError, http.client.HTTPException):
        return


def test_two_processes_never_install_an_app_at_once(tmp_path: Path, redis_server: RedisServer):
    farm = Farm(tmp_path / "data", redis_server)
    for server in (farm.a, farm.b):
        server.environ |= {"COZYD_OUTBOUND_ALLOW": "127.0.0.1"}
    farm.start()
    try:
        clients = [Client(farm.a, scope=("io.cozy.apps",)), Client(farm.b, domain=farm.domain)]
        clients[1].token = clients[0].token
        slow, answers = Slow(), list[Answer]()
        with Canary(slow) as web:
            source = quote(f"{web.base}/two.tgz", safe="")
            threads = [
                threading.Thread(target=lambda client=client: answers.append(client.api("POST", f"/apps/tiny?Source={source}", **STREAM)))
                for client in clients
            ]
            for thread in threads:
                thread.start()
            eventually(lambda: len(web.asked) >= 1)
            slow.release.set()
            for thread in threads:
                thread.join(60)
            assert len(web.asked) == 1
        last = sorted(events(answer)[-1][0] for answer in answers)
        assert last == ["error", "state"]
        for client in clients:
            assert client.ask("GET", PAGE, Host=f"tiny.{farm.domain}").body == b"<p>page</p>"
    finally:
        farm.stop()


def test_what_one_process_installs_the_other_serves_at_once(tmp_path: Path, redis_server: RedisServer):
    """Also where the other was asked for it before, and was told there is none; and it goes everywhere at once."""
    farm = Farm(tmp_path / "data", redis_server)
    host = f"tiny.{farm.domain}"
    farm.start()
    try:
        here, there = Client(farm.a, scope=("io.cozy.apps",)), Client(farm.b, domain=farm.domain)
        there.token = here.token
        assert there.ask("GET", PAGE, Host=host).status == 404
        for text in (b"one", b"two"):
            app = apps.folder(tmp_path / text.decode(), apps.files() | {"public/page.html": text})
            method = "POST" if text == b"one" else "PUT"
            told = events(here.api(method, f"/apps/tiny?Source={quote(app.as_uri(), safe='')}", **STREAM))
            assert told[-1][1]["data"]["attributes"]["state"] == "ready"
            assert there.ask("GET", PAGE, Host=host).body == text
        assert here.api("DELETE", "/apps/tiny").status == 200
        assert there.ask("GET", PAGE, Host=host).status == 404
    finally:
        farm.stop()
