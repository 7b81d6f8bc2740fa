"""`$regex` on RE2, in time linear to the text; a negative look-ahead at the very start is understood beside it (decisions/0002).

`^(?!a)b` matches what begins with b and does not begin with a, so it is two patterns: Drive asks for `^(?!/.cozy_trash)`.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

START, END = "^(?!", ")"


@lru_cache(maxsize=256)
def compiled(text: str) -> Callable[[str], bool]:
    """Whether a text matches, as a function of it.

    :raises ValueError: the pattern is none, or needs more than a regular language.
    """
    end = _closing(text) if text.startswith(START) else None
    if end is None or _has_alternatives(text[end + 1 :]):
        return _search(text)
    without, rest = _search(f"^(?:{text[len(START) : end]})"), _search(f"^(?:{text[end + 1 :]})")
    return lambda value: rest(value) and not without(value)


def _closing(text: str) -> int | None:
    """Where the group of the look-ahead ends; None: nowhere."""
    return next((index for index, letter, depth in _signs(text) if letter == ")" and depth == 0), None)


def _has_alternatives(rest: str) -> bool:
    """Whether there are several ways through what follows, of which the look-ahead is only part of the first."""
    return any(letter == "|" and depth == 0 for _, letter, depth in _signs(rest))


def _signs(text: str) -> Iterator[tuple[int, str, int]]:
    """Index, letter and depth of what groups: a closing one's depth is that outside of it."""
    depth, escaped, in_class = 0, False, False
    for index, letter in enumerate(text):
        if escaped or letter == "\\":
            escaped = not escaped
        elif in_class or letter == "[":
            in_class = letter != "]"
        elif letter in "()|":
            depth += {"(": 1, ")": -1}.get(letter, 0)
            yield index, letter, depth


def _search(text: str) -> Callable[[str], bool]:
    import re2

    options: Any = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        pattern = re2.compile(text, options)
    except re2.error as cause:
        raise ValueError(text) from cause
    return lambda value: pattern.search(value) is not None
