"""Values of the auth room: what a request shows, a device, the passphrase's derivation."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Reach = Literal["contacts", "calendars", "files"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows of who is asking; a door fills in what it accepts.

    :param basic: user name (not compared) and password.
    :param session: value of the session cookie; None of a door that reads no cookies, empty of a request that has none.
    :param passes: cookies that show that the passwords of share links were given, by name.
    :param address: the client's IP address, for rate limits.
    :param known: value of the cookie of a browser in which she logged in before.
    """

    bearer: str | None = None
    basic: tuple[str, str] | None = None
    session: str | None = None
    address: str = ""
    agent: str = ""
    passes: Mapping[str, str] = field(default_factory=dict)
    known: str = ""


def basic_of(value: str) -> tuple[str, str] | None:
    """User name and password of Basic credentials (RFC 7617); None: they are no Base64, not even ASCII, or no UTF-8."""
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return user, password


@dataclass(frozen=True, slots=True)
class Kdf:
    """How clients derive what they send from the passphrase (docs/http/auth.md, section 2)."""

    salt: str
    iterations: int


@dataclass(frozen=True, slots=True)
class Device:
    """A device password: what it is called, what it may reach."""

    id: str
    name: str
    reach: tuple[Reach, ...]
    read_only: bool
    created_at: datetime
    last_used: datetime | None = None


class Mails(Protocol):
    """How mails go out: a template's name, its values, whom to (None: the owner)."""

    def send(self, template: str, values: Mapping[str, Any], *, to: Any = None) -> None:
        """Hand a mail to the post; never waits for it."""


def text_of(time: datetime) -> str:
    """A moment as documents keep it."""
    return time.isoformat().replace("+00:00", "Z")


def time_of(text: str) -> datetime:
    """A moment that a document keeps."""
    return datetime.fromisoformat(text)
