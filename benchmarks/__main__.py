"""`make bench`: prints tables of figures, each beside a floor of the same run."""

import sys
import tempfile
import time
from pathlib import Path

from benchmarks import auth, blobs, dav, documents, files, pim, queries, realtime, tree
from benchmarks.load import need, table, verdict
from tests.support.serving import Served

IDLE_MB, IDLE_CPU, IDLE_SECONDS = 90, 0.5, 20


def idle_cpu(server: Served) -> float:
    """Processor time of a server nobody asks, in percent of one core."""
    before = server.cpu()
    time.sleep(IDLE_SECONDS)
    return (server.cpu() - before) / IDLE_SECONDS * 100


def main() -> None:
    """Run what is named, or all but `scale`, which takes some minutes."""
    need("wrk")
    wanted = set(sys.argv[1:]) or {"memory", "documents", "queries", "realtime", "dav", "files", "tree", "pim", "blobs", "auth"}
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
            if "auth" in wanted:
                auth.measure(Path(folder))
            if "documents" in wanted:
                documents.measure(server, Path(folder))
            if "queries" in wanted:
                queries.measure(server)
            if "realtime" in wanted:
                realtime.measure(server)
            if "dav" in wanted:
                dav.measure(server)
            if "files" in wanted:
                files.measure(server, Path(folder))
            if "pim" in wanted:
                pim.measure(server, Path(folder))
                pim.sizes(server)
            if "blobs" in wanted:
                blobs.measure(server, Path(folder))
            if "tree" in wanted or "tree-scale" in wanted:
                tree.measure(server, scale="tree-scale" in wanted)
            if "scale" in wanted:
                queries.scale(server)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
