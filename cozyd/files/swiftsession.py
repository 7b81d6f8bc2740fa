"""Requests to OpenStack Swift by python-swiftclient: tokens, connections, time-outs."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import parse_qs, quote, urlsplit

from cozyd import jsons
from cozyd.config import ConfigError
from cozyd.errors import CozyError
from cozyd.files.remote import Gate, Refused

log = logging.getLogger("cozyd.files")

SEND_PIECE = 1 << 18
TIMEOUT, PING_TIMEOUT, COPY_TIMEOUT = 10.0, 2.0, 300.0
KNOWN = (
    "AuthURL UserName Password Token ProjectName ProjectID UserDomainName ProjectDomain ProjectDomainID Region EndpointType Timeout"
).split()


@dataclass(frozen=True, slots=True)
class Access:
    """Where Swift is, and who we are there.

    :param url: of the identity service: `http://host/auth/v1.0` (tempauth), `https://host/v3` (Keystone).
    :param options: the parameters of the configured address, by their names.
    :param timeout: seconds to wait for any answer.
    """

    url: str
    options: Mapping[str, str]
    timeout: float = TIMEOUT

    @classmethod
    def parse(cls, address: str, password: str = "") -> "Access":
        """Read `swift://host/path?UserName=...&Password=...`, as the reference has it; `swift+https://` for TLS.

        :param password: wins over the one in the address.
        :raises ConfigError: a parameter is unknown, or something is missing.
        """
        parts = urlsplit(address)
        options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if unknown := sorted(options.keys() - set(KNOWN)):
            raise ConfigError(f"storage.blobs: unknown parameter {unknown[0]}; known: {', '.join(KNOWN)}")
        if password:
            options["Password"] = password
        scheme = "https" if parts.scheme == "swift+https" else "http"
        url = options.get("AuthURL") or f"{scheme}://{parts.netloc}{parts.path}"
        if not options.get("UserName") or not options.get("Password"):
            raise ConfigError("storage.blobs: Swift needs UserName and Password, or storage.blobs_password_file")
        return cls(url.rstrip("/"), options, _seconds(options.get("Timeout", "")))

    @property
    def is_keystone(self) -> bool:
        """Whether the identity service is Keystone's third version."""
        return self.url.endswith("/v3")


def _seconds(text: str) -> float:
    """A duration: `30`, `30s`, `2m`; nothing is the default.

    :raises ConfigError: it is none.
    """
    unit = {"s": 1, "m": 60}.get(text[-1:], 0)
    number = text[:-1] if unit else text
    if text and (not number.isdigit() or not int(number)):
        raise ConfigError(f"storage.blobs: {text!r} is no Timeout")
    return float(int(number) * (unit or 1)) if text else TIMEOUT


class Answer:
    """The body of an object on its way; its connection goes back when it was read whole."""

    def __init__(self, headers: Mapping[str, str], body: Any, lease: "_Lease") -> None:
        self.headers = headers
        self._body, self._lease = body, lease
        self._left = int(headers["content-length"])

    def read(self, count: int) -> bytes:
        """Some bytes; none at its end, or when it was cut."""
        from urllib3.exceptions import HTTPError

        try:
            data: bytes = self._body.resp.read(min(count, self._left))
        except (OSError, HTTPError) as cause:
            log.warning("Swift cut an object: %s", cause)
            data = b""
        self._left -= len(data)
        if not self._left or not data:
            self.close()
        return data

    def close(self) -> None:
        """Give it up."""
        self._lease.end(reusable=not self._left)


class _Lease:
    """A place among the requests under way, and a connection."""

    def __init__(self, session: "Session", connection: Any) -> None:
        self._session = session
        self.connection = connection
        self.reused = connection is not None
        self._ended = False

    def connect(self, url: str, timeout: float) -> Any:
        """The connection, made where there is none."""
        import swiftclient.client as swift

        if self.connection is None:
            self.connection = swift.http_connection(url)
        self.connection[1].requests_args["timeout"] = timeout
        return self.connection

    def renew(self) -> bool:
        """Drop a connection of before; False: it was a new one."""
        self.connection[1].close()
        self.connection = None
        reused, self.reused = self.reused, False
        return reused

    def end(self, *, reusable: bool) -> None:
        """Give place and connection back, once."""
        if not self._ended:
            self._ended = True
            self._session.give(self.connection, reusable=reusable)


