"""The instance record (doctype `instances`, tenant `global`): its host names, its first values, what may be told of it (pure)."""

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from cozyd.errors import Invalid

LOCALES = ("en", "fr", "de", "es")
SECRETS = frozenset(
    ("passphrase_hash", "session_secret", "oauth_secret", "cli_secret", "register_token", "passphrase_reset_token", "passphrase_reset_time")
)
"""What no answer holds."""
AUTH_MODES = ("basic", "two_factor_mail", "two_factor_oidc")
"""Names of the numbers in `auth_mode`."""

_HOST = re.compile(r"(?P<name>[^\W_][\w-]*(\.[^\W_][\w-]*)*)(:(?P<port>[0-9]{1,5}))?")

_PREFIX = re.compile(r"cozy[0-9a-f]{32}")


def prefix_of(domain: str) -> str:
    """The tenant's name: `cozy` and the first 32 hex digits of the domain's SHA-256."""
    return "cozy" + hashlib.sha256(domain.encode()).hexdigest()[:32]


def is_prefix(name: Any) -> bool:
    """Whether a tenant may have this name: no other leads to another place on a disk or in a store."""
    return isinstance(name, str) and _PREFIX.fullmatch(name) is not None


def check_host(host: str) -> str:
    """A host name with its port, in lower case and Unicode, as records keep it.

    :raises Invalid: it cannot be one.
    """
    name = to_unicode(host.strip().lower())
    found = _HOST.fullmatch(name)
    if found is None or len(name) > 255 or int(found["port"] or 1) not in range(1, 65536):
        raise Invalid(f"{host!r} cannot be a domain", source="domain")
    return name


def to_unicode(host: str) -> str:
    """A host name as people write it: browsers send `xn--...` for what is not ASCII (RFC 5891)."""
    if "xn--" not in host:
        return host
    try:
        return host.encode("ascii").decode("idna")
    except UnicodeError:
        return host


def other_hosts(aliases: Sequence[str], domain: str) -> list[str]:
    """Aliases once each, in the order given."""
    return [alias for alias in dict.fromkeys(check_host(alias) for alias in aliases) if alias != domain]


def known_locale(locale: str) -> str:
    """A language that the server speaks.

    :raises Invalid: another one.
    """
    if locale not in LOCALES:
        raise Invalid(f"{locale!r} is none of the languages {', '.join(LOCALES)}", source="locale")
    return locale


def secret(length: int) -> str:
    """So many random bytes, in base64."""
    return b64encode(secrets.token_bytes(length)).decode()


def new_record(domain: str, aliases: Sequence[str], locale: str, quota: int | None) -> dict[str, Any]:
    """The record of an instance that nobody has used yet."""
    record: dict[str, Any] = {
        "domain": domain,
        "prefix": prefix_of(domain),
        "locale": locale,
        "auth_mode": 0,
        "onboarding_finished": False,
        "register_token": secret(16),
        "session_secret": secret(64),
        "oauth_secret": secret(128),
        "cli_secret": secret(128),
    }
    if aliases:
        record["domain_aliases"] = list(aliases)
    if quota:
        record["disk_quota"] = str(quota)
    return record


def former_domains(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Domains that an instance had: they lead to it, and its tokens of then are good.

    The first, `old_domain`, is the one it was made on: clients derive the passphrase with it.
    """
    return (*filter(None, [record.get("old_domain")]), *record.get("former_domains", ()))


def size_of(text: str | None) -> int | None:
    """A size in bytes, or with a unit: `10GB`, `512 MiB`; -1 or nothing means no limit.

    :raises Invalid: it is none.
    """
    if not text or text == "-1":
        return None
    plain = text.strip().upper().removesuffix("B").removesuffix("I").strip()
    power = {"K": 10, "M": 20, "G": 30, "T": 40}.get(plain[-1:], 0)
    number = plain[:-1].strip() if power else plain
    if not number.isdecimal() or not number.isascii() or len(number) > 18:
        raise Invalid(f"{text!r} is no size", source="DiskQuota")
    return int(number) << power


def auth_mode(record: Mapping[str, Any]) -> str:
    """How its owner logs in, by name."""
    number = record.get("auth_mode") or 0
    return AUTH_MODES[number] if number in range(len(AUTH_MODES)) else AUTH_MODES[0]
