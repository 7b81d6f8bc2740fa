"""`make bench`: prints tables of figures, each beside a floor of the same run."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import apps, auth, blobs, devices, documents, files, jobs, photos, pim, queries, realtime, search, storm, tree
from benchmarks.load import floor, line, need, table, verdict, wrk
from tests.support.serving import Served

IDLE_MB, IDLE_CPU, IDLE_SECONDS = 90, 0.5, 20
ANSWER = 900
USUAL_PACE = 5_000
"""Answers a second that bare Flask makes, for one client, on the machines the bars in seconds were set for."""


PARTS: dict[str, Callable[[Served, Path], None]] = {
    "apps": apps.measure,
    "auth": lambda _, folder: auth.measure(folder),
    "documents": documents.measure,
    "queries": lambda server, _: queries.measure(server),
    "realtime": lambda server, _: realtime.measure(server),
    "files": files.measure,
    "jobs": lambda _, folder: jobs.measure(folder),
    "photos": lambda server, _: photos.measure(server),
    "pim": pim.measure,
    "sizes": lambda server, _: pim.sizes(server),
    "devices": lambda server, _: devices.measure(server),
    "blobs": blobs.measure,
    "search": search.measure,
    "storm": lambda _, folder: storm.measure(folder),
    "tree": lambda server, _: tree.measure(server, scale=False),
    "tree-scale": lambda server, _: tree.measure(server, scale=True),
    "scale": lambda server, _: queries.scale(server),
}
SLOW = {"tree-scale", "scale"}
"""Run only when they are named: they take some minutes each."""


def pace() -> None:
    """Print how fast this machine is now: bars in seconds and per second are to be read beside it."""
    with floor(ANSWER) as bare:
        rate = wrk(f"{bare}/data/x/one", "", 1)
    table(
        "this machine", [line("bare Flask on waitress, one client", f"{rate:.0f}/s, {rate / USUAL_PACE:.2f} of the usual {USUAL_PACE:,}/s")]
    )


def idle_cpu(server: Served) -> float:
    """Processor time of a server nobody asks, in percent of one core."""
    before = server.cpu()
    time.sleep(IDLE_SECONDS)
    return (server.cpu() - before) / IDLE_SECONDS * 100


def main() -> None:
    """Run what is named, or all but the slow ones."""
    need("wrk")
    wanted = set(sys.argv[1:]) or {"memory", *PARTS} - SLOW
    pace()
    with tempfile.TemporaryDirectory() as folder:
        server = Served(Path(folder) / "data").add_alice()
        first = server.start()
        server.stop()
        later = server.start()
        try:
            if "memory" in wanted:
                time.sleep(5)  # the figure is of a process that has come to rest
                idle = server.memory() / 1e6
                used = idle_cpu(server)
                rows = [
                    ("idle memory, 5 s after the start", f"{idle:.0f} MB", f"<= {IDLE_MB} MB", verdict(idle <= IDLE_MB)),
                    ("CPU of an idle instance", f"{used:.2f} %", f"<= {IDLE_CPU} %", verdict(used <= IDLE_CPU)),
                    ("start to the first /status answer", f"{min(first, later):.2f} s", "< 2 s", verdict(later < 2)),
                ]
                table("process", rows)
            for name, measure in PARTS.items():
                if name in wanted:
                    measure(server, Path(folder))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
