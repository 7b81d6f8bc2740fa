"""PouchDB in a node process: the replicas that tests let meet a served instance."""

import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.serving import Served

HERE = Path(__file__).parent.parent / "clients" / "pouchdb"


class PouchError(Exception):
    """A command that PouchDB refused.

    :param error: {status, name, reason, message}.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(json.dumps(error))
        self.status = error.get("status")
        self.name = error.get("name")


class Replicas:
    """A node process that holds databases by name, in memory or over HTTP."""

    def __init__(self) -> None:
        if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
            pytest.skip("PouchDB is not installed: `make test` does it where node and npm are")
        self._node = subprocess.Popen(["node", "replicas.js"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str, *, within: float = 100, **given: Any) -> Any:
        """Run a command; its answer.

        :param within: seconds until the process is ended.
        :raises PouchError: it was refused.
        """
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self._node.stdin.flush()
        guard = threading.Timer(within, self._node.kill)
        guard.start()
        line = self._node.stdout.readline()
        guard.cancel()
        assert line, f"PouchDB did not answer {command} within {within} s"
        answer = json.loads(line)
        if "error" in answer:
            raise PouchError(answer["error"])
        return answer["value"]

    def open(self, name: str) -> "Replica":
        """A database in memory."""
        self.ask("open", name=name)
        return Replica(self, name)

    def connect(self, name: str, served: Served, doctype: str, token: str) -> "Replica":
        """A doctype of the first instance, through PouchDB's HTTP adapter."""
        self.ask("open", name=name, url=f"{served.base}/data/{doctype}", token=token)
        return Replica(self, name)

    def replicate(self, source: "Replica", target: "Replica", **options: Any) -> Any:
        """One replication to its end: {ok, read, written, failures}."""
        given: dict[str, Any] = {"from": source.name, "to": target.name, "options": options}
        return self.ask("replicate", **given)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._node.kill()
        self._node.communicate()


class Replica:
    """One database of a `Replicas`."""

    def __init__(self, replicas: Replicas, name: str) -> None:
        self._replicas = replicas
        self.name = name

    def __getattr__(self, method: str) -> Any:
        """Any method of PouchDB, called with JSON values."""
        return lambda *args: self._replicas.ask("call", name=self.name, method=method, args=args)

    def state(self) -> dict[str, Any]:
        """What it holds: id -> winner, whether that is deleted, and all leaves."""
        found: dict[str, Any] = self._replicas.ask("state", name=self.name)
        return found
