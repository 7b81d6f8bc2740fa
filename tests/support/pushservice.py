"""A small push service on loopback (RFC 8030): takes messages, checks who signed them, and decrypts them as the device would."""

import base64
import os
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import http_ece
import py_vapid.jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def text_of(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Message:
    """What a device got.

    :param claims: of the token of who sent it; `key` is the sender's public key.
    """

    path: str
    text: bytes
    headers: dict[str, str]
    claims: dict[str, object]
    key: str


@dataclass
class Device:
    """A receiver: its keys, and what came."""

    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = field(default_factory=lambda: os.urandom(16))

    @property
    def p256dh(self) -> str:
        """The public key as clients send it."""
        return text_of(self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    @property
    def secret(self) -> str:
        """The authentication secret as clients send it."""
        return text_of(self.auth)


class PushService:
    """The service with one device behind all of its addresses; `status` and `retry_after` are what it answers."""

    def __init__(self) -> None:
        self.device = Device()
        self.messages: list[Message] = []
        self.status = 201
        self.retry_after = ""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.take(self.path, dict(self.headers), body)
                self.send_response(service.status)
                if service.retry_after:
                    self.send_header("Retry-After", service.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Decrypt a message and keep it."""
        scheme, _, rest = headers["Authorization"].partition(" ")
        assert scheme == "vapid"
        token, key = (one.partition("=")[2] for one in rest.split(","))
        claims = py_vapid.jwt.decode(token, key)
        assert headers["Content-Encoding"] == "aes128gcm"
        text = http_ece.decrypt(body, private_key=self.device.private, auth_secret=self.device.auth)
        self.messages.append(Message(path, text, {name.lower(): value for name, value in headers.items()}, claims, key))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
