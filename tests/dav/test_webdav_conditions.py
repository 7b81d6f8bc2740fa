"""The If header (RFC 4918, section 10.4), without a server."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozyd.errors import BadRequest, PreconditionFailed
from dav.conditions import State, check_http, check_if, parse_if, submitted

HERE = State('"1-a"', frozenset(("urn:a", "urn:b")))
GONE = State("", frozenset())


def holds(text: str, state: State = HERE, **others: State) -> bool:
    try:
        check_if(parse_if(text), lambda url: others.get(url, GONE) if url else state)
    except PreconditionFailed:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(<urn:a>)", True),
        ("(<urn:x>)", False),
        ("(Not <urn:x>)", True),
        ("(not <urn:a>)", False),
        ('(["1-a"])', True),
        ('([W/"1-a"])', True),
        ('(["2-b"])', False),
        ('(<urn:a> ["1-a"])', True),
        ('(<urn:a> ["2-b"])', False),
        ('(<urn:x>) (["1-a"])', True),
        ("(<urn:x>)(<urn:y>)", False),
        ("(<urn:x>) (Not <DAV:no-lock>)", True),
        ("(<DAV:no-lock>)", False),
        ('  ( <urn:a>\t[ "1-a" ] )  ', True),
    ],
)
def test_one_list_has_to_hold_as_a_whole(text: str, expected: bool):
    assert holds(text) is expected


def test_a_tag_names_another_resource_until_the_next_one():
    there = State('"9-z"', frozenset(("urn:z",)))
    assert holds("<there> (<urn:z>)", there=there)
    assert not holds("<there> (<urn:a>)", there=there)
    assert holds('<there> (<urn:x>) (["9-z"])', there=there)
    assert holds("<elsewhere> (<urn:a>) <there> (<urn:z>)", there=there)
    assert not holds('<elsewhere> (["1-a"])')


@pytest.mark.parametrize(
    "text",
    ["x", "()", "(", ")", "(<urn:a>", "<urn:a>", "(<urn:a>))", "((<urn:a>))", "(Not)", "([1-a])", "<a> <b>", f"(<{'a' * 9000}>)"],
)
def test_a_malformed_header_is_a_bad_request(text: str):
    with pytest.raises(BadRequest):
        parse_if(text)


@given(st.text(alphabet='()<>[]"Not WabDAV:no-lock\t', max_size=40))
def test_any_header_is_understood_or_refused(text: str):
    try:
        lists = parse_if(text)
    except BadRequest:
        return
    assert all(one.conditions for one in lists)
    assert bool(lists) is bool(text.strip())


def test_every_token_that_is_named_is_submitted():
    assert submitted(parse_if('<x> (<urn:a> ["t"]) (Not <urn:b>) (Not <DAV:no-lock>)')) == {"urn:a", "urn:b"}


NOW = datetime(2026, 1, 1, 12, 0, 0, 500, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "tag", "fails"),
    [
        ({"HTTP_IF_MATCH": '"a"'}, '"a"', False),
        ({"HTTP_IF_MATCH": '"b", W/"a"'}, '"a"', False),
        ({"HTTP_IF_MATCH": '"b"'}, '"a"', True),
        ({"HTTP_IF_MATCH": "*"}, '"a"', False),
        ({"HTTP_IF_MATCH": "*"}, "", True),
        ({"HTTP_IF_MATCH": '"a"'}, "", True),
        ({"HTTP_IF_NONE_MATCH": "*"}, "", False),
        ({"HTTP_IF_NONE_MATCH": "*"}, '"a"', True),
        ({"HTTP_IF_NONE_MATCH": '"a"'}, '"a"', True),
        ({"HTTP_IF_NONE_MATCH": '"b"'}, '"a"', False),
        ({"HTTP_IF_UNMODIFIED_SINCE": "Thu, 01 Jan 2026 12:00:00 GMT"}, '"a"', False),
        ({"HTTP_IF_UNMODIFIED_SINCE": "Thu, 01 Jan 2026 11:59:59 GMT"}, '"a"', True),
        ({"HTTP_IF_UNMODIFIED_SINCE": "yesterday"}, '"a"', False),
        ({"HTTP_IF_UNMODIFIED_SINCE": "Thu, 01 Jan 2026 11:59:59 GMT", "HTTP_IF_MATCH": '"a"'}, '"a"', False),
    ],
)
def test_conditions_of_http(headers: dict[str, str], tag: str, fails: bool):
    if not fails:
        check_http(headers, tag, NOW)
        return
    with pytest.raises(PreconditionFailed):
        check_http(headers, tag, NOW)
