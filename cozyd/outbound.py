"""The only way out to HTTP of other people's choosing: no private addresses, caps on time and size (decisions/0120).

A name is resolved once, every address is looked at, and the connection goes to one of those very addresses, with the name in Host
and SNI: a second answer of the name server changes nothing. Redirects are followed here, each judged as a new request, without
cookies, credentials or a step down from TLS. Proxies, `.netrc` and certificates of the environment are not used.
"""

import contextlib
import ipaddress
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from cozyd import __version__
from cozyd.errors import BadGateway, BadRequest, Forbidden, GatewayTimeout, TooLarge

if TYPE_CHECKING:
    import requests

PORTS = {"http": 80, "https": 443}
CONNECT_WITHIN = 5.0
CHUNK = 1 << 16
MOST_REDIRECTS = 3
LONGEST_URL = 8192
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
_FORBIDDEN_LETTERS = re.compile(r"[\x00-\x20\x7f\\]")
_PERSONAL = frozenset(("authorization", "cookie", "proxy-authorization"))
_ANYWHERE = re.compile(r"accept(-.*)?|connection|content-type|range|if-.*|user-agent", re.IGNORECASE)
"""Headers that say nothing of who asks; others may hold a key, and stay behind when a redirect leads to another server."""
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_GLOBAL_6 = ipaddress.ip_network("2000::/3")
_TUNNELS_6 = tuple(ipaddress.ip_network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_RELAYS_4 = ipaddress.ip_network("192.88.99.0/24")

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    :param headers: names in lower case; of several of one name, the values joined by a comma.
    :param url: where it came from, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Incoming:
    """An answer whose body is still coming: iterate over it once.

    :param chunks: bytes, as the server sent them but for transfer codings.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    chunks: Iterator[bytes] = field(repr=False)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks


def addresses_of(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the machine's resolver gives them.

    :raises BadGateway: it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as cause:
        raise BadGateway(f"The name of {host} leads nowhere") from cause
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether an address is one of the Internet: unicast, of no private, local, shared or reserved network, and no way into one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if parsed.is_multicast or not parsed.is_global:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not parsed.is_reserved and parsed not in _RELAYS_4
    return parsed in _GLOBAL_6 and not any(parsed in net for net in _TUNNELS_6)


class Outbound:
    """Requests to servers whose address somebody else chose.

    :param allow: hosts, as they stand in addresses, that may lie anywhere, on every port or on the one named (`host:port`).
    :param authorities: a file of certificates to trust, in place of the usual ones.
    :param resolve: the addresses of a name.
    """

    def __init__(self, allow: Sequence[str] = (), *, authorities: str = "", resolve: Resolve = addresses_of) -> None:
        self._allow = frozenset(entry.lower() for entry in allow)
        self.authorities = authorities
        self._resolve = resolve

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit_bytes: int = 1 << 20,
        timeout: float = 20,
        redirects: int = MOST_REDIRECTS,
    ) -> Answer:
        """Ask, and read the answer whole.

        :param limit_bytes: the largest body that is taken.
        :param timeout: seconds for everything together.
        :raises BadRequest: the address is none that may be asked.
        :raises Forbidden: it leads to no public address.
        :raises BadGateway, GatewayTimeout: no answer, a broken one, or none in time.
        :raises TooLarge: the answer has more bytes.
        """
        with self.stream(
            method, url, headers=headers, body=body, limit_bytes=limit_bytes, timeout=timeout, redirects=redirects
        ) as incoming:
            return Answer(incoming.status, incoming.headers, b"".join(incoming), incoming.url)

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit_bytes: int = 1 << 20,
        timeout: float = 20,
        redirects: int = MOST_REDIRECTS,
    ) -> Iterator[Incoming]:
        """As `request`, with the body as it comes; its iterator raises what `request` raises."""
        deadline = Deadline(timeout)
        given = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": f"cozyd/{__version__}"} | dict(headers or {})
        with contextlib.closing(deadline), contextlib.ExitStack() as opened:
            for hop in range(redirects + 1):
                response = opened.enter_context(self._sent(method, url, given, body, deadline))
                target = response.headers.get("Location") if response.status_code in _REDIRECTS else None
                if target is None or redirects == 0:
                    named = {name.lower(): value for name, value in response.headers.items()}
                    yield Incoming(response.status_code, named, url, _chunks(response, limit_bytes, deadline))
                    return
                if hop == redirects:
                    break
                before, url = url, _followed(url, target)
                is_elsewhere = urlsplit(before).netloc != urlsplit(url).netloc
                given = _travelling(given, is_elsewhere=is_elsewhere)
                if response.status_code == 303 or (response.status_code in (301, 302) and method == "POST"):
                    method, body = "HEAD" if method == "HEAD" else "GET", None
                if body is not None and is_elsewhere:
                    raise BadGateway("The server redirects what it is sent to another one")
            raise BadGateway("The server redirects too often")

    def connect(self, host: str, port: int, *, timeout: float = CONNECT_WITHIN) -> socket.socket:
        """A connection for another protocol than HTTP, judged alike but for the port.

        :raises Forbidden, BadGateway: as `request`.
        """
        address = self.address(host, port)
        try:
            return socket.create_connection((address, port), timeout=timeout)
        except OSError as cause:
            raise BadGateway(f"{host} does not answer") from cause

    def address(self, host: str, port: int) -> str:
        """The address to connect to.

        :raises Forbidden: one of those the host has is not public, and the host is not allowed.
        :raises BadGateway: it has none.
        """
        found = self._resolve(host, port)
        if not found:
            raise BadGateway(f"The name of {host} leads nowhere")
        if not self._allows(host, port) and not all(is_public(address) for address in found):
            raise Forbidden("This address is not public")
        return found[0]

    def check(self, url: str) -> SplitResult:
        """An address's parts, when it has the form of one that may be asked.

        :raises BadRequest: another scheme, a user name, a port that is not the scheme's, letters that parsers read differently.
        """
        if len(url) > LONGEST_URL or _FORBIDDEN_LETTERS.search(url):
            raise BadRequest("This is no address")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as cause:
            raise BadRequest("This is no address") from cause
        host = parts.hostname or ""
        if parts.scheme not in PORTS or "@" in parts.netloc or not _is_host(host):
            raise BadRequest("Only http and https addresses of a host can be asked")
        if port is not None and port != PORTS[parts.scheme] and not self._allows(host, port):
            raise BadRequest("Only the usual ports can be asked")
        return parts

    def _allows(self, host: str, port: int) -> bool:
        name = host.lower().rstrip(".")
        shown = f"[{name}]" if ":" in name else name
        return name in self._allow or f"{shown}:{port}" in self._allow

    @contextlib.contextmanager
    def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: "Deadline"
    ) -> "Iterator[requests.Response]":
        """One request to one pinned address."""
        import requests

        from cozyd.outbound_adapter import PinnedAdapter

        self.check(url)
        try:
            prepared = requests.Request(method, url, headers=dict(headers), data=body).prepare()
        except (requests.RequestException, ValueError) as cause:
            raise BadRequest("This is no address") from cause
        parts = self.check(str(prepared.url))
        port = parts.port or PORTS[parts.scheme]
        prepared.headers["Host"] = parts.netloc
        adapter = PinnedAdapter(self.address(parts.hostname or "", port), deadline.watch)
        with contextlib.closing(adapter):
            with _translated(deadline):
                waits = (min(CONNECT_WITHIN, deadline.left()), deadline.left())
                response = adapter.send(prepared, stream=True, timeout=waits, verify=self.authorities or True)
            yield response


class Deadline:
    """A moment when everything ends: then the connections that are watched are shut down, whatever they wait for.

    :param seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._watched: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def left(self) -> float:
        """Seconds until then.

        :raises GatewayTimeout: it has come.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise GatewayTimeout("The server did not answer in time")
        return left

    @property
    def over(self) -> bool:
        """Whether it has come."""
        return time.monotonic() >= self._ends

    def watch(self, connection: socket.socket) -> None:
        """Have a connection end then; whoever wraps it may go on doing so."""
        with self._lock:
            self._watched.append(socket.socket(fileno=os.dup(connection.fileno())))

    def _end(self) -> None:
        with self._lock:
            for connection in self._watched:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forget it."""
        self._timer.cancel()
        with self._lock:
            while self._watched:
                self._watched.pop().close()


@contextlib.contextmanager
def _translated(deadline: Deadline) -> Iterator[None]:
    """What goes wrong on the way, as one of ours."""
    import requests
    from urllib3.exceptions import HTTPError
    from urllib3.exceptions import TimeoutError as Slow

    try:
        yield
    except (requests.RequestException, HTTPError, OSError, ValueError) as cause:
        if deadline.over or isinstance(cause, requests.Timeout | Slow | TimeoutError):
            raise GatewayTimeout("The server did not answer in time") from cause
        raise BadGateway("The server does not answer as it should") from cause


def _chunks(response: Any, limit: int, deadline: Deadline) -> Iterator[bytes]:
    """The body as sent, at most `limit` bytes."""
    taken = 0
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > limit and response.request.method != "HEAD":
        raise TooLarge(f"The answer has more than {limit} bytes")
    while True:
        with _translated(deadline):
            chunk = response.raw.read(CHUNK, decode_content=False)
        if not chunk:
            deadline.left()
            return
        taken += len(chunk)
        if taken > limit:
            raise TooLarge(f"The answer has more than {limit} bytes")
        yield chunk


def _travelling(headers: Mapping[str, str], *, is_elsewhere: bool) -> dict[str, str]:
    """What goes along with a redirect."""
    if is_elsewhere:
        return {name: value for name, value in headers.items() if _ANYWHERE.fullmatch(name)}
    return {name: value for name, value in headers.items() if name.lower() not in _PERSONAL}


def _followed(url: str, target: str) -> str:
    """Where a redirect leads.

    :raises BadGateway: from TLS to none.
    """
    try:
        found = urljoin(url, target)
    except ValueError as cause:
        raise BadGateway("The server redirects to no address") from cause
    if url.startswith("https:") and not found.startswith("https:"):
        raise BadGateway("The server redirects to an address without TLS")
    return found


def _is_host(host: str) -> bool:
    """A name or an address literal; names in other letters are taken as IDNA writes them."""
    if ":" in host:
        try:
            return ipaddress.ip_address(host.partition("%")[0]).version == 6 and "%" not in host
        except ValueError:
            return False
    try:
        return _HOST.fullmatch(host if host.isascii() else host.encode("idna").decode()) is not None
    except UnicodeError:
        return False
