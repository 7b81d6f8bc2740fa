"""A desktop session without a desktop: a message bus and a home of its own, for programs of GNOME."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.serving import run


def in_session(home: Path, command: Sequence[str], *, input: str | None = None, within: float = 90) -> subprocess.CompletedProcess[str]:
    """Run a program beside a message bus that ends with it.

    :param home: an empty folder; nothing outside of it is read or written.
    """
    run_time = home / "run"
    run_time.mkdir(mode=0o700)
    own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(run_time), "LC_ALL": "C.UTF-8"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "DBUS_"))}
    return run(["dbus-run-session", "--", *command], env=kept | own, input=input, timeout=within)
