"""A served process: what tests of real clients, faults and benchmarks talk to."""

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

CLI = [sys.executable, "-m", "cozyd"]
PASSPHRASE = "correct horse battery"


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, and that the kernel gives to no client meanwhile."""
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def eventually(holds: Callable[[], bool], *, within: float = 30) -> None:
    """Wait until a condition holds.

    :raises AssertionError: it did not in time.
    """
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        time.sleep(0.01)


class Served:
    """`cozyd serve` on a free port over a data folder, with the command line beside it.

    :param folder: the data folder; what is in it is served again.
    """

    program: Sequence[str] = CLI
    """What is started with `serve`."""
    command = "serve"
    options: Sequence[str] = ()

    def __init__(self, folder: Path, *, port: int | None = None, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.environ = os.environ | {"COZYD_STORAGE_PATH": str(folder), "COZYD_SERVER_PORT": str(self.port)} | dict(environ or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def base(self) -> str:
        """The address by the alias that every client resolves."""
        return f"http://localhost:{self.port}"

    @property
    def domain(self) -> str:
        """The first instance's domain."""
        return f"alice.localhost:{self.port}"

    def cli(self, *arguments: str) -> str:
        """Run a command; its standard output."""
        done = subprocess.run([*self.program, *arguments], env=self.environ, capture_output=True, text=True, check=False, timeout=900)
        if done.returncode:
            raise RuntimeError(f"cozyd {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def add_instances(self) -> Self:
        """alice on localhost, bob on 127.0.0.1."""
        self.add_alice()
        self.cli("instances", "add", f"bob.localhost:{self.port}", "--alias", f"127.0.0.1:{self.port}", "--passphrase", PASSPHRASE)
        return self

    def add_alice(self, *options: str) -> Self:
        """alice alone, as the wire recordings want her."""
        names = ["--email", "wire@example.org", "--public-name", "wire"]
        self.cli("instances", "add", self.domain, "--alias", f"localhost:{self.port}", "--passphrase", PASSPHRASE, *names, *options)
        return self

    def token(self, *scope: str, domain: str | None = None) -> str:
        """A CLI token, good for longer than any soak."""
        return self.cli("token", domain or self.domain, *scope, "--expire", "6h").strip().splitlines()[-1]

    def password(self, *reach: str, domain: str | None = None, name: str = "test") -> str:
        """A device password; reach as options: `--contacts`, `--files`..."""
        reach = reach or ("--contacts", "--calendars", "--files")
        return self.cli("passwords", "add", domain or self.domain, name, *reach).strip().splitlines()[-1].strip()

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server and wait for nothing: the process, which may end before it answers."""
        self._log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        self.process = subprocess.Popen(
            [*self.program, self.command, *self.options], env=self.environ, stdout=self._log, stderr=self._log, start_new_session=True
        )
        return self.process

    def start(self, *, within: float = 60) -> float:
        """Start the server; seconds until `/status` answered."""
        began = time.monotonic()
        process = self.launch()
        while not self._answers():
            if process.poll() is not None or time.monotonic() - began > within:
                self.kill()  # else it goes on for ever behind the test that has given up
                raise RuntimeError(f"the server did not start: {self.log()[-3000:]}")
            time.sleep(0.01)
        return time.monotonic() - began

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/status")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._close_log()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(20)
        self._close_log()
        return status

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def log(self) -> str:
        """What the server said so far."""
        return (self.folder.parent / f"{self.folder.name}.log").read_text(errors="replace")

    def memory(self) -> int:
        """Resident memory in bytes."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def largest_child(self) -> int:
        """The most memory that a child of it which is still there has had, in bytes."""
        assert self.process is not None
        found = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError, IndexError):  # threads and children end meanwhile
                for pid in (task / "children").read_text().split():
                    status = Path(f"/proc/{pid}/status").read_text()
                    found = max(found, int(status.split("VmHWM:")[1].split()[0]) * 1024)
        return found

    def cpu(self) -> float:
        """Processor time that it has used, in seconds."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def run(command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program, output captured as text."""
    return subprocess.run(list(command), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]
