"""`$regex`: a negative look-ahead at the start means what it means to PCRE; others are refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozyd.documents.regex import compiled

AHEAD = ["^(?!/.cozy_trash)", "^(?!a)b", "^(?!(a|b)c)[a-c]+", r"^(?!\))x?", "^(?![)])", "^(?!a)(b|c)", "^(?!)", "^(?!a(b))"]


@pytest.mark.parametrize("pattern", AHEAD)
@given(text=st.text(alphabet="abc)/.x", max_size=6))
def test_a_look_ahead_at_the_start_is_pcre_s(pattern: str, text: str):
    assert compiled(pattern)(text) is (re.search(pattern, text) is not None)


@pytest.mark.parametrize("pattern", ["a(?=b)", "(?!a)b", "^(?!a", "^(?!(?=a))b", r"(a)\1", "^(?!a)(?!b)c", "^(?!a)|b", "("])
def test_other_look_arounds_are_refused(pattern: str):
    with pytest.raises(ValueError):
        compiled(pattern)
