"""`$regex`: a negative look-ahead at the start means what it means to PCRE; others are refused."""

import re
from itertools import product

import pytest

from cozyd.documents.regex import compiled

AHEAD = ["^(?!/.cozy_trash)", "^(?!a)b", "^(?!(a|b)c)[a-c]+", r"^(?!\))x?", "^(?![)])", "^(?!a)(b|c)", "^(?!)", "^(?!a(b))"]


@pytest.mark.parametrize("pattern", AHEAD)
def test_a_look_ahead_at_the_start_is_pcre_s(pattern: str):
    matches = compiled(pattern)
    texts = ["".join(letters) for length in range(5) for letters in product("abc)x", repeat=length)]
    for text in [*texts, "/.cozy_trash", "/.cozy_trash/a", "/a/.cozy_trash", "/"]:
        assert matches(text) is (re.search(pattern, text) is not None), text


@pytest.mark.parametrize("pattern", ["a(?=b)", "(?!a)b", "^(?!a", "^(?!(?=a))b", r"(a)\1", "^(?!a)(?!b)c", "^(?!a)|b", "("])
def test_other_look_arounds_are_refused(pattern: str):
    with pytest.raises(ValueError):
        compiled(pattern)