class Session:
    """What all threads share towards one Swift.

    :param parallel: how many requests at once.
    """

    def __init__(self, access: Access, parallel: int) -> None:
        self._access = access
        self._gate = Gate(parallel)
        self._lock = threading.Lock()
        self._free: list[Any] = []
        self._signed: tuple[str, str] | None = None
        self._closed = False

    # -- requests ---------------------------------------------------------------------------------------------------

    def put(self, container: str, name: str, source: BinaryIO, size: int, etag: str, headers: Mapping[str, str]) -> str:
        """Put an object, in a container that is made where it is not there; the ETag that Swift answered.

        :raises Refused, Unavailable: it did not take it.
        """
        import swiftclient.client as swift

        def send(url: str, token: str, **options: Any) -> Any:
            source.seek(0)
            piece = SEND_PIECE if size else None
            return swift.put_object(
                url, token, container, name, source if size else b"", size, etag, piece, headers=dict(headers), **options
            )

        try:
            return str(self._ask(send))
        except Refused as error:
            if error.status != 404:
                raise
        self.put_container(container)
        return str(self._ask(send))

    def get(self, container: str, name: str, headers: Mapping[str, str]) -> Answer:
        """Begin to read an object.

        :raises Refused, Unavailable: it is not there, or cannot be read.
        """
        import swiftclient.client as swift

        lease = self._take()
        try:
            found, body = self._attempt(lease, swift.get_object, container, name, resp_chunk_size=SEND_PIECE, headers=dict(headers))
        except Refused:
            lease.end(reusable=True)
            raise
        except BaseException:
            lease.end(reusable=False)
            raise
        return Answer(found, body, lease)

    def size(self, container: str, name: str) -> int:
        """Bytes of an object.

        :raises Refused, Unavailable: as `get`.
        """
        import swiftclient.client as swift

        return int(self._ask(swift.head_object, container, name)["content-length"])

    def copy(self, container: str, name: str, new: str, about: Mapping[str, str]) -> None:
        """Have an object copied.

        :raises Refused, Unavailable: as `get`.
        """
        import swiftclient.client as swift

        destination = f"/{container}/{new}"
        self._ask(swift.copy_object, container, name, destination=destination, headers=dict(about), timeout=COPY_TIMEOUT)

    def delete(self, container: str, name: str) -> None:
        """Delete an object; an absent one is fine."""
        import swiftclient.client as swift

        try:
            self._unless_absent(swift.delete_object, container, name)
        except Refused as error:
            raise error.told() from error

    def bulk_delete(self, container: str, names: Sequence[str]) -> bool:
        """Delete many objects in one request; False: this Swift does not do that."""
        import swiftclient.client as swift

        body = "\n".join(quote(f"/{container}/{name}") for name in names).encode()
        headers = {"Content-Type": "text/plain", "Accept": "application/json"}
        try:
            _, text = self._ask(swift.post_account, headers, query_string="bulk-delete", data=body, timeout=COPY_TIMEOUT)
        except Refused:
            return False
        try:
            return str(jsons.load_object(text).get("Response Status", "")).startswith("2")
        except CozyError:
            return False

    def list(self, container: str, prefix: str, marker: str, limit: int) -> Sequence[dict[str, Any]]:
        """A page of a container's objects; none of one that is not there."""
        import swiftclient.client as swift

        found = self._unless_absent(swift.get_container, container, marker=marker, limit=limit, prefix=prefix)
        return list(found[1]) if found is not None else []

    def put_container(self, container: str) -> None:
        """Make a container."""
        import swiftclient.client as swift

        try:
            self._ask(swift.put_container, container)
        except Refused as error:
            raise error.told() from error

    def mark_container(self, container: str) -> bool:
        """Mark a container as one that goes; False: it is not there."""
        import swiftclient.client as swift

        headers = {"X-Container-Meta-To-Be-Deleted": "1"}
        return self._unless_absent(swift.post_container, container, headers, absent=False) is not False

    def delete_container(self, container: str) -> bool:
        """Remove a container; False: something is in it still."""
        import swiftclient.client as swift

        try:
            self._unless_absent(swift.delete_container, container)
        except Refused:
            return False
        return True

    def ping(self) -> None:
        """:raises Unavailable: no answer, or not the right one."""
        import swiftclient.client as swift

        try:
            self._ask(swift.head_account, timeout=PING_TIMEOUT)
        except Refused as error:
            raise error.told() from error

    def close(self) -> None:
        """Close all connections that nobody uses."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for _, connection in free:
            connection.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _ask(self, function: Callable[..., Any], *arguments: Any, timeout: float = 0, **options: Any) -> Any:
        """One request whose answer is small.

        :raises Refused, Unavailable: it failed.
        """
        lease = self._take()
        try:
            found = self._attempt(lease, function, *arguments, timeout=timeout, **options)
        except Refused:
            lease.end(reusable=True)
            raise
        except BaseException:
            lease.end(reusable=False)
            raise
        lease.end(reusable=True)
        return found

    def _unless_absent(self, function: Callable[..., Any], *arguments: Any, absent: Any = None, **options: Any) -> Any:
        """As `_ask`; `absent` when there is no such thing, other refusals as callers are told of them."""
        try:
            return self._ask(function, *arguments, **options)
        except Refused as error:
            if error.status == 404:
                return absent
            if error.status == 409:
                raise
            raise error.told() from error

    def _attempt(self, lease: _Lease, function: Callable[..., Any], *arguments: Any, timeout: float = 0, **options: Any) -> Any:
        """One request: again with a new token when the old one ran out, again when a connection of before had been closed."""
        from swiftclient.exceptions import ClientException
        from urllib3.exceptions import HTTPError

        signed_again = False
        while True:
            try:
                url, token = self._sign_in()
                found = function(url, token, *arguments, http_conn=lease.connect(url, timeout or self._access.timeout), **options)
            except ClientException as error:
                self._gate.answered()
                if error.http_status == 401 and not signed_again:
                    self._signed, signed_again = None, True
                    continue
                if error.http_status is None:
                    raise self._gate.unanswered(error, in_vain=_is_timeout(error)) from error
                raise Refused(error.http_status, error.http_reason or "", _size_in(error)) from error
            except (OSError, HTTPError) as cause:
                if not _is_timeout(cause) and lease.connection is not None and lease.renew():
                    continue
                raise self._gate.unanswered(cause, in_vain=_is_timeout(cause)) from cause
            self._gate.answered()
            return found

    def _sign_in(self) -> tuple[str, str]:
        """Storage address and token; what an identity service gave last is used until Swift refuses it."""
        from swiftclient.client import get_auth_1_0

        from cozyd.files.keystone import sign_in

        signed = self._signed
        if signed is None:
            options, timeout = self._access.options, self._access.timeout
            if self._access.is_keystone:
                signed = sign_in(self._access.url, options, timeout)
            else:
                signed = get_auth_1_0(self._access.url, options["UserName"], options["Password"], timeout=timeout)
            self._signed = signed
        return signed

    def _take(self) -> _Lease:
        """A place among the requests under way.

        :raises Unavailable: Swift is away, or too many wait for it already.
        """
        self._gate.enter()
        with self._lock:
            return _Lease(self, self._free.pop() if self._free else None)

    def give(self, connection: Any, *, reusable: bool) -> None:
        """Take back what a lease had."""
        with self._lock:
            kept = connection is not None and reusable and not self._closed
            if kept:
                self._free.append(connection)
        if connection is not None and not kept:
            connection[1].close()
        self._gate.leave()


def _is_timeout(cause: BaseException) -> bool:
    """Whether somebody waited for nothing, as opposed to being refused at once."""
    from requests.exceptions import Timeout
    from urllib3.exceptions import TimeoutError as Urllib3Timeout

    return isinstance(cause, Timeout | Urllib3Timeout | TimeoutError)


def _size_in(error: Any) -> int:
    """The size of an object, of which a range was asked that it has not."""
    text = (error.http_response_headers or {}).get("Content-Range", "")
    size = text.rpartition("/")[2]
    return int(size) if size.isdigit() else 0
