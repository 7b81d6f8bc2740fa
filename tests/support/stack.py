"""A stack in this process, with a clock that stands until it is told to go on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from cozyd.config import Config, Storage
from cozyd.jobs.worker import Table
from cozyd.stack import Stack


class Clock:
    """Time that passes by command."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def passes(self, **much: float) -> None:
        """Let time pass: `hours=1`, as of `timedelta`."""
        self.time += timedelta(**much)


def open_stack(folder: Path, clock: Clock, table: Table = MappingProxyType({})) -> Stack:
    """A stack over a data folder."""
    return Stack(Config(storage=Storage(path=folder)), table, now=clock)
