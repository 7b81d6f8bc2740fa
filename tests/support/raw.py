"""A connection that sends bytes as they are, which no HTTP library would."""

import socket
from dataclasses import dataclass
from typing import Self


@dataclass
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


class Raw:
    """One TCP connection to a port of loopback.

    :param timeout: seconds any single wait may take.
    :param buffer: bytes the kernel may keep for this side; small for one that reads slowly.
    """

    def __init__(self, port: int, *, timeout: float = 10, buffer: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect(("127.0.0.1", port))
        self._come = bytearray()

    def send(self, data: bytes | str) -> Self:
        """Send; line ends of text become CRLF."""
        self.socket.sendall(data.replace("\n", "\r\n").encode("latin-1") if isinstance(data, str) else data)
        return self

    def reply(self, *, head_request: bool = False) -> Reply:
        """The next answer, 100 Continue included.

        :param head_request: it has no body, whatever its length says.
        """
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        status = int(first.split()[1])
        if head_request or status < 200 or status in (204, 304):
            return Reply(status, headers)
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, b"".join(self._chunks()))
        return Reply(status, headers, self.exactly(int(headers["content-length"])))

    def _chunks(self) -> list[bytes]:
        chunks = []
        while size := int(self.until(b"\r\n"), 16):
            chunks.append(self.exactly(size))
            self.until(b"\r\n")
        self.until(b"\r\n")
        return chunks

    def until(self, mark: bytes) -> bytes:
        """What comes, up to a mark and with it."""
        while mark not in self._come:
            self._more()
        return self.exactly(self._come.index(mark) + len(mark))

    def exactly(self, count: int) -> bytes:
        """So many bytes."""
        while len(self._come) < count:
            self._more()
        found = bytes(self._come[:count])
        del self._come[:count]
        return found

    def rest(self) -> bytes:
        """What came and was not taken yet."""
        return bytes(self._come)

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(bytes(self._come[:200]))
        self._come += data

    def ended(self) -> bool:
        """Whether the server closes, and nothing more comes before."""
        try:
            return not self._come and self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
