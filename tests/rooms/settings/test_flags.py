"""Feature flags: which source wins, and that a ratio is one."""

from typing import Any

import pytest

from cozyd.settings import flags


def test_the_first_source_that_has_a_flag_wins():
    ratios = {"c": [{"ratio": 1, "value": "ratio"}], "b": [{"ratio": 1, "value": "ratio"}]}
    defaults = dict.fromkeys("abcd", "default")
    context = {"feature_sets": {"one": {"a": 1, "e": "set"}, "two": {"e": 2}}, "features": {"a": 1, "b": "config", "e": 1}}
    found = flags.decide("id", {"a": "own"}, ["one", "two", "three"], context, ratios, defaults)
    assert found.values == {"a": "own", "b": "config", "c": "ratio", "d": "default", "e": "set"}
    assert [name.rpartition(".")[2] for name, _ in found.sources] == ["instance", "manager", "config", "context", "default"]
    assert dict(found.sources)[flags.CONTEXT] == ratios


def test_a_source_that_says_nothing_is_not_named():
    assert flags.decide("id", {}, [], {}, {}, {"x": False}).sources == [(flags.DEFAULT, {"x": False})]
    assert flags.decide("id", {}, ["x"], {"other": 1, "feature_sets": 7}, {}, {}).values == {}


@pytest.mark.parametrize(
    ("features", "values"),
    [
        ({"a": 1}, {"a": 1}),
        (["a", {"b": [1]}, {"c": 1, "d": 2}], {"a": True, "b": [1], "{'c': 1, 'd': 2}": True}),
        ("a", {}),
        (None, {}),
    ],
)
def test_features_of_a_context_are_a_table_or_a_list(features: Any, values: Any):
    assert flags.of_context({"features": features}) == values


def test_a_ratio_reaches_that_share_of_the_instances_and_always_the_same():
    shares = [{"ratio": 0.3, "value": "x"}, {"ratio": 0.5, "value": "y"}]
    drawn = [flags.draw(f"instance-{number}", "flag", shares) for number in range(10_000)]
    assert drawn == [flags.draw(f"instance-{number}", "flag", shares) for number in range(10_000)]
    for value, share in (("x", 0.3), ("y", 0.5), (None, 0.2)):
        assert abs(drawn.count(value) / 10_000 - share) < 0.02


@pytest.mark.parametrize("shares", [None, [], {}, [1], [{}], [{"ratio": "1"}], [{"ratio": True, "value": 1}], [{"ratio": 0, "value": 1}]])
def test_a_ratio_that_is_none_gives_nothing(shares: Any):
    assert flags.draw("id", "flag", shares) is None


def test_a_whole_ratio_gives_every_instance_the_value():
    assert {flags.draw(str(number), "f", [{"ratio": 1.0, "value": "all"}]) for number in range(1000)} == {"all"}
