"""A Redis of one test's own, on a free port; it can be killed and started again."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

import pytest

from tests.support.serving import eventually, free_port


class RedisServer:
    """Debian's `redis-server`.

    :param folder: for its log.
    :param keeps: whether what it knows is on disk, and there again after a restart.
    """

    def __init__(self, folder: Path, *, keeps: bool = False) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("redis-server is not installed: run scripts/install-debian.sh")
        self.folder = folder
        self.keeps = keeps
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; it answers when this returns."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        if self.keeps:
            command += ["--appendonly", "yes"]
        self._process = subprocess.Popen([*command, "--logfile", str(self.folder / "redis.log")])
        eventually(self._answers)
        return self

    def kill(self) -> None:
        """`kill -9`: all it knew is lost, unless it keeps."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop_for_a_while(self) -> None:
        """SIGSTOP: it takes connections, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
