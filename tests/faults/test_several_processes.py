"""Two served processes over one data folder, joined by Redis; and Redis away (docs/farm.md)."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, Client
from tests.support.redis import RedisServer
from tests.support.serving import PASSPHRASE, Served, eventually, free_port
from tests.support.visitor import Visitor
from tests.support.webdav import Device

THINGS = "io.cozy.things"
SCOPE = (THINGS, "io.cozy.files", "io.cozy.contacts")


class Farm:
    """Two servers over one folder; alice answers on both."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        environ = {"COZYD_REDIS_URL": redis.url}
        self.redis = redis
        self.a = Served(folder, environ=environ)
        self.b = Served(folder, port=free_port(), environ=environ)
        self.domain = self.a.domain
        aliases = ["--alias", f"localhost:{self.a.port}", "--alias", f"localhost:{self.b.port}"]
        self.a.cli("instances", "add", self.domain, *aliases, "--passphrase", PASSPHRASE)

    def start(self) -> None:
        for server in (self.a, self.b):
            server.start()

    def stop(self) -> None:
        for server in (self.a, self.b):
            server.stop()

    def clients(self) -> tuple[Client, Client]:
        """alice at A and at B, with the same token."""
        at_a, at_b = Client(self.a, scope=SCOPE), Client(self.b, domain=self.domain)
        at_b.token = at_a.token
        return at_a, at_b


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Farm]:
    made = Farm(tmp_path_factory.mktemp("farm") / "data", redis_server)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def clients(farm: Farm) -> tuple[Client, Client]:
    return farm.clients()


def test_a_socket_at_one_hears_what_is_written_at_the_other(clients: tuple[Client, Client]):
    at_a, at_b = clients
    with at_a.watch(THINGS) as watch:
        id = at_b.api("POST", f"/data/{THINGS}/", {"name": "one"}).json["id"]
        heard = watch.next()
        assert (heard["event"], heard["payload"]["id"], heard["payload"]["doc"]["name"]) == ("CREATED", id, "one")
        rev = at_b.api("GET", f"/data/{THINGS}/{id}").json["_rev"]
        assert at_a.api("PUT", f"/data/{THINGS}/{id}", {"_id": id, "_rev": rev, "name": "two"}).status == 200
        assert watch.next()["payload"]["doc"]["name"] == "two"
        assert watch.quiet()


def test_a_file_put_by_a_device_at_one_is_told_and_read_at_the_other(clients: tuple[Client, Client]):
    at_a, at_b = clients
    with at_b.watch("io.cozy.files") as watch:
        assert at_a.dav("PUT", "/sync/files/farm.txt", b"text").status == 201
        assert watch.next()["payload"]["doc"]["name"] == "farm.txt"
    assert at_b.dav("GET", "/sync/files/farm.txt").body == b"text"


def test_a_device_password_revoked_at_one_is_refused_at_the_other_at_once(farm: Farm):
    password = farm.a.password("--files", name="lost phone")
    phone = Client(farm.b, domain=farm.domain)
    phone.password = password
    assert phone.dav("PROPFIND", "/sync/files/", Depth="0").status == 207
    listed = farm.a.cli("passwords", "list", farm.domain)
    line = next(line for line in listed.splitlines() if "lost phone" in line)
    farm.a.cli("passwords", "remove", farm.domain, line.split()[0])
    assert phone.dav("PROPFIND", "/sync/files/", Depth="0").status == 401


def test_a_waiting_request_at_one_is_woken_by_a_write_at_the_other(clients: tuple[Client, Client]):
    at_a, at_b = clients
    at_b.api("POST", f"/data/{THINGS}/", {"name": "before"})
    since = at_a.api("GET", f"/data/{THINGS}/_changes").json["last_seq"]
    answers: list[Answer] = []
    path = f"/data/{THINGS}/_changes?feed=longpoll&timeout=60000&since={since}"
    waiting = threading.Thread(target=lambda: answers.append(at_a.api("GET", path)))
    waiting.start()
    made: list[str] = []

    def answered() -> bool:
        made.append(at_b.api("POST", f"/data/{THINGS}/", {"name": "woken"}).json["id"])
        waiting.join(0.2)
        return bool(answers)

    eventually(answered)
    assert {row["id"] for row in answers[0].json["results"]} <= set(made)


def test_an_instance_made_anew_at_one_is_new_at_the_other(farm: Farm):
    host = f"carol.localhost:{farm.a.port}"
    farm.a.cli("instances", "add", host, "--passphrase", PASSPHRASE)
    carol = Client(farm.b, domain=host, scope=(THINGS,))
    assert carol.api("POST", f"/data/{THINGS}/", {"name": "old"}).status == 201
    farm.a.cli("instances", "remove", host, "--force")
    assert carol.api("GET", f"/data/{THINGS}/_all_docs").status == 404
    farm.a.cli("instances", "add", host, "--passphrase", PASSPHRASE)
    assert carol.api("GET", f"/data/{THINGS}/_all_docs").status in (400, 401)
    fresh = Client(farm.b, domain=host, scope=(THINGS,))
    made = fresh.api("POST", f"/data/{THINGS}/", {"name": "new"}).json["id"]
    rows = Client(farm.a, domain=host, scope=(THINGS,)).api("GET", f"/data/{THINGS}/_all_docs").json["rows"]
    assert [row["id"] for row in rows] == [made]


