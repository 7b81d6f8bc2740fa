"""Tenants that rest cost nothing between the daily rounds."""

import time
from pathlib import Path

import pytest

from cozyd.jobs.triggers import NewTrigger
from tests.support.serving import eventually
from tests.support.workshop import Workshop


def used_in(seconds: float) -> float:
    """Processor time of this process, in percent of a core."""
    before = time.process_time()
    time.sleep(seconds)  # the figure is of a time without anything
    return (time.process_time() - before) / seconds * 100


@pytest.mark.parametrize(("tenants", "seconds"), [(20, 2), pytest.param(1000, 20, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_idle_tenants_cost_no_processor_time(tmp_path: Path, tenants: int, seconds: int):
    with Workshop(tmp_path / "data") as shop:
        for number in range(tenants):
            instance = shop.stack.create(f"tenant{number}.example")
            instance.jobs.triggers.create(NewTrigger("@monthly", worker="note"))
        shop.start()
        assert shop.stack.patrol.settled.wait(300)
        eventually(lambda: used_in(seconds) < 0.3, within=max(60, tenants))  # search reads new tenants first
