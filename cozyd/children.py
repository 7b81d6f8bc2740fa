"""`Children`: what parses foreign bytes runs in another process, with limits on memory and time (docs/workers.md, section 2).

The parent sends a function's name, its arguments and open files; the child answers with a value or says why it cannot. A child
takes call after call, as starting one costs more than most thumbnails; it ends with its parent, after some calls, or when idle.
"""

import contextlib
import importlib
import io
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from cozyd import jsons
from cozyd.errors import CozyError, Invalid

MEMORY = 768 << 20
"""Bytes of address space that a child may have; its libraries alone map 150 MiB."""
CALLS = 200
"""After so many calls a child is replaced, whatever its libraries may have kept."""
IDLE = 30.0
"""Seconds after which a child that has nothing to do ends."""
LARGEST_ANSWER = 64 << 20
LARGEST_FILE = 64 << 20
_LENGTH = struct.Struct(">I")
_MOST_FILES = 16


class Child:
    """One process. Not for several threads at once.

    :param memory: bytes of address space.
    """

    def __init__(self, memory: int) -> None:
        self.calls = 0
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "cozyd.children", str(theirs.fileno()), str(memory)]
        environ = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                pass_fds=[theirs.fileno()],
                env=environ,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def call(self, function: str, arguments: Mapping[str, Any], files: Sequence[int], timeout: float) -> Any:
        """What a function gives.

        :param files: descriptors; the function gets them as open files.
        :param timeout: seconds.
        :raises Invalid: it refuses what it was given, or takes too long, or too much memory, or crashes; then the child is gone.
        """
        self.calls += 1
        self._socket.settimeout(max(0.1, timeout))
        try:
            body = jsons.dump([function, arguments])
            socket.send_fds(self._socket, [_LENGTH.pack(len(body)) + body], files)
            outcome, value = jsons.load(_received(self._socket))
        except TimeoutError as cause:
            self.kill()
            raise Invalid(f"The content took longer than {timeout:.0f} seconds") from cause
        except OSError as cause:
            self.kill()
            raise Invalid("The content made its parser crash") from cause
        if outcome == "refused":
            raise Invalid(value)
        return value

    def kill(self) -> None:
        """End it at once."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


class Children:
    """Children for whoever calls; one that is idle is kept for the next call.

    :param memory: bytes of address space that each may have.
    :param idle: seconds.
    """

    def __init__(self, memory: int = MEMORY, *, idle: float = IDLE) -> None:
        self._memory, self._seconds = memory, idle
        self._lock = threading.Lock()
        self._idle: Child | None = None
        self._timer: threading.Timer | None = None

    def call(self, function: str, arguments: Mapping[str, Any], files: Sequence[int] = (), *, timeout: float) -> Any:
        """Call a function in a child: see `Child.call`.

        :param function: `module:name`; its first argument is the list of open files, the others are named.
        """
        child = self._taken() or Child(self._memory)
        try:
            value = child.call(function, arguments, files, timeout)
        except CozyError:
            child.kill()  # a parser that met what it cannot take is not trusted with the next content
            raise
        except BaseException:
            child.kill()
            raise
        self._keep(child)
        return value

    def _taken(self) -> Child | None:
        with self._lock:
            child, self._idle = self._idle, None
            if self._timer is not None:
                self._timer.cancel()
            return child

    def _keep(self, child: Child) -> None:
        with self._lock:
            if self._idle is None and child.calls < CALLS:
                self._idle = child
                self._timer = threading.Timer(self._seconds, self.close)
                self._timer.daemon = True
                self._timer.start()
                return
        child.kill()

    def close(self) -> None:
        """End the one that is idle."""
        child = self._taken()
        if child is not None:
            child.kill()


CHILDREN = Children()
"""This process's: they hold nothing of any tenant between calls."""


@contextlib.contextmanager
def descriptor(source: BinaryIO) -> Any:
    """A content as a descriptor that a child can read: its own where it lies on the disk, else a copy in memory."""
    if isinstance(source, io.FileIO):
        yield source.fileno()
        return
    with memory_file() as copy:
        while piece := source.read(1 << 20):
            copy.write(piece)
        copy.seek(0)
        yield copy.fileno()


def memory_file() -> io.FileIO:
    """A file without a name, in memory, for what a child gives back."""
    return io.FileIO(os.memfd_create("child"), "w+")


def _received(peer: socket.socket) -> bytes:
    """A message of the other side.

    :raises ConnectionError: it ends instead.
    """
    (length,) = _LENGTH.unpack(_exactly(peer, _LENGTH.size))
    if length > LARGEST_ANSWER:
        raise ConnectionError("too long")
    return _exactly(peer, length)


def _exactly(peer: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        piece = peer.recv(min(count - len(found), 1 << 16))
        if not piece:
            raise ConnectionError("the other side ended")
        found += piece
    return bytes(found)


# -- inside the child -----------------------------------------------------------------------------------------------------


def serve(number: int, memory: int) -> None:
    """Take calls until the parent ends.

    :param number: of the socket's descriptor.
    """
    os.nice(10)
    for limit, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, LARGEST_FILE)):
        resource.setrlimit(limit, (value, value))
    with socket.socket(fileno=number) as parent:
        while True:
            first, files, _, _ = socket.recv_fds(parent, _LENGTH.size, _MOST_FILES)
            if len(first) < _LENGTH.size:
                return
            body = _exactly(parent, _LENGTH.unpack(first)[0])
            function, arguments = jsons.load(body)
            answer = jsons.dump(_answer(function, arguments, files))
            parent.sendall(_LENGTH.pack(len(answer)) + answer)


def _answer(function: str, arguments: dict[str, Any], files: Sequence[int]) -> tuple[str, Any]:
    module, _, name = function.partition(":")
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(io.FileIO(number, "r+" if at else "r")) for at, number in enumerate(files)]
        try:
            return "value", getattr(importlib.import_module(module), name)(streams, **arguments)
        except CozyError as error:
            return "refused", error.detail
        except MemoryError:
            return "refused", "The content needs too much memory"
        except RecursionError:
            return "refused", "The content is nested too deeply"
        except Exception as error:  # noqa: BLE001 - foreign bytes through foreign parsers
            return "refused", f"The content cannot be read: {str(error) or type(error).__name__}"[:500]


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
