"""Values of the auth room: what a request shows, a device, the passphrase's derivation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Reach = Literal["contacts", "calendars", "files"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows of who is asking; a door fills in what it accepts.

    :param basic: user name (not compared) and password.
    :param session: value of the session cookie; None of a door that reads no cookies, empty of a request that has none.
    :param passes: cookies that show that the passwords of share links were given, by name.
    :param address: the client's IP address, for rate limits.
    """

    bearer: str | None = None
    basic: tuple[str, str] | None = None
    session: str | None = None
    address: str = ""
    agent: str = ""
    passes: Mapping[str, str] = field(default_factory=dict)


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
