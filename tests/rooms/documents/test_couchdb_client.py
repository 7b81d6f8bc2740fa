"""What the CouchDB driver does without a CouchDB: names, addresses, a server that refuses, hangs or is none."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from cozyd.documents.couchdb import CouchBackend, names
from cozyd.documents.couchdb.client import PAUSE, READ, SLOTS, Client
from cozyd.errors import Invalid, Unavailable
from cozyd.locks import LocalLocks


@pytest.mark.parametrize(
    ("doctype", "database"),
    [("io.cozy.files", "t/io-cozy-files"), ("io.cozy.photos.albums", "t/io-cozy-photos-albums"), ("a_b.c1", "t/a_b-c1")],
)
def test_databases_have_the_names_of_cozy_stack(doctype: str, database: str):
    assert names.database_of("t", doctype) == database
    assert names.doctype_of("t", database) == doctype


@pytest.mark.parametrize("doctype", ["", "io.cozy-files", "IO.cozy", "a/b", "a..b", ".a", "é", "cozyd.private", "cozyd.rows", "a" * 300])
def test_a_doctype_that_another_one_s_database_would_serve_is_refused(doctype: str):
    with pytest.raises(Invalid):
        names.database_of("t", doctype)


def test_databases_of_others_and_our_own_are_no_doctypes():
    assert [names.doctype_of("t", name) for name in ("u/io-cozy-files", "t/cozyd-private", "t/cozyd-rows", "t", "t/")] == [None] * 5


def test_ids_are_one_part_of_a_path_whatever_is_in_them():
    assert names.path_of("t/io-cozy-files", *names.document_parts("a/b c+%é")) == "/t%2Fio-cozy-files/a%2Fb%20c%2B%25%C3%A9"
    assert names.path_of("t/x", *names.document_parts("_design/a/b")) == "/t%2Fx/_design/a%2Fb"


def test_a_refused_connection_says_where_and_what_to_do():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    backend = CouchBackend(f"http://admin:s3cret@127.0.0.1:{port}/", (), locks=LocalLocks())
    with pytest.raises(Unavailable, match=rf"http://127.0.0.1:{port}: CouchDB cannot be reached. Start it, or correct") as caught:
        backend.probe()
    assert "s3cret" not in caught.value.detail
    with pytest.raises(Unavailable):
        backend.ping()
    backend.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"couchdb":"Welcome","version":"2.3.1"}', "is CouchDB 2.3.1: 3.3 or later is needed"),
        (b"<html>nginx</html>", "does not answer as CouchDB does"),
        (b'{"couchdb":"Welcome"}', "or later is needed"),
    ],
)
def test_a_server_that_is_none_or_too_old_is_told_at_start(answer: bytes, message: str):
    with listening(answer) as port, pytest.raises(Unavailable, match=message):
        probe(f"http://127.0.0.1:{port}")


def test_a_wrong_password_is_told_at_start():
    refusal = b'{"error":"unauthorized","reason":"Name or password is incorrect."}'
    with listening(refusal, status=b"401 Unauthorized") as port, pytest.raises(Unavailable, match="refuses the user"):
        probe(f"http://u:p@127.0.0.1:{port}")


def probe(url: str) -> None:
    """What a server's start does."""
    with closing(CouchBackend(url, (), locks=LocalLocks())) as backend:
        backend.probe()


def test_one_tenant_s_hanging_database_leaves_slots_to_the_others_and_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    """Three requests of it wait; the fourth is refused after a second, everybody else is served meanwhile."""
    monkeypatch.setattr("cozyd.documents.couchdb.client.READ", 2.5)
    with listening(b'{"ok":true}', hangs="/slow") as port:
        client = Client(f"http://127.0.0.1:{port}", total=6)
        ends: list[float] = []

        def ask() -> None:
            began = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                client.get("/slow", tenant="slow")
            assert caught.value.retry_after
            ends.append(time.monotonic() - began)

        threads = [threading.Thread(target=ask) for _ in range(SLOTS + 2)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        for _ in range(20):
            assert client.get("/quick", tenant="other") == {"ok": True}
        assert time.monotonic() - began < READ / 2
        for thread in threads:
            thread.join(10)
        assert len(ends) == SLOTS + 2
        assert max(ends) < 5
        began = time.monotonic()
        with pytest.raises(Unavailable, match="did not answer in time"):
            client.get("/slow", tenant="slow")
        assert time.monotonic() - began < PAUSE / 4
        client.close()


def test_ping_of_a_hanging_server_ends_soon():
    with listening(b"{}", hangs="/") as port:
        client = Client(f"http://127.0.0.1:{port}")
        began = time.monotonic()
        with pytest.raises(Unavailable):
            client.ping()
        assert time.monotonic() - began < READ / 2  # what other requests wait
        client.close()


@contextmanager
def listening(answer: bytes, *, status: bytes = b"200 OK", hangs: str = "") -> Iterator[int]:
    """A server that gives one answer to everything, and none to paths that begin with `hangs`."""
    server = socket.create_server(("127.0.0.1", 0))
    peers: list[socket.socket] = []

    def serve(peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as lines:
            while line := lines.readline():
                path = line.split(b" ")[1].decode()
                while lines.readline().strip():
                    pass
                if not (hangs and path.startswith(hangs)):
                    peer.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(answer), answer))

    def accept() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            peers.append(peer)
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()
        for peer in peers:
            with_shutdown(peer)


def with_shutdown(peer: socket.socket) -> None:
    """End a connection, whoever reads from it."""
    try:
        peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
