"""`sendmail`: hands the mails of a job to the configured SMTP server (RFC 5321; STARTTLS 3207, TLS 8314, log-in 4954)."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cozyd.config import ConfigError, Mail, secret_of
from cozyd.errors import BadGateway, Invalid, Unavailable
from cozyd.instance import Instance
from cozyd.mails import Mailing

PATIENCE = 8.0
"""Seconds the SMTP server may take for one answer."""
SILENT = "-"
"""The host that drops every mail."""


class _Asked(Protocol):
    @property
    def message(self) -> object: ...


def run(instance: Instance, job: _Asked) -> None:
    """Send the mails that a job asks for.

    :raises Invalid, TooLarge: it asks for what cannot be sent, or the server refuses it for good.
    :raises BadGateway, Unavailable: the server is away, or refuses us.
    """
    mailings = instance.mails.mailings(job.message)
    config = instance.mails.config
    if config.host == SILENT:
        return
    if not config.host:
        raise Invalid("No mail leaves here: [mail] host is not set", source="mail.host")
    with _spoken(), _connected(config, mailings[0].sender) as server:
        for mailing in mailings:
            _hand_over(server, mailing)


def _hand_over(server: smtplib.SMTP, mailing: Mailing) -> None:
    refused = server.send_message(mailing.message, mailing.sender, mailing.recipients)
    if refused:
        raise Invalid(f"The mail server refuses {', '.join(sorted(refused))}; the others have the mail", source="to")


@contextmanager
def _connected(config: Mail, sender: str) -> Iterator[smtplib.SMTP]:
    """The server, secured and logged in as the configuration says."""
    name = sender.rpartition("@")[2]  # smtplib would ask DNS for our own name
    context = ssl.create_default_context(cafile=config.ca_file or None)
    if config.tls == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(config.host, config.port, local_hostname=name, timeout=PATIENCE, context=context)
    else:
        server = smtplib.SMTP(config.host, config.port, local_hostname=name, timeout=PATIENCE)
    with server:
        if config.tls == "starttls":
            server.starttls(context=context)
        if config.user:
            server.login(config.user, config.password or secret_of("mail.password_file", config.password_file))
        yield server


@contextmanager
def _spoken() -> Iterator[None]:
    """Failures of SMTP as ours: those of now may be tried again, those for good not."""
    try:
        yield
    except smtplib.SMTPAuthenticationError as cause:
        raise BadGateway("The mail server refuses our user and password") from cause
    except smtplib.SMTPNotSupportedError as cause:
        raise BadGateway(f"The mail server cannot take it: {cause}") from cause
    except smtplib.SMTPRecipientsRefused as cause:
        raise _refusal(max(code for code, _ in cause.recipients.values()), f"every recipient: {', '.join(cause.recipients)}") from cause
    except smtplib.SMTPResponseException as cause:
        raise _refusal(cause.smtp_code, _text(cause.smtp_error)) from cause
    except (OSError, smtplib.SMTPException) as cause:
        raise Unavailable(f"The mail server does not answer: {cause}") from cause
    except ConfigError as cause:
        raise BadGateway(str(cause)) from cause


def _refusal(code: int, why: str) -> Invalid | Unavailable:
    """A refusal: 5xx is for good, 4xx for now (RFC 5321, section 4.2.1)."""
    return Invalid(f"The mail server refuses the mail ({code}): {why}") if code >= 500 else Unavailable(f"Not now ({code}): {why}")


def _text(answer: bytes | str) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer
