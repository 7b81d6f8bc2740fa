"""What `cozyd/server` leans on in waitress: half-private names, and behaviour that its documentation does not promise."""

import importlib.metadata
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer, ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver, FixedStreamReceiver
from waitress.server import BaseWSGIServer, TcpWSGIServer, UnixWSGIServer
from waitress.task import WSGITask

from cozyd.server.pool import Pool
from tests.support.raw import Raw
from tests.support.serving import eventually

OVERRIDDEN = {
    HTTPRequestParser: ["parse_header", "received"],
    WSGITask: ["get_environment", "build_response_header", "finish", "write", "set_close_on_finish"],
    HTTPChannel: [
        "readable",
        "writable",
        "received",
        "send_continue",
        "service",
        "handle_write",
        "handle_close",
        "write_soon",
        "_flush_outbufs_below_high_watermark",
    ],
    BaseWSGIServer: ["maintenance", "add_task", "pull_trigger"],
}
USED = {
    HTTPRequestParser: ["close", "get_body_stream"],
    HTTPChannel: ["del_channel", "_flush_some", "_flush_some_if_lockable", "_flush_exception", "cancel"],
    BaseWSGIServer: ["pull_trigger", "handle_accept"],
    FixedStreamReceiver: ["received", "getfile", "getbuf"],
    ChunkedReceiver: ["received", "getfile", "getbuf"],
}


def test_the_version_is_the_one_that_was_read():
    assert importlib.metadata.version("waitress").startswith("3.0.")


@pytest.mark.parametrize(("kind", "names"), [*OVERRIDDEN.items(), *USED.items()], ids=lambda one: getattr(one, "__name__", ""))
def test_the_names_exist(kind: type, names: list[str]):
    assert [name for name in names if not callable(getattr(kind, name, None))] == []


def test_the_methods_take_what_ours_take():
    from cozyd.server.channel import Channel
    from cozyd.server.http import _TcpServer, _UnixServer
    from cozyd.server.parser import Parser, Task

    for ours in (Parser, Task, Channel, _TcpServer, _UnixServer):
        for kind, names in OVERRIDDEN.items():
            for name in names if issubclass(ours, kind) else ():
                theirs, mine = (list(inspect.signature(getattr(one, name)).parameters) for one in (kind, ours))
                assert mine[: len(theirs)] == theirs, f"{ours.__name__}.{name}"
    assert issubclass(_TcpServer, TcpWSGIServer)
    assert issubclass(_UnixServer, UnixWSGIServer)


def test_a_malformed_request_has_a_path_for_the_log_of_who_left():
    from cozyd.server.parser import Parser

    parser = Parser(Adjustments())
    parser.received(b"GET / HTTP/1.1\r\nBad Line\r\n\r\n")
    assert parser.error is not None
    assert parser.path == ""


def test_the_state_of_a_parser_and_of_a_receiver_has_its_names():
    parser = HTTPRequestParser(Adjustments())
    parser.received(b"PUT /a%20b?c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert (parser.command, parser.path, parser.version, parser.proxy_netloc) == ("PUT", "/a b", "1.1", "")
    assert (parser.content_length, parser.chunked, parser.expect_continue) == (5, False, True)
    assert (parser.completed, parser.empty, parser.error, parser.headers_finished) == (False, False, None, True)
    assert (parser.body_bytes_received, parser.connection_close, parser.headers["HOST"]) == (0, False, "x")
    assert isinstance(parser.body_rcv.buf, OverflowableBuffer)
    chunked = ChunkedReceiver(OverflowableBuffer(10))
    assert (chunked.control_line, chunked.trailer, chunked.error) == (b"", b"", None)


def test_a_receiver_s_buffer_may_be_exchanged_before_the_body():
    kept: list[bytes] = []

    class Buffer:
        def append(self, data: bytes) -> None:
            kept.append(data)

    parser = HTTPRequestParser(Adjustments())
    parser.received(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
    parser.body_rcv.buf = Buffer()
    assert parser.received(b"12345") == 5
    assert (parser.completed, kept) == (True, [b"12345"])


def test_a_head_that_is_no_head_is_told_by_one_error():
    parser = HTTPRequestParser(Adjustments())
    with pytest.raises(ParsingError):
        parser.parse_header(b"GET / HTTP/1.1\r\nno colon\r\n")


def test_our_options_are_options():
    adj = Adjustments(
        threads=2,
        ident=None,
        asyncore_use_poll=True,
        connection_limit=10,
        channel_request_lookahead=1,
        cleanup_interval=1,
        max_request_body_size=1 << 62,
        max_request_header_size=1 << 16,
        inbuf_overflow=1 << 17,
        outbuf_overflow=1 << 17,
        clear_untrusted_proxy_headers=False,
    )
    assert adj.outbuf_high_watermark == 16 << 20
    adj.anything = 1


# -- behaviour ------------------------------------------------------------------------------------------------------------


class Loop:
    """A bare waitress server in a thread.

    :param app: its application.
    """

    def __init__(self, app: Any, **options: Any) -> None:
        self.map: dict[int, Any] = {}
        self.dispatcher = Pool(2)
        adj = Adjustments(host="127.0.0.1", port=0, channel_request_lookahead=1, **options)
        self.server = TcpWSGIServer(app, map=self.map, dispatcher=self.dispatcher, adj=adj, sockinfo=adj.listen[0])
        self.running = True
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while self.running:
            wasyncore.loop(timeout=1, use_poll=True, map=self.map, count=1)

    def stop(self) -> None:
        self.running = False
        self.server.pull_trigger()
        self.thread.join(5)
        self.dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self.map)


@pytest.fixture
def serve() -> Iterator[Callable[[Any], Loop]]:
    loops: list[Loop] = []

    def start(app: Any) -> Loop:
        loops.append(Loop(app))
        return loops[-1]

    yield start
    for loop in loops:
        loop.stop()


def port(loop: Loop) -> int:
    return int(loop.server.effective_port)


class Waits(BaseException):
    """As our `Park`."""


@pytest.mark.filterwarnings("ignore")
def test_a_base_exception_leaves_the_request_at_the_head_of_its_channel(serve: Callable[[Any], Loop]):
    runs: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        runs.append(environ["PATH_INFO"])
        if len(runs) == 1:
            raise Waits
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    loop = serve(app)
    with Raw(port(loop)) as connection:
        connection.send("GET /waits HTTP/1.1\nHost: x\n\n")
        eventually(lambda: runs == ["/waits"])
        (channel,) = loop.server.active_channels.values()
        assert len(channel.requests) == 1
        assert channel.readable(), "so that a client who leaves is noticed"
        loop.server.add_task(channel)
        assert connection.reply().body == b"done"
        eventually(lambda: channel.requests == [])


def test_what_the_trigger_is_given_runs_on_the_loop(serve: Callable[[Any], Loop]):
    loop = serve(lambda *_: [])
    ran: list[Any] = []
    loop.server.trigger.pull_trigger(lambda: ran.append(threading.current_thread()))
    eventually(lambda: ran == [loop.thread])


def test_a_channel_that_is_to_close_is_closed_by_the_loop(serve: Callable[[Any], Loop]):
    loop = serve(lambda *_: [])
    with socket.create_connection(("127.0.0.1", port(loop)), timeout=5) as connection:
        eventually(lambda: len(loop.server.active_channels) == 1)
        (channel,) = loop.server.active_channels.values()
        channel.will_close = True
        loop.server.pull_trigger()
        assert connection.recv(1) == b""


def test_a_file_leaves_without_its_thread(serve: Callable[[Any], Loop], tmp_path: Any):
    (tmp_path / "file").write_bytes(b"x" * 20_000_000)
    threads: list[threading.Thread] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        threads.append(threading.current_thread())
        assert environ["wsgi.file_wrapper"] is ReadOnlyFileBasedBuffer
        start_response("200 OK", [("Content-Length", "20000000")])
        return environ["wsgi.file_wrapper"]((tmp_path / "file").open("rb"), 1 << 18)

    loop = serve(app)
    connections = [Raw(port(loop)).send("GET / HTTP/1.1\nHost: x\n\n") for _ in range(6)]
    eventually(lambda: len(threads) == 6)
    for connection in connections:
        connection.close()
    eventually(lambda: not loop.server.active_channels)


def test_a_connection_enters_the_map_and_leaves_it_by_itself(serve: Callable[[Any], Loop]):
    loop = serve(lambda *_: [])
    before = set(loop.map)
    with Raw(port(loop)):
        eventually(lambda: len(set(loop.map) - before) == 1)
        (channel,) = loop.server.active_channels.values()
        assert loop.map[channel._fileno] is channel
    eventually(lambda: set(loop.map) == before)


def test_a_task_that_ends_pulls_the_trigger_of_its_server(serve: Callable[[Any], Loop], monkeypatch: pytest.MonkeyPatch):
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    loop = serve(app)
    pulled: list[int] = []
    pull = loop.server.pull_trigger

    def noted() -> None:
        (channel,) = loop.server.active_channels.values()
        pulled.append(len(channel.requests))
        pull()

    monkeypatch.setattr(loop.server, "pull_trigger", noted)
    with Raw(port(loop)) as connection:
        connection.send("GET / HTTP/1.1\nHost: x\n\n")
        assert connection.reply().body == b"done"
        eventually(lambda: pulled[-1:] == [0])
