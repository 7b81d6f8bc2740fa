"""The order of versions, channels, and the ranges of npm."""

import random

import pytest

from cozyd.apps.versions import channel_of, is_in, is_newer, newest_for, order

RISING = ["0.9.9", "1.0.0-beta.2", "1.0.0-beta.10", "1.0.0", "1.2.0", "1.10.0-beta.1", "1.10.0", "10.0.0"]


def test_versions_rise_by_number():
    mixed = RISING[:]
    random.Random(1).shuffle(mixed)
    assert sorted(mixed, key=order) == RISING
    assert is_newer("1.10.0", "1.9.0")
    assert not is_newer("1.0.0-beta.1", "1.0.0")


@pytest.mark.parametrize(
    ("version", "channel"),
    [
        ("1.2.3", "stable"),
        ("v1.2.3", "stable"),
        ("1.2.3-beta.4", "beta"),
        ("1.2.3-dev." + "a" * 40, "dev"),
        ("1.2", None),
        ("01.2.3", None),
        ("1.2.3-rc.1", None),
        ("100000.0.0", None),
    ],
)
def test_a_version_says_its_channel(version: str, channel: str | None):
    assert channel_of(version) == channel


def test_a_channel_has_what_the_narrower_ones_have():
    assert [is_in("1.0.0", "beta"), is_in("1.0.0-beta.1", "stable"), is_in("1.0.0-beta.1", "dev"), is_in("x", "dev")] == [
        True,
        False,
        True,
        False,
    ]


NPM = ["0.1.0", "0.1.5", "0.2.0", "1.0.0", "1.2.3", "1.2.9", "1.3.0", "2.0.0-beta.1", "2.0.0-beta.11", "2.0.0-beta.2"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("1.2.3", "1.2.3"),
        ("^1.2.3", "1.3.0"),
        ("~1.2.3", "1.2.9"),
        ("1.2.x", "1.2.9"),
        ("1.2", "1.2.9"),
        ("1", "1.3.0"),
        ("^0.1.0", "0.1.5"),
        ("~0", "0.2.0"),
        (">=1.0.0", "1.3.0"),
        ("*", "1.3.0"),
        ("^2.0.0-beta.1", "2.0.0-beta.11"),
        ("2.0.0-beta.2", "2.0.0-beta.2"),
        ("2.0.0", None),
        ("3", None),
        ("nonsense", None),
        ("1.2.3 || 2", None),
    ],
)
def test_a_range_of_npm_finds_the_greatest(wanted: str, found: str | None):
    assert newest_for(NPM, wanted) == found
