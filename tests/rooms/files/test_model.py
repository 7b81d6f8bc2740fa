"""Random histories of files through both doors, compared with a model; alone by Hypothesis, and four at a time."""

import random
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cozyd.files.fsck import Finding
from cozyd.instance import Instance
from tests.support.doors import Doors
from tests.support.files import faults
from tests.support.stack import Clock, open_stack
from tests.support.tree_model import STEPS, Actor

QUOTA = 30_000_000
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Histories are about what is written, not about how long a disk takes to have it."""


def well(instance: Instance) -> None:
    """Nothing is wrong with the tenant: by the tests' own look, and by fsck."""
    assert faults(instance) == []
    found = instance.checkup.run(orphan_age=timedelta(seconds=-3600 * 24 * 3650))
    assert [one for one in found if isinstance(one, Finding)] == []


class Tree(RuleBasedStateMachine):
    """One actor, whose every step Hypothesis chooses; time passes between some."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.clock = Clock()
        self.stack = open_stack(Path(self.folder.name) / "data", self.clock)
        self.instance = self.stack.create("alice.localhost", quota=1_000_000)
        self.actor = Actor(Doors(self.stack, self.instance), self.instance, "top", random.Random(0), self.clock)

    @rule(step=st.sampled_from(STEPS), seed=st.integers(0, 2**32))
    def step(self, step: Callable[[Actor], None], seed: int) -> None:
        self.actor.chance.seed(seed)
        step(self.actor)

    @rule(minutes=st.integers(1, 40))
    def time_passes(self, minutes: int) -> None:
        self.clock.passes(minutes=minutes)

    @rule()
    def more_than_the_quota(self) -> None:
        self.actor.too_much()

    @invariant()
    def the_server_has_the_model_s_tree(self) -> None:
        self.actor.check()

    def teardown(self) -> None:
        well(self.instance)
        self.stack.close()
        self.folder.cleanup()


def test_any_history_is_the_model_s():
    few = settings(max_examples=20, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    run_state_machine_as_test(Tree, settings=few)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def four_at_a_time(folder: Path, seed: int, steps: int) -> int:
    """Four actors, each in a folder of its own, on one tenant with one trash and one quota; how many steps were done."""
    clock = Clock()
    stack = open_stack(folder / "data", clock)
    instance = stack.create("alice.localhost", quota=QUOTA)
    doors = Doors(stack, instance)
    actors = [Actor(doors, instance, f"top{number}", random.Random(f"{seed}-{number}"), clock) for number in range(4)]

    def act(actor: Actor) -> None:
        for _ in range(steps // 4):
            actor.step()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, actors))
    for actor in actors:
        actor.check()
    well(instance)
    done = sum(actor.steps for actor in actors)
    stack.close()
    return done


def test_four_at_a_time(folder: Path):
    assert four_at_a_time(folder, 0, 2000) == 2000


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_ten_thousand_steps_four_at_a_time(folder: Path, seed: int):
    assert four_at_a_time(folder, seed, 10_000) == 10_000
