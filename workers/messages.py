"""What a mail says, and its attachments; runs in a child process (docs/workers.md, section 8)."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, cast

from workers.plain import decoded, from_html

LONGEST_TEXT, LONGEST_HTML, LONGEST_HEADER = 200_000, 1_000_000, 2_000
MOST_PEOPLE, MOST_ATTACHMENTS, MOST_PARTS = 200, 100, 2_000
_POLICY = policy.default.clone(max_line_length=None)


def read(files: Sequence[BinaryIO], *, only_head: bool) -> dict[str, Any]:
    """The members of an `io.cozy.emails`, and `parts`: name, type and size of the attachments, which are written to the second file.

    :param files: the mail, then where its attachments go, one behind the other.
    :param only_head: its body was not fetched.
    """
    message = BytesParser(policy=_POLICY).parse(files[0], headersonly=only_head)
    found: dict[str, Any] = {name: _header(message, header) for name, header in (("subject", "Subject"), ("messageId", "Message-ID"))}
    found |= {"inReplyTo": _header(message, "In-Reply-To"), "references": _header(message, "References").split()[:MOST_PEOPLE]}
    found |= {name: _people(message, name) for name in ("from", "to", "cc")}
    found["date"] = _date(message)
    if not only_head:
        found |= _bodies(message)
        found["parts"] = list(_attachments(message, files[1]))
    return {name: value for name, value in found.items() if value}


def words(source: BinaryIO) -> Iterator[str]:
    """What is searched of a mail: its head, its text, and the names of its attachments."""
    message = BytesParser(policy=_POLICY).parse(source)
    for name in ("Subject", "From", "To", "Cc"):
        yield f"{_header(message, name)}\n"
    yield _bodies(message)["text"]
    for part in _leaves(message):
        if _is_attachment(part):
            yield f"\n{_filename(part)}"


def _header(message: EmailMessage, name: str) -> str:
    """A header as text on one line; broken ones as far as they can be read."""
    try:
        value = str(message.get(name, ""))
    except Exception:  # noqa: BLE001 - the parser of structured headers fails on some of what is sent
        value = next((raw for key, raw in message.raw_items() if key.lower() == name.lower()), "")
    return _clean(" ".join(str(value).split()))[:LONGEST_HEADER]


def _clean(text: str) -> str:
    """Text without what JSON cannot hold."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "")


def _people(message: EmailMessage, name: str) -> list[dict[str, str]]:
    try:
        addresses: Sequence[Address] = getattr(message.get(name), "addresses", ())
        return [{"name": _clean(one.display_name), "address": _clean(one.addr_spec)} for one in addresses[:MOST_PEOPLE]]
    except Exception:  # noqa: BLE001 - as in `_header`
        text = _header(message, name)
        return [{"name": "", "address": text}] if text else []


def _date(message: EmailMessage) -> str:
    try:
        found = parsedate_to_datetime(_header(message, "Date"))
        found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        return found.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, TypeError, OverflowError):
        return ""


def _bodies(message: EmailMessage) -> dict[str, str]:
    """Text and HTML; text is made of HTML where there is none, HTML comes without scripts."""
    import nh3

    found: dict[str, str] = {}
    for part in _leaves(message):
        kind = part.get_content_type()
        if _is_attachment(part) or kind not in ("text/plain", "text/html"):
            continue
        name = "text" if kind == "text/plain" else "html"
        found.setdefault(name, _words(part))
    if "html" in found:
        found.setdefault("text", " ".join(from_html(found["html"]).split()))
        found["html"] = nh3.clean(found["html"][:LONGEST_HTML])
    found["text"] = found.get("text", "")[:LONGEST_TEXT]
    return found


def _words(part: EmailMessage) -> str:
    """The text of a part, whatever it says its encoding is."""
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        return ""
    charset = part.get_content_charset() or ""
    try:
        return _clean(raw.decode(charset)) if charset else _clean(decoded(raw))
    except (LookupError, UnicodeDecodeError, ValueError):
        return _clean(decoded(raw))


def _leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that hold something, without recursion: mails are nested by the thousand."""
    waiting, seen = [message], 0
    while waiting and seen < MOST_PARTS:
        part = waiting.pop()
        seen += 1
        payload = part.get_payload()
        if isinstance(payload, list) and part.get_content_maintype() == "multipart":
            waiting += [cast(EmailMessage, one) for one in reversed(payload)]
        else:
            yield part


def _is_attachment(part: EmailMessage) -> bool:
    is_text = part.get_content_type() in ("text/plain", "text/html")
    return not is_text or "attachment" in _header(part, "Content-Disposition").lower() or bool(_filename(part))


def _filename(part: EmailMessage) -> str:
    try:
        return _clean(part.get_filename() or "")
    except Exception:  # noqa: BLE001 - as in `_header`
        return ""


def _attachments(message: EmailMessage, target: BinaryIO) -> Iterator[dict[str, Any]]:
    found = 0
    for part in _leaves(message):
        if not _is_attachment(part) or found == MOST_ATTACHMENTS:
            continue
        payload = part.get_payload()
        raw = (
            part.get_payload(decode=True)
            if not isinstance(payload, list)
            else b"".join(cast(EmailMessage, one).as_bytes() for one in payload)
        )
        if isinstance(raw, bytes):
            found += 1
            target.write(raw)
            yield {"name": _filename(part) or f"attachment-{found}", "mime": part.get_content_type(), "size": len(raw)}


def now_text(moment: datetime) -> str:
    """A moment as documents have it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
