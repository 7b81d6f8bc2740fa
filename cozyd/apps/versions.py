"""Versions: the registry's order of them, and the ranges of npm. No I/O."""

import re
from collections.abc import Iterable
from typing import Literal

Channel = Literal["stable", "beta", "dev"]
CHANNELS: tuple[Channel, ...] = ("stable", "beta", "dev")
_VERSION = re.compile(r"v?(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})(?:-(beta)\.([0-9]{1,5})|-(dev)\.[0-9a-f]{1,40})?")
_NPM = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)(-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
_RANGE = re.compile(r"(\^|~|>=)?v?([0-9]+)(?:\.([0-9]+|x|\*))?(?:\.([0-9]+|x|\*))?(-[0-9A-Za-z.-]+)?")


def channel_of(version: str) -> Channel | None:
    """The narrowest channel a version is in; None: it is no version."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return None
    return "beta" if found[4] else "dev" if found[6] else "stable"


def channel_named(source: str) -> Channel | None:
    """The channel that an app of a registry follows, by its source; None: another source, or one version for good."""
    if not source.startswith("registry://"):
        return None
    parts = [part for part in source.removeprefix("registry://").split("/")[1:] if part and part != "latest"] or ["stable"]
    return next((channel for channel in CHANNELS if parts == [channel]), None)


def is_in(version: str, channel: Channel) -> bool:
    """Whether a channel has a version: each has what the narrower ones have."""
    own = channel_of(version)
    return own is not None and CHANNELS.index(own) <= CHANNELS.index(channel)


def order(version: str, created_at: str = "") -> tuple[int, int, int, int, int, str]:
    """A key by which versions rise: numbers as numbers, a beta before what it leads to, dev ones by their time."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (-1, -1, -1, 0, 0, version)
    numbers = (int(found[1]), int(found[2]), int(found[3]))
    return (*numbers, 0 if found[4] or found[6] else 1, int(found[5] or 0), created_at)


def is_newer(version: str, than: str) -> bool:
    """Whether a version is greater than another."""
    return order(version) > order(than)


def newest_for(versions: Iterable[str], wanted: str) -> str | None:
    """The greatest version that an npm range takes: exact, `^1.2.3`, `~1.2`, `1.x`, `>=1.2.0`, `*`; None: none does.

    A pre-release is only taken when the range itself names one of the same three numbers.
    """
    if wanted in ("*", "x"):
        wanted = ">=0.0.0"
    asked = _RANGE.fullmatch(wanted)
    if asked is None:
        return None
    fitting = [(_npm_order(version), version) for version in versions if _fits(version, asked)]
    return max(fitting)[1] if fitting else None


def _fits(version: str, asked: "re.Match[str]") -> bool:
    found = _NPM.fullmatch(version)
    if found is None:
        return False
    sign, tag = asked[1], asked[5]
    numbers = tuple(int(part) for part in found.groups()[:3])
    given = [int(part) for part in asked.groups()[1:4] if part and part.isdigit()]
    low = [*given, 0, 0][:3]
    if found[4] and not (tag and list(numbers) == low):
        return False
    if list(numbers) < low or (list(numbers) == low and tag and _npm_order(version) < _npm_order(".".join(map(str, low)) + tag)):
        return False
    if sign == ">=":
        return True
    if sign == "^":
        first = next((index for index, part in enumerate(low) if part), len(given) - 1)
        return list(numbers[: first + 1]) == low[: first + 1]
    if sign == "~":
        return list(numbers[: min(2, len(given))]) == low[: min(2, len(given))]
    same = list(numbers[: len(given)]) == given
    return same and (len(given) < 3 or (found[4] or "") == (tag or ""))


def _npm_order(version: str) -> tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]:
    found = _NPM.fullmatch(version)
    assert found is not None
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in (found[4] or "")[1:].split(".") if part)
    return (int(found[1]), int(found[2]), int(found[3]), 0 if found[4] else 1, parts)
