"""Going out: no private address by any spelling, name or redirect; caps hold; nothing personal travels on."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cozyd import outbound as module
from cozyd.errors import BadGateway, BadRequest, CozyError, Forbidden, GatewayTimeout, TooLarge
from cozyd.outbound import Outbound, is_public
from tests.support.canary import Asked, Canary
from tests.support.ssrf import SHAPES, resolve


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    """On what is a usual port for the time of the test, so that no shape is refused for its port alone."""
    with Canary() as bird:
        monkeypatch.setattr(module, "PORTS", {"http": bird.port, "https": bird.port})
        yield bird


def allowed(canary: Canary, **options) -> Outbound:
    return Outbound(["127.0.0.1"], **options)


@pytest.mark.parametrize("shape", [*SHAPES, "http://127.0.0.1:{p}/\r\nHost: x", "http://127.0.0.1 :{p}/", "\thttp://127.0.0.1:{p}/"])
def test_no_spelling_of_a_private_address_is_asked(canary: Canary, shape: str):
    with pytest.raises((BadRequest, Forbidden, BadGateway)):
        Outbound(resolve=resolve).request("GET", shape.replace("{p}", str(canary.port)))
    assert canary.asked == []


def test_there_are_sixty_shapes_and_more():
    assert len(set(SHAPES)) >= 60


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4007::1"])
def test_addresses_of_the_internet_are_public(address: str):
    assert is_public(address)


def test_a_name_is_resolved_once_and_the_connection_goes_there(canary: Canary):
    answers = [["127.0.0.1"], ["93.184.216.34"]]
    asked = []

    def once(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    answer = Outbound([f"names.example:{canary.port}"], resolve=once).request("GET", f"http://names.example:{canary.port}/a?b=c")
    assert (answer.status, answer.body, asked) == (200, b"canary", ["names.example"])
    assert (canary.asked[0].path, canary.asked[0].headers["host"]) == ("/a?b=c", f"names.example:{canary.port}")


def test_a_name_that_turns_inwards_after_the_look_is_not_followed(canary: Canary):
    turns = iter([["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]])
    out = Outbound(resolve=lambda *_: next(turns))
    assert out.address("turning.example", 80) == "93.184.216.34"
    with pytest.raises(Forbidden):
        out.request("GET", f"http://turning.example:{canary.port}/")
    assert canary.asked == []


@pytest.mark.parametrize(
    "target", ["http://[::1]:{p}/x", "http://localhost:{p}/x", "//10.0.0.1:{p}/x", "file:///etc/passwd", "http://a@127.0.0.1:{p}/x"]
)
def test_a_redirect_inwards_is_not_followed(canary: Canary, target: str):
    canary.reply = lambda _: (302, {"Location": target.replace("{p}", str(canary.port))}, b"")
    with pytest.raises(CozyError):
        allowed(canary).request("GET", canary.base)
    assert [asked.path for asked in canary.asked] == ["/"]


def test_redirects_lose_what_is_personal_and_end_somewhere(canary: Canary):
    canary.reply = lambda asked: (303 if asked.path == "/1" else 200, {"Location": "/2", "Set-Cookie": "a=b"}, b"here")
    headers = {"Authorization": "Bearer x", "Cookie": "c=d", "X-Mine": "1"}
    answer = allowed(canary).request("POST", f"{canary.base}/1", headers=headers, body=b"form")
    first, second = canary.asked
    assert (first.method, first.body, first.headers["authorization"]) == ("POST", b"form", "Bearer x")
    assert (second.method, second.body, second.headers["x-mine"]) == ("GET", b"", "1")
    assert not {"authorization", "cookie"} & set(second.headers)
    assert (answer.body, answer.url) == (b"here", f"{canary.base}/2")
    canary.reply = lambda _: (307, {"Location": "/again"}, b"")
    with pytest.raises(BadGateway, match="too often"):
        allowed(canary).request("GET", canary.base)
    assert allowed(canary).request("GET", canary.base, redirects=0).status == 307


def test_what_may_be_a_key_stays_behind_when_another_server_is_next(canary: Canary):
    with Canary() as other:
        out = Outbound([f"127.0.0.1:{canary.port}", f"127.0.0.1:{other.port}"])
        canary.reply = lambda asked: (307, {"Location": f"{other.base}/there"}, b"")
        headers = {"X-Api-Key": "secret", "Authorization": "Bearer x", "Accept": "text/plain", "Range": "bytes=0-1"}
        assert out.request("GET", canary.base, headers=headers).body == b"canary"
        [there] = other.asked
        assert (there.headers["accept"], there.headers["range"]) == ("text/plain", "bytes=0-1")
        assert not {"x-api-key", "authorization"} & set(there.headers)
        with pytest.raises(BadGateway, match="another one"):
            out.request("POST", canary.base, body=b"client_secret=x")
        assert len(other.asked) == 1


@pytest.mark.parametrize("head", [b"Content-Length: 5\r\n", b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_large_answer_is_cut(head: bytes):
    body = b"5\r\nxxxxx\r\n0\r\n\r\n" if b"chunked" in head else b"xxxxx"
    for limit in (5, 4):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            threading.Thread(target=_say, args=(listening, b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body), daemon=True).start()
            with nullcontext() if limit == 5 else pytest.raises(TooLarge):
                url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
                assert Outbound(["127.0.0.1"]).request("GET", url, limit_bytes=limit, timeout=5).body == b"xxxxx"


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_who_drips_is_left_in_time(before: bytes):
    """In the head and in the body: each byte comes in time, the whole never would."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_drip, args=(listening, before), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(GatewayTimeout):
            Outbound(["127.0.0.1"]).request("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout=0.5)
        assert time.monotonic() - began < 5


def _drip(listening: socket.socket, before: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(1 << 16)
        connection.sendall(before)
        for _ in range(200):
            try:
                connection.sendall(b"a")
            except OSError:
                return
            time.sleep(0.05)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
def test_a_broken_answer_is_a_bad_gateway(answer: bytes):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_say, args=(listening, answer), daemon=True).start()
        with pytest.raises(BadGateway):
            Outbound(["127.0.0.1"]).request("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout=5)


def _say(listening: socket.socket, answer: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(1 << 16)
        connection.sendall(answer)


def test_proxies_and_files_of_the_environment_are_not_used(canary: Canary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b")
    for name, value in {"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    assert allowed(canary).request("GET", canary.base).status == 200
    assert set(canary.asked[0].headers) == {"host", "accept-encoding", "connection", "user-agent"}
    assert canary.asked[0].headers["user-agent"].startswith("cozyd/")


def test_a_body_can_be_taken_as_it_comes(canary: Canary):
    canary.reply = lambda _: (200, {"Content-Encoding": "gzip", "X-A": "b"}, b"not unpacked" * 20_000)
    with allowed(canary).stream("GET", canary.base) as incoming:
        assert (incoming.status, incoming.headers["x-a"]) == (200, "b")
        assert b"".join(incoming) == b"not unpacked" * 20_000


def test_only_the_port_that_is_named_is_allowed(canary: Canary):
    other = Outbound(["127.0.0.1:1"])
    with pytest.raises(Forbidden):
        other.request("GET", canary.base)
    assert Outbound([f"127.0.0.1:{canary.port}"]).request("GET", canary.base).status == 200
    with pytest.raises(Forbidden):
        Outbound([]).connect("127.0.0.1", canary.port)
    allowed(canary).connect("127.0.0.1", canary.port).close()


def test_what_is_sent_arrives_as_it_is(canary: Canary):
    answers: list[Asked] = canary.asked
    allowed(canary).request("PUT", f"{canary.base}/a%2Fb?q=%20", headers={"Content-Type": "text/x"}, body=b"\x00\xff")
    assert (answers[0].method, answers[0].path, answers[0].body, answers[0].headers["content-type"]) == (
        "PUT",
        "/a%2Fb?q=%20",
        b"\x00\xff",
        "text/x",
    )


def _certified(folder: Path, name: str) -> tuple[Path, Path]:
    """A key and a certificate for a name, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = (
        made.serial_number(1).not_valid_before(datetime.now(UTC) - timedelta(days=1)).not_valid_after(datetime.now(UTC) + timedelta(days=1))
    )
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    signed = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    pem, secret = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return pem, secret


def test_a_certificate_is_compared_with_the_name_though_the_connection_goes_to_an_address(tmp_path: Path):
    pem, secret = _certified(tmp_path, "names.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    with Canary() as bird:
        server = bird._servers[0]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        out = Outbound(["names.example", "other.example"], authorities=str(pem), resolve=lambda *_: ["127.0.0.1"])
        assert out.request("GET", f"https://names.example:{bird.port}/", timeout=5).body == b"canary"
        with pytest.raises(BadGateway):
            out.request("GET", f"https://other.example:{bird.port}/", timeout=5)
        with pytest.raises(BadGateway):
            Outbound(["names.example"], resolve=lambda *_: ["127.0.0.1"]).request("GET", f"https://names.example:{bird.port}/", timeout=5)
    assert [asked.headers["host"] for asked in bird.asked] == [f"names.example:{bird.port}"]
