"""`compose`: what a `sendmail` job asks for -> mails as they leave (docs/mails.md). Pure but for the contents it is given.

Who a mail is from is decided here, by its mode, never by who asks for it; nor does anything in the job say which relay it takes.
"""

import re
import unicodedata
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from itertools import product
from typing import Any

from cozyd.errors import Invalid, TooLarge
from cozyd.mails.letter import Letter

RECIPIENTS = 100
SIZE = 25 << 20
"""Bytes of all attachments of one mail, before they are encoded."""
LONGEST_ADDRESS, LONGEST_LOCAL = 254, 64
LONGEST_SUBJECT, LONGEST_NAME, LONGEST_NAMES = 2_000, 200, 3_000
"""Characters of a subject, a name, and all names together: `email` takes a time that grows with the square of a header's length."""
_PARTS = {"text/plain": "plain", "text/html": "html"}
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]+)>")
_ENCODED = "=?"
"""What an encoded word (RFC 2047) begins with: `email` would decode it, and make lines of the line ends in it."""
_DOMAIN = re.compile(r"[^\W_]([\w-]*[^\W_])?(\.[^\W_]([\w-]*[^\W_])?)*")
_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+")
Attachment = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mailing:
    """One mail as it leaves: the envelope, and the message (RFC 5321, 5322)."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage


@dataclass(frozen=True, slots=True)
class Header:
    """Who a mail is from and to."""

    sender: Address
    to: Sequence[Address]
    reply_to: Address | None = None


def address_of(given: Any) -> Address:
    """`{name, email}`, or a text, as an address; `email` may be `Name <address>` as well.

    :raises Invalid: it is none (RFC 5321, section 4.1.2; RFC 6531 for letters beyond ASCII).
    """
    given = {"email": given} if isinstance(given, str) else given
    name, email = (given.get("name") or "", given.get("email")) if isinstance(given, Mapping) else ("", None)
    if not isinstance(email, str) or not isinstance(name, str) or max(len(email), len(name)) > LONGEST_NAME + LONGEST_ADDRESS:
        raise Invalid("A recipient has a name and an email", source="to")
    named = _NAMED.fullmatch(email.strip())
    if named:
        name, email = named["name"].strip(' "') or name, named["address"]
    local, _, domain = email.strip().rpartition("@")
    domain = _ascii(domain)
    if not _is_local(local) or not _DOMAIN.fullmatch(domain) or len(local) + len(domain) >= LONGEST_ADDRESS or not _one_line(name):
        raise Invalid(f"{email!r} is no address of mail", source="to")
    return Address(name[:LONGEST_NAME].replace(_ENCODED, "= ?"), local, domain)


def _is_local(local: str) -> bool:
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    return bool(_LOCAL.fullmatch(local)) and not dots and _ENCODED not in local and len(local.encode()) <= LONGEST_LOCAL


def _ascii(domain: str) -> str:
    """A domain as DNS has it (RFC 5891); what cannot be one stays, and is refused."""
    try:
        return domain.encode("idna").decode() if not domain.isascii() else domain
    except UnicodeError:
        return ""


def _one_line(text: str) -> bool:
    """Whether a text has no control characters, no line ends of any kind, and no halves of letters."""
    return not any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in text)


def compose(
    message: Mapping[str, Any], header: Header, written: Letter | None, *, domain: str, now: datetime, read: Callable[[str], bytes]
) -> Mailing:
    """The mail that a job asks for.

    :param message: `subject`, `parts`, `attachments`, `date`.
    :param written: the words of its template, in place of subject and parts.
    :param domain: the instance's, for `X-Cozy` and the message's id.
    :param read: a file's content by its id, for attachments that name one.
    :raises Invalid: no subject, no recipient, no body, another kind of part, line breaks in headers, bad base64.
    :raises TooLarge: its attachments are.
    """
    if not header.to:
        raise Invalid("The mail has no recipient", source="to")
    if len(header.to) > RECIPIENTS:
        raise Invalid(f"The mail has more than {RECIPIENTS} recipients", source="to")
    if sum(len(one.display_name) for one in header.to) > LONGEST_NAMES:
        raise Invalid("The names of the recipients are too long together", source="to")
    subject = _tame(written.subject) if written else message.get("subject")
    if not isinstance(subject, str) or not subject.strip():
        raise Invalid("The mail has no subject", source="subject")
    if not _one_line(subject) or len(subject) > LONGEST_SUBJECT:
        raise Invalid(f"A subject is one line of at most {LONGEST_SUBJECT} characters", source="subject")
    made = EmailMessage(policy=SMTP)
    made["From"] = header.sender
    made["To"] = list(header.to)
    if header.reply_to is not None:
        made["Reply-To"] = header.reply_to
    made["Subject"] = subject
    made["Date"] = format_datetime(_date(message.get("date"), now))
    host = domain.partition(":")[0]
    made["Message-ID"] = make_msgid(domain=_ascii(host) or None)
    made["X-Cozy"] = domain
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notice answers it
    _add_parts(made, [("text/plain", written.text), ("text/html", written.html)] if written else _parts(message.get("parts")))
    _attach(made, message.get("attachments") or (), read)
    _check_lines(made)
    return Mailing(header.sender.addr_spec, tuple(one.addr_spec for one in header.to), made)


def _tame(subject: str) -> str:
    """A subject of ours that leaves whatever values were put in: who names a client so must not keep the mail about it away."""
    plain = "".join(char if _one_line(char) else " " for char in subject)
    return plain.replace(_ENCODED, "= ?")[:LONGEST_SUBJECT]


def _check_lines(made: EmailMessage) -> None:
    """Whether subject and file names end where they should: `email` decodes encoded words (RFC 2047) in them, and line ends in these.

    :raises Invalid: one would go on as another header.
    """
    for part, name in product(made.walk(), ("Subject", "Content-Disposition")):
        if name in part:
            first, *further = SMTP.fold(name, part[name]).removesuffix("\r\n").splitlines()
            if not first.startswith(f"{name}:") or not all(line[:1] in (" ", "\t") and line.strip() for line in further):
                raise Invalid(f"The header {name} would not be one line", source=name.lower())


def _date(given: Any, now: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(given) if isinstance(given, str) else now
    except ValueError:
        raise Invalid("date is no date of RFC 3339", source="date") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=now.tzinfo)


def _parts(given: Any) -> list[tuple[str, str]]:
    if not isinstance(given, list) or not given:
        raise Invalid("The mail has no body", source="parts")
    found = []
    for part in given:
        kind, body = (part.get("type"), part.get("body")) if isinstance(part, Mapping) else (None, None)
        if not isinstance(kind, str) or kind not in _PARTS or not isinstance(body, str):
            raise Invalid(f"A part of a mail is text/plain or text/html, not {kind!r}", source="parts")
        found.append((kind, body))
    return found


def _add_parts(made: EmailMessage, parts: Sequence[tuple[str, str]]) -> None:
    first, *others = parts
    made.set_content(first[1], subtype=_PARTS[first[0]])
    for kind, body in others:
        made.add_alternative(body, subtype=_PARTS[kind])


def _attach(made: EmailMessage, given: Any, read: Callable[[str], bytes]) -> None:
    if not isinstance(given, list | tuple):
        raise Invalid("attachments are an array", source="attachments")
    size = 0
    for one in given:
        name, content = _attachment(one, read)
        size += len(content)
        if size > SIZE:
            raise TooLarge(f"The attachments of a mail have more than {SIZE >> 20} MiB")
        made.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)


def _attachment(one: Any, read: Callable[[str], bytes]) -> tuple[str, bytes]:
    name = one.get("filename") if isinstance(one, Mapping) else None
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_SUBJECT or not _one_line(name):
        raise Invalid("An attachment has a filename", source="attachments")
    if isinstance(one.get("file_id"), str):
        return name, read(one["file_id"])
    content = one.get("content") or ""
    try:
        return name, b64decode(re.sub(r"[\r\n]", "", content), validate=True)  # some encoders break lines (RFC 2045)
    except (ValueError, TypeError):
        raise Invalid(f"The content of {name} is not base64", source="attachments") from None
