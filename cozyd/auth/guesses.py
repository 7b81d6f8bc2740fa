"""How often who may guess: short codes and passwords of share links (docs/http/permissions.md)."""

import ipaddress

from cozyd.cache import Cache
from cozyd.errors import TooManyRequests

WINDOW, HOUR = 300, 3600
MISSES = 30
"""Short codes that nobody has, from one address within five minutes."""
TRIES_HERE, TRIES = 10, 300
"""Passwords tried for one link: from one address within five minutes, from anywhere within an hour."""


class Guesses:
    """Counters of one instance; strangers are slowed down, no thread waits.

    :param domain: keeps tenants apart.
    """

    def __init__(self, cache: Cache, domain: str) -> None:
        self._cache = cache
        self._domain = domain

    def check(self, address: str) -> None:
        """:raises TooManyRequests: this address guessed too many short codes."""
        if self._cache.get(self._key("guesser", address)) is not None:
            raise TooManyRequests("Too many unknown codes, try again in a few minutes", retry_after=WINDOW)

    def missed(self, address: str) -> None:
        """Note that this address showed a short code that nobody has."""
        if self._cache.hit(self._key("misses", address), WINDOW) >= MISSES:
            self._cache.set(self._key("guesser", address), b"", WINDOW)

    def count_password(self, link: str, address: str) -> None:
        """Count a password that is tried, before it is hashed.

        :raises TooManyRequests: too many for this link.
        """
        here = self._cache.hit(self._key(f"link/{link}", address), WINDOW)
        if here > TRIES_HERE or self._cache.hit(self._key(f"link/{link}", ""), HOUR) > TRIES:
            raise TooManyRequests("Too many attempts, try again in a few minutes", retry_after=WINDOW)

    def forget_password(self, link: str, address: str) -> None:
        """It was right: this address starts anew."""
        self._cache.delete(self._key(f"link/{link}", address))

    def _key(self, what: str, address: str) -> str:
        return f"guesses/{self._domain}/{what}/{source_of(address)}"


def source_of(address: str) -> str:
    """What of an address counts as one client: of IPv6 the first 64 bits, as one has them all below."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
