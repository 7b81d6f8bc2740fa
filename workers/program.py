"""`run_program`: a program of an installed app in a process of its own, and what it says (docs/workers.md, section 5)."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cozyd.errors import JobFailed

LONGEST_LINE = 64 << 10
KEPT_STDERR = 256 << 10
LONGEST_MESSAGE = 4_000
PIECE = 1 << 16
PATIENCE = 1.0
"""Seconds between SIGTERM and SIGKILL."""
_TYPES = {"warn": "warning"} | {name: name for name in ("debug", "info", "warning", "error", "critical")}
# In the child, before the program takes its place: it dies with the thread that began it, and writes neither core files nor
# files without end. `preexec_fn` would run our own code between fork and exec of a process with threads.
_CONFINED = (
    "import ctypes,os,resource,sys;"
    "ctypes.CDLL(None).prctl(1,9);"
    "resource.setrlimit(resource.RLIMIT_CORE,(0,0));"
    "resource.setrlimit(resource.RLIMIT_FSIZE,(1<<31,1<<31));"
    "os.nice(5);"
    "os.execvp(sys.argv[1],sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log protocol.

    :param type: `debug`, `info`, `warning`, `error` or `critical`.
    """

    type: str
    message: str
    no_retry: bool = False


@dataclass(slots=True)
class Outcome:
    """How a program ended.

    :param status: of its exit; negative: the signal that ended it.
    :param stderr: its last bytes.
    """

    status: int
    stderr: bytes = b""
    timed_out: bool = False


def line_of(raw: bytes) -> Line | None:
    """A line of standard output, when it is one of the log protocol."""
    with suppress(ValueError, RecursionError):
        found = json.loads(raw)
        kind = found.get("type") if isinstance(found, dict) else None
        if isinstance(kind, str) and kind in _TYPES:
            message = found.get("message")
            text = message if isinstance(message, str) else "" if message is None else json.dumps(message)
            storable = text[:LONGEST_MESSAGE].encode("utf-8", "replace").decode()  # JSON's `\ud800` is half a letter
            return Line(_TYPES[kind], storable, found.get("no_retry") is True)
    return None


def run_program(command: Sequence[str], folder: Path, environ: Mapping[str, str], timeout: float, tell: Callable[[Line], None]) -> Outcome:
    """Run a program to its end, or to its time.

    :param folder: where it runs, and its home.
    :param environ: all it gets, beside PATH and HOME.
    :param tell: is told each line of the log protocol.
    :raises JobFailed: it cannot be begun.
    """
    given = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}
    try:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-S", "-c", _CONFINED, *command],
            cwd=folder,
            env=given | dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as cause:
        raise JobFailed(f"The program cannot be begun: {cause.strerror}") from cause
    try:
        return _followed(process, time.monotonic() + timeout, tell)
    finally:
        _end(process)


def _followed(process: "subprocess.Popen[bytes]", until: float, tell: Callable[[Line], None]) -> Outcome:
    """Read what a program says until it ends, or its time is over."""
    assert process.stdout is not None
    assert process.stderr is not None
    rest, errors, timed_out = b"", b"", False
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and not timed_out:
            ready = selector.select(max(0.0, until - time.monotonic()))
            timed_out = not ready or time.monotonic() > until  # one that never pauses has always something ready
            for key, _ in ready:
                data = _read(key.fileobj)
                if not data:
                    selector.unregister(key.fileobj)
                    rest = _lines(rest + b"\n", tell) if key.fileobj is process.stdout else rest  # the last line may have no end
                elif key.fileobj is process.stdout:
                    rest = _lines(rest + data, tell)
                else:
                    errors = (errors + data)[-KEPT_STDERR:]
    if timed_out:
        return Outcome(-signal.SIGKILL, errors, timed_out=True)
    try:
        return Outcome(process.wait(max(0.1, until - time.monotonic())), errors)
    except subprocess.TimeoutExpired:
        return Outcome(-signal.SIGKILL, errors, timed_out=True)


def _read(stream: Any) -> bytes:
    file: IO[bytes] = stream
    return os.read(file.fileno(), PIECE)


def _lines(data: bytes, tell: Callable[[Line], None]) -> bytes:
    """Tell the whole lines; what is left. A line that is too long is none."""
    *whole, rest = data.split(b"\n")
    for raw in whole:
        line = line_of(raw) if len(raw) <= LONGEST_LINE else None
        if line is not None:
            tell(line)
    return rest if len(rest) <= LONGEST_LINE else rest[: LONGEST_LINE + 1]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it with all that it began."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