def test_no_write_is_lost_when_both_change_one_document(clients: tuple[Client, Client]):
    id = clients[0].api("POST", f"/data/{THINGS}/", {"count": 0}).json["id"]

    def add(client: Client) -> None:
        done = 0
        while done < 20:
            doc = client.api("GET", f"/data/{THINGS}/{id}").json
            done += client.api("PUT", f"/data/{THINGS}/{id}", doc | {"count": doc["count"] + 1}).status == 200

    threads = [threading.Thread(target=add, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert clients[1].api("GET", f"/data/{THINGS}/{id}").json["count"] == 40


def test_of_many_that_put_one_name_at_both_there_is_one_file(clients: tuple[Client, Client]):
    statuses: list[int] = []

    def put(client: Client, number: int) -> None:
        statuses.append(client.dav("PUT", "/sync/files/one.txt", f"{number}".encode()).status)

    threads = [threading.Thread(target=put, args=(clients[number % 2], number)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [201] + [204] * 11
    listing = clients[0].dav("PROPFIND", "/sync/files/", Depth="1").body
    assert listing.count(b"/one.txt</") == 1
    assert clients[0].dav("GET", "/sync/files/one.txt").body == clients[1].dav("GET", "/sync/files/one.txt").body


def test_a_webdav_lock_taken_at_one_holds_at_the_other(farm: Farm, clients: tuple[Client, Client]):
    phone, laptop = Device(clients[0], "farm locks"), Device(clients[1], "farm locks")
    token = phone.token("/locked.txt")
    assert laptop.put("/locked.txt").status == 423
    assert laptop.ask("DELETE", "").status == 423
    there = Device(Client(farm.b, domain=farm.domain), phone.folder)
    there.client.password = phone.client.password
    assert there.put("/locked.txt", If=f"({token})").status == 204
    assert there.ask("UNLOCK", "/locked.txt", Lock_Token=token).status == 204
    assert laptop.put("/locked.txt").status == 204


def test_of_many_that_lock_one_file_at_both_one_has_it(clients: tuple[Client, Client]):
    devices = [Device(client, "farm race") for client in clients]
    devices[0].put("/race.txt")
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda one=devices[number % 2]: statuses.append(one.lock("/race.txt").status)) for number in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [200] + [423] * 9


def test_rate_limits_count_at_both(farm: Farm):
    statuses = [Visitor(server, farm.domain).submit_login("wrong", clear=True).status for _ in range(6) for server in (farm.a, farm.b)]
    assert statuses[:10] == [401] * 10
    assert set(statuses[10:]) == {429}


def test_a_process_without_redis_does_not_share_the_folder(farm: Farm):
    alone = Served(farm.a.folder, port=free_port())
    with pytest.raises(RuntimeError, match="another process uses"):
        alone.start()
    alone.stop()


def test_processes_are_restarted_one_after_the_other_and_nobody_notices(tmp_path: Path, own_redis: RedisServer):
    farm = Farm(tmp_path / "data", own_redis)
    farm.start()
    clients = farm.clients()
    stop = threading.Event()
    failed: list[Any] = []
    done: list[int] = []

    def work() -> None:
        while not stop.is_set():
            if not any(_succeeds(client) for client in clients):
                failed.append(clients)
            done.append(1)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for server in (farm.a, farm.b):
        server.stop()
        server.start()
    reached = len(done)
    eventually(lambda: len(done) > reached + 10)
    stop.set()
    for worker in workers:
        worker.join(30)
    farm.stop()
    assert failed == []


def _succeeds(client: Client) -> bool:
    try:
        return client.api("POST", f"/data/{THINGS}/", {}).status == 201
    except OSError:
        return False


def use(farm: Farm, clients: tuple[Client, Client]) -> None:
    """Log in, write a document, a file and a card, and read them at the other."""
    at_a, at_b = clients
    Visitor(farm.a).log_in()
    id = at_a.api("POST", f"/data/{THINGS}/", {}).json["id"]
    assert at_b.api("GET", f"/data/{THINGS}/{id}").status == 200
    name = f"/sync/files/{id}.txt"
    assert (at_a.dav("PUT", name, b"text").status, at_b.dav("GET", name).body) == (201, b"text")
    card = f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{id}\r\nFN:{id}\r\nN:;{id};;;\r\nEND:VCARD\r\n"
    assert at_b.dav("PUT", f"/sync/dav/me/contacts/{id}.vcf", card, Content_Type="text/vcard").status == 201
    assert at_a.dav("GET", f"/sync/dav/me/contacts/{id}.vcf").status == 200


def test_without_redis_everything_goes_on(tmp_path: Path, own_redis: RedisServer):
    farm = Farm(tmp_path / "data", own_redis)
    own_redis.kill()
    farm.start()
    at_a, at_b = clients = farm.clients()
    use(farm, clients)
    own_redis.start()

    def heard() -> bool:
        with at_a.watch(THINGS) as watch:
            at_b.api("POST", f"/data/{THINGS}/", {})
            try:
                return bool(watch.next(timeout=0.5)["event"] == "CREATED")
            except TimeoutError:
                return False

    eventually(heard)
    own_redis.kill()
    use(farm, clients)
    farm.stop()
