"""The 171 recorded requests, in their order, on a server that imported the lived-in cozy."""

import json
from typing import Any

import pytest

from tests.moving_in.conftest import player
from tests.moving_in.kept import KEPT
from tests.moving_in.player import EXPECTED
from tests.support.serving import Served


@pytest.fixture(scope="module")
def outcomes(moved: Served) -> dict[int, list[str]]:
    """What differs, by the number of the request."""
    who = player(moved)
    return {recorded["n"]: who.play(recorded) for recorded in EXPECTED["requests"]}


@pytest.mark.parametrize(
    "recorded",
    [one for one in EXPECTED["requests"] if one["n"] not in KEPT],
    ids=lambda one: f"{one['n']}-{one['title']}",
)
def test_an_answer_is_the_recorded_one(outcomes: dict[int, list[str]], recorded: dict[str, Any]):
    assert outcomes[recorded["n"]] == []


def test_what_differs_on_purpose_still_does(outcomes: dict[int, list[str]]):
    assert {n for n in KEPT if not outcomes[n]} == set()


def test_a_refusal_repeats_no_token(moved: Served):
    who = player(moved)
    for recorded in EXPECTED["requests"]:
        if recorded["n"] in (123, 125):
            answer = who.send(recorded)
            assert who.token_of(recorded["as"]) not in answer.body.decode()
            assert json.loads(answer.body) == {"error": "Forbidden"}
