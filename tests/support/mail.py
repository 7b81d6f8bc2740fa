"""A real SMTP server on loopback: what it was handed, as it was handed."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Self, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cozyd.config import Mail
from tests.support.serving import free_port

USER, PASSWORD = "cozyd", "let me post"


@dataclass(frozen=True)
class Posted:
    """One mail: its envelope and its message."""

    sender: str
    recipients: list[str]
    message: EmailMessage

    @property
    def plain(self) -> str:
        """The body as text."""
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    @property
    def html(self) -> str:
        """The body as HTML."""
        part = self.message.get_body(("html",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")


class MailServer:
    """An SMTP server that keeps what it gets.

    :param tls: `starttls`, `tls` or `none`; with the first it demands TLS and a log-in before it takes a mail.
    """

    def __init__(self, folder: Path, tls: str = "none") -> None:
        self.mails: list[Posted] = []
        self.refuse: dict[str, str] = {}
        self.tls = tls
        self.port = free_port()
        self.certificate = folder / "mail.pem"
        context = _secured(self.certificate) if tls != "none" else None
        secured: dict[str, Any] = {}
        if tls == "starttls":
            secured = {"require_starttls": True, "tls_context": context, "authenticator": self._check, "auth_required": True}
        elif tls == "tls":
            secured = {"ssl_context": context}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, enable_SMTPUTF8=True, **secured)

    def config(self, **more: Any) -> Mail:
        """How a cozyd reaches it."""
        given: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "tls": self.tls}
        user = {"user": USER, "password": PASSWORD} if self.tls == "starttls" else {}
        ca = {"ca_file": str(self.certificate)} if self.tls != "none" else {}
        return Mail(**given | user | ca | more)

    def environ(self) -> dict[str, str]:
        """The same, for a served process."""
        config = self.config()
        names = ("host", "port", "tls", "ca_file", "user", "password")
        return {f"COZYD_MAIL_{name.upper()}": str(getattr(config, name)) for name in names if getattr(config, name)}

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Envelope, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:
        raw = cast(bytes, envelope.content)
        message = message_from_bytes(raw, policy=default)
        self.mails.append(Posted(str(envelope.mail_from), list(envelope.rcpt_tos), message))
        return "250 OK"

    def _check(self, server: SMTP, session: Any, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()


def _secured(file: Path) -> ssl.SSLContext:
    """A server's TLS, with a new certificate."""
    certify(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def certify(file: Path) -> None:
    """Write a key, and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
