"""One HTTP request as it comes, and one run of it: framing rules, caps, refusal by the head (RFC 9112)."""

from datetime import UTC, datetime
from random import getrandbits
from time import time
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import WSGITask
from waitress.utilities import BadRequest

from cozyd.errors import CozyError, QuotaExceeded, StorageFull, TooLarge
from cozyd.server.parking import Parked

UNLIMITED = 1 << 62
LONGEST_CHUNK_LINE = 8192
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """One request: its cap, and what the channel has decided about it."""

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.path = ""  # what is malformed has none, and waitress names it when its sender left
        self.id = f"{getrandbits(64):016x}"
        self.began = time()
        self.judged = False
        self.head = b""
        self.largest = UNLIMITED
        self.room: int | None = None
        self.held_from = 0
        self.is_log_in = False
        self.refused: CozyError | None = None
        self.parked: Parked | None = None
        self.answered_head = False
        self.first_run: datetime | None = None
        self.kept: dict[str, Any] = {}  # what a run leaves for the next one

    def parse_header(self, header_plus: bytes) -> None:
        """As waitress', with the framing that RFC 9112 has a server refuse; a body too large by its length is refused here."""
        header_plus = _encoded(header_plus)
        try:
            super().parse_header(header_plus)
        except ValueError as cause:  # Python reads no numbers of thousands of digits
            raise ParsingError("Content-Length is invalid") from cause
        self._check_framing(header_plus)
        self.head = header_plus
        front = getattr(self.adj, "cozyd_front", None)
        if front is None:
            return
        path = "/" + self.path.lstrip("/")
        self.largest, self.held_from = front.limit(path), front.held_from(path)
        self.is_log_in = front.is_log_in(self.command, path)
        if self.content_length > self.largest:
            self._refuse_as_too_large()

    def _check_framing(self, head: bytes) -> None:
        """What one party might read otherwise than the next (RFC 9112, sections 3.2, 5.2, 6.1 and 6.3)."""
        headers = self.headers
        if b"\r\n " in head or b"\r\n\t" in head:
            raise ParsingError("A header line is folded")
        if "TRANSFER_ENCODING" in headers or (self.chunked and "CONTENT_LENGTH" in headers):
            raise ParsingError("The length of the body is ambiguous")
        if "," in headers.get("HOST", "") or (self.version == "1.1" and "HOST" not in headers):
            raise ParsingError("One Host header is needed")
        if self.fragment:
            raise ParsingError("The target of a request has no fragment")
        if self.proxy_netloc:
            headers["HOST"] = self.proxy_netloc

    def received(self, data: bytes) -> int:
        """As waitress'; a chunked body is cut at the cap, a full disk ends the request."""
        try:
            consumed: int = super().received(data)
        except CozyError as error:
            self.refuse(error)
            return len(data)
        except OSError:
            self.refuse(StorageFull())
            return len(data)
        if self.chunked and self.error is None and self.body_rcv is not None:
            self._check_chunks(self.body_rcv)
        return consumed

    def _check_chunks(self, receiver: Any) -> None:
        if self.body_bytes_received > self.largest:
            self._refuse_as_too_large()
        elif self.room is not None and len(receiver) > self.room:
            self.refuse(QuotaExceeded("The file is too big and exceeds the disk quota"))
        elif len(receiver.control_line) + len(receiver.trailer) > LONGEST_CHUNK_LINE:
            self.error = BadRequest("A chunk's size or the trailer is too long")
            self.completed = True

    def _refuse_as_too_large(self) -> None:
        self.refuse(TooLarge("The body is larger than the server accepts"))

    @property
    def is_held(self) -> bool:
        """Whether its body waits until the sender is known."""
        return not self.completed and (self.chunked or self.content_length > self.held_from)

    @property
    def is_upgrade(self) -> bool:
        """Whether it opens a WebSocket."""
        upgrade: str = self.headers.get("UPGRADE", "")
        return bool(self.path == "/realtime/" and self.command == "GET" and self.version == "1.1" and upgrade.lower() == "websocket")

    @property
    def ends_connection(self) -> bool:
        """Whether nothing behind it on the connection can be understood any more."""
        return self.refused is not None or self.error is not None

    def refuse(self, error: CozyError) -> None:
        """Complete it without its body: the application answers the error in the shape of its door."""
        self.refused = error
        self.close()
        self.body_rcv = None
        self.headers["CONTENT_LENGTH"] = "0"
        self.headers["CONNECTION"] = "close"
        self.content_length = 0
        self.expect_continue = False
        self.chunked = False
        self.completed = True


def _encoded(head: bytes) -> bytes:
    """A head in whose target characters beyond ASCII are encoded: curl and scripts leave that to the server (RFC 3987, section 3.1)."""
    line, end, rest = head.partition(b"\n")
    if line.isascii():
        return head
    return b"".join(b"%%%02X" % byte if byte >= 0x80 else bytes((byte,)) for byte in line) + end + rest


class Task(WSGITask):  # type: ignore[misc]
    """One run of a request."""

    def get_environment(self) -> dict[str, Any]:
        """As waitress', with what the channel knows; a request that runs again reads its body from the start."""
        fresh = self.environ is None
        environ: dict[str, Any] = super().get_environment()
        if not fresh:
            return environ
        request = self.request
        environ["cozyd.request_id"] = request.id
        environ["cozyd.kept"] = request.kept
        environ["cozyd.chunked"] = request.chunked
        if request.refused is not None:
            environ["cozyd.refused"] = request.refused
        if request.first_run is None:
            request.first_run = datetime.now(UTC)
        else:
            environ["wsgi.input"].seek(0)
        parking = getattr(self.channel.adj, "cozyd_parking", None)
        environ["wsgi.file_wrapper"] = self.channel.wrap
        environ["cozyd.began"] = _LONG_AGO if parking is not None and parking.closed else request.first_run
        return environ

    def write(self, data: bytes) -> None:
        """As waitress'; the head leaves together with the first piece."""
        if data and not self.wrote_header:
            self.channel.write_together(lambda: super(Task, self).write(data))
        else:
            super().write(data)

    def build_response_header(self) -> bytes:
        """Nothing, when the head is out already: the rest of the answer goes on in chunks."""
        if self.request.answered_head:
            self.content_length = None
            self.chunked_response = True
            self.close_on_finish = self.request.connection_close
            return b""
        head: bytes = super().build_response_header()
        return head

    def set_close_on_finish(self) -> None:
        """As waitress', but for an answer without a body (204, 304): the lack of a length is no reason to close (RFC 9112, section 6.3)."""
        if self.has_body or self.version == "1.0" or self.request.headers.get("CONNECTION", "").lower() == "close":
            super().set_close_on_finish()

    def finish(self) -> None:
        """As waitress'; from here on its thread must not wait for the client to read."""
        super().finish()
        self.channel.finished = True
