"""Functions for a child process that misbehave."""

import os
import signal
from typing import Any


def forever(files: list[Any]) -> None:
    """Never end."""
    while True:
        pass


def crash(files: list[Any]) -> None:
    """End as a parser with a wild pointer does."""
    os.kill(os.getpid(), signal.SIGSEGV)
