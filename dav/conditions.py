"""The conditions of a WebDAV request: the If header (RFC 4918, section 10.4), and those of RFC 9110, section 13. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from cozyd.errors import BadRequest, PreconditionFailed
from dav.access import Environ

NO_LOCK = "DAV:no-lock"
LONGEST = 8192
_PART = re.compile(r"""\s*(?:<(?P<url>[^<>]*)>|\[\s*(?P<tag>(?:W/)?"[^"]*")\s*\]|(?P<open>\()|(?P<close>\))|(?P<negated>[Nn][Oo][Tt]\b))""")


@dataclass(frozen=True, slots=True)
class State:
    """What a condition is compared with: the ETag in quotes, empty where nothing is, and the tokens of all locks on it."""

    tag: str
    tokens: frozenset[str]


@dataclass(frozen=True, slots=True)
class Condition:
    """A state token or an ETag."""

    negated: bool
    token: str = ""
    tag: str = ""

    def holds(self, state: State) -> bool:
        """Whether it is so."""
        met = self.token in state.tokens if self.token else self.tag.removeprefix("W/") == state.tag
        return met is not self.negated


@dataclass(frozen=True, slots=True)
class ConditionList:
    """Conditions that have to hold together.

    :param url: of which resource; empty: of the request's own.
    """

    url: str
    conditions: Sequence[Condition]


def depth_of(header: str, default: str = "infinity") -> tuple[str, bool]:
    """What a Depth says, and whether it leaves the resource itself out: `1,noroot`, as Microsoft's clients have it ([MS-WDVME]).

    :raises BadRequest: it is none.
    """
    found, _, more = (header or default).replace(" ", "").lower().partition(",")
    if found not in ("0", "1", "infinity") or more not in ("", "noroot"):
        raise BadRequest("Depth is 0, 1 or infinity")
    return found, found != "0" and more == "noroot"


def parse_if(text: str) -> Sequence[ConditionList]:
    """The lists of an If header.

    :raises BadRequest: it is malformed.
    """
    if not text.strip():
        return ()
    found = list(_lists(text))
    if not found or len(text) > LONGEST:
        raise BadRequest("The If header is malformed")
    return found


def _lists(text: str) -> Iterator[ConditionList]:
    url, negated, position = "", False, 0
    conditions: list[Condition] | None = None
    while text[position:].strip():
        part = _PART.match(text, position)
        if (
            part is None
            or (conditions is None and not (part["open"] or part["url"] is not None))
            or (conditions is not None and part["open"])
        ):
            raise BadRequest("The If header is malformed")
        position = part.end()
        if conditions is None:
            url = part["url"] if part["url"] is not None else url
            conditions = [] if part["open"] else None
        elif part["close"]:
            if not conditions or negated:
                raise BadRequest("The If header is malformed")
            yield ConditionList(url, conditions)
            conditions = None
        elif part["negated"]:
            negated = True
        else:
            conditions.append(Condition(negated, part["url"] or "", part["tag"] or ""))
            negated = False
    if conditions is not None:
        raise BadRequest("The If header is malformed")


def submitted(lists: Sequence[ConditionList]) -> frozenset[str]:
    """The lock tokens that a request submits: all it names."""
    return frozenset(one.token for each in lists for one in each.conditions if one.token and one.token != NO_LOCK)


def check_if(lists: Sequence[ConditionList], state_of: Callable[[str], State]) -> None:
    """One of the lists has to hold as a whole.

    :param state_of: a list's `url` -> the state of that resource.
    :raises PreconditionFailed: none does.
    """
    if not lists:
        return
    for each in lists:
        state = state_of(each.url)
        if all(one.holds(state) for one in each.conditions):
            return
    raise PreconditionFailed("No list of the If header holds")


def check_http(environ: Environ, tag: str, modified: datetime | None) -> None:
    """If-Match, If-None-Match (of a request that writes) and If-Unmodified-Since.

    :param tag: the ETag in quotes, empty where nothing is.
    :raises PreconditionFailed: one does not hold.
    """
    match, none_match = environ.get("HTTP_IF_MATCH", ""), environ.get("HTTP_IF_NONE_MATCH", "")
    if match and not _is_one_of(match, tag):
        raise PreconditionFailed("It has changed meanwhile")
    if none_match and _is_one_of(none_match, tag):
        raise PreconditionFailed("It is there already")
    since = _date(environ.get("HTTP_IF_UNMODIFIED_SINCE", "")) if not match else None
    if since is not None and modified is not None and modified.replace(microsecond=0) > since:
        raise PreconditionFailed("It has changed since")


def _is_one_of(header: str, tag: str) -> bool:
    if header.strip() == "*":
        return bool(tag)
    return tag in [one.strip().removeprefix("W/") for one in header.split(",")]


def _date(text: str) -> datetime | None:
    """A date of RFC 9110, None when it is none: then the header is ignored."""
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else None
