"""Two people on one server never see each other's data, by any door; nobody's host is 404."""

import pytest

from tests.support.client import Client
from tests.support.serving import Served

DOCTYPES = ("io.cozy.contacts", "io.cozy.files", "io.cozy.calendar.events", "io.cozy.secrets")
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:;{name};;;\r\nEND:VCARD\r\n"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=DOCTYPES)


@pytest.fixture(scope="module")
def bob(served: Served) -> Client:
    return Client(served, domain=f"bob.localhost:{served.port}", scope=DOCTYPES)


def test_documents_are_apart(alice: Client, bob: Client):
    assert alice.api("PUT", "/data/io.cozy.secrets/s1", {"owner": "alice"}).status == 200
    assert bob.api("GET", "/data/io.cozy.secrets/s1").status == 404
    assert bob.api("PUT", "/data/io.cozy.secrets/s1", {"owner": "bob"}).status == 200
    assert alice.api("GET", "/data/io.cozy.secrets/s1").json["owner"] == "alice"
    assert [row["doc"]["owner"] for row in bob.api("GET", "/data/io.cozy.secrets/_all_docs?include_docs=true").json["rows"]] == ["bob"]


def test_files_and_cards_are_apart(alice: Client, bob: Client):
    assert alice.dav("PUT", "/sync/files/mine.txt", b"alice").status == 201
    assert bob.dav("GET", "/sync/files/mine.txt").status == 404
    assert b"mine.txt" not in bob.dav("PROPFIND", "/sync/files/", Depth="1").body
    found = alice.api("GET", "/files/metadata?Path=/mine.txt").json["data"]["id"]
    for path in (f"/files/{found}", f"/files/download/{found}"):
        assert bob.api("GET", path).status == 404
    assert alice.dav("PUT", "/sync/dav/me/contacts/a.vcf", CARD.format(uid="twin", name="Alice's")).status == 201
    assert bob.dav("PUT", "/sync/dav/me/contacts/b.vcf", CARD.format(uid="twin", name="Bob's")).status == 201
    assert bob.dav("GET", "/sync/dav/me/contacts/a.vcf").status == 404


def test_credentials_open_one_tenant_only(alice: Client, bob: Client):
    stolen = {"Authorization": f"Bearer {alice.token}"}
    assert bob.ask("GET", "/data/io.cozy.secrets/_all_docs", **stolen).status == 400
    assert bob.ask("GET", "/files/io.cozy.files.root-dir", **stolen).status == 400
    bob.password, kept = alice.password, bob.password
    assert bob.dav("PROPFIND", "/sync/dav/me/contacts/", Depth="0").status == 401
    assert bob.dav("PROPFIND", "/sync/files/", Depth="0").status == 401
    bob.password = kept
    assert bob.dav("PROPFIND", "/sync/files/", Depth="0").status == 207


def test_sync_tokens_and_locks_are_apart(alice: Client, bob: Client):
    lock = '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype><owner>x</owner></lockinfo>'
    assert alice.dav("PUT", "/sync/files/same.txt", b"1").status == 201
    assert bob.dav("PUT", "/sync/files/same.txt", b"2").status == 201
    assert alice.dav("LOCK", "/sync/files/same.txt", lock, Timeout="Second-60").status == 200
    assert bob.dav("PUT", "/sync/files/same.txt", b"3").status == 204
    assert alice.dav("PUT", "/sync/files/same.txt", b"3").status == 423


def test_events_stay_with_their_tenant(alice: Client, bob: Client):
    with alice.watch("io.cozy.secrets") as hers, bob.watch("io.cozy.secrets") as his:
        bob.api("POST", "/data/io.cozy.secrets/", {"owner": "bob"})
        assert his.next()["payload"]["doc"]["owner"] == "bob"
        assert hers.quiet()
        alice.api("POST", "/data/io.cozy.secrets/", {"owner": "alice"})
        assert hers.next()["payload"]["doc"]["owner"] == "alice"
        assert his.quiet()


@pytest.mark.parametrize("path", ["/", "/data/", "/files/x", "/sync/dav/", "/sync/files/", "/auth/login", "/assets/x"])
def test_nobody_s_host_is_not_found(alice: Client, path: str):
    assert alice.ask("GET", path, Host="nobody.localhost").status == 404
    assert alice.ask("PROPFIND", path, Host="evil.example").status == 404


def test_the_server_s_own_health_is_told_on_any_host(alice: Client):
    for path in ("/status", "/status/"):
        assert alice.ask("GET", path, Host="nobody.localhost").json["status"] == "OK"
    assert "version" in alice.ask("GET", "/version/").json
    assert "version" in alice.ask("GET", "/version", Host="nobody.localhost").json
