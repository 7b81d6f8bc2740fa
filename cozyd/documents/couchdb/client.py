"""`Client`: requests to one CouchDB, over connections that are kept; who is slow harms nobody else.

Three things keep a database that hangs from taking the server with it. Every request ends within its time limits. At most
`SLOTS` requests of one tenant, and `total` of all, are under way at once; one more is refused after a short wait. A tenant
whose request timed out is left alone for `PAUSE` seconds: everybody else is told at once, and one request after that tries
again.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from cozyd import jsons
from cozyd.documents.malformed import Malformed
from cozyd.errors import BadGateway, BadRequest, Conflict, CozyError, NotFound, PreconditionFailed, StorageFull, TooLarge, Unavailable

CONNECT, READ, WHOLE = 2.0, 8.0, 10.0
"""Seconds to connect, without a byte, and for an answer as a whole."""
PAUSE = 2.0
SLOTS, WAIT = 3, 1.0
PING = 0.7
_BARE = frozenset(("rev", "since", "style", "filter", "startkey_docid", "open_revs"))
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class Client:
    """Requests to one server.

    :param url: `https://user:password@host:port/`.
    :param password: the user's, where the address has none.
    :param total: requests of all tenants under way at once.
    """

    def __init__(self, url: str, *, password: str = "", total: int = 6) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        self.shown = urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path.rstrip("/"), "", ""))
        self._session = requests.Session()
        self._session.trust_env = False
        if parts.username:
            known = password or unquote(parts.password or "")
            self._session.auth = HTTPBasicAuth(unquote(parts.username).encode(), known.encode())
        pool = HTTPAdapter(pool_connections=1, pool_maxsize=total + 2, max_retries=0)
        self._session.mount("http://", pool)
        self._session.mount("https://", pool)
        self._all = threading.BoundedSemaphore(total)
        self._lock = threading.Lock()
        self._gates: dict[str, _Gate] = {}

    def get(self, path: str, *, tenant: str, params: Mapping[str, Any] | None = None) -> Any:
        """Read JSON: see `ask`."""
        return self.ask("GET", path, tenant=tenant, params=params)

    def post(self, path: str, body: Any, *, tenant: str, params: Mapping[str, Any] | None = None) -> Any:
        """Post JSON: see `ask`."""
        return self.ask("POST", path, tenant=tenant, params=params, body=body)

    def ask(self, method: str, path: str, *, tenant: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """One request.

        :param tenant: whose it is: nobody waits for another tenant's database.
        :param params: query; values are written as JSON, but for those that CouchDB takes as bare text.
        :param body: a value to be written as JSON, or its text.
        :returns: the answer's JSON.
        :raises CozyError: as CouchDB's status says.
        :raises Unavailable: it does not answer, or too many requests wait for it already.
        """
        data = None if body is None else body if isinstance(body, bytes) else jsons.dump(body)
        gate = self._gate(tenant)
        with self._slot(gate):
            try:
                status, text = self._send(method, self.shown + path, params, data)
            except Unavailable as error:
                gate.pause() if isinstance(error.__cause__, requests.Timeout) else gate.answered()
                raise
            gate.answered()
        if status >= 400:
            raise refused(status, _object(text))
        return jsons.load(text)

    def ping(self) -> None:
        """:raises Unavailable: the server does not answer within a second; no slot is needed to ask."""
        try:
            answer = self._session.get(f"{self.shown}/_up", timeout=PING)
        except (requests.RequestException, OSError) as cause:
            raise self._away(cause) from cause
        if answer.status_code not in (200, 404):
            raise Unavailable(f"CouchDB at {self.shown} says {answer.status_code}", retry_after=5)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _gate(self, tenant: str) -> "_Gate":
        with self._lock:
            return self._gates.setdefault(tenant, _Gate())

    @contextmanager
    def _slot(self, gate: "_Gate") -> Iterator[None]:
        if gate.is_paused():
            raise Unavailable(f"CouchDB at {self.shown} did not answer in time", retry_after=5)
        if not gate.slots.acquire(timeout=WAIT):
            raise Unavailable("Too many requests wait for CouchDB", retry_after=5)
        try:
            if not self._all.acquire(timeout=WAIT):
                raise Unavailable("Too many requests wait for CouchDB", retry_after=5)
            try:
                yield
            finally:
                self._all.release()
        finally:
            gate.slots.release()

    def _send(self, method: str, url: str, params: Mapping[str, Any] | None, data: bytes | None) -> tuple[int, bytes]:
        query = {
            name: value if name in _BARE and isinstance(value, str) else jsons.dump(value).decode()
            for name, value in (params or {}).items()
        }
        ends = time.monotonic() + WHOLE
        try:
            with self._session.request(
                method, url, params=query, data=data, headers=_JSON, timeout=(CONNECT, READ), stream=True, allow_redirects=False
            ) as answer:
                text = b"".join(self._until(ends, answer))
                return answer.status_code, text
        except (requests.RequestException, OSError) as cause:
            raise self._away(cause) from cause

    def _until(self, ends: float, answer: requests.Response) -> Iterator[bytes]:
        for piece in answer.iter_content(1 << 16):
            if time.monotonic() > ends:
                raise requests.ReadTimeout("the answer takes too long")
            yield piece

    def _away(self, cause: Exception) -> Unavailable:
        slow = isinstance(cause, requests.Timeout)
        why = "did not answer in time" if slow else "cannot be reached"
        return Unavailable(f"CouchDB at {self.shown} {why}", retry_after=5)


class _Gate:
    """What one tenant may have under way."""

    def __init__(self) -> None:
        self.slots = threading.BoundedSemaphore(SLOTS)
        self._until = 0.0
        self._lock = threading.Lock()

    def pause(self) -> None:
        """Its database did not answer in time."""
        with self._lock:
            self._until = time.monotonic() + PAUSE

    def is_paused(self) -> bool:
        """Whether it is left alone; the first to ask after the pause tries it, and the others go on waiting meanwhile."""
        with self._lock:
            if not self._until:
                return False
            if time.monotonic() < self._until:
                return True
            self._until = time.monotonic() + READ
            return False

    def answered(self) -> None:
        """Its database answers again."""
        self._until = 0.0


_KINDS: Mapping[int, type[CozyError]] = {
    400: BadRequest,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    507: StorageFull,
}


def refused(status: int, given: Mapping[str, Any]) -> CozyError:
    """What CouchDB refused, in our terms.

    :param given: its `error` and `reason`.
    """
    error, reason = str(given.get("error", "")), str(given.get("reason", ""))
    if status in (401, 403):
        return Unavailable(f"CouchDB refuses the user of storage.documents: {reason}", retry_after=60)
    if error == "enospc" or "no space left" in reason.lower():
        return StorageFull()
    if status in (429, 500, 503, 504):
        return Unavailable(f"CouchDB cannot answer: {reason or error}", retry_after=5)
    if status == 400 and error == "bad_request":
        return Malformed(reason)
    kind = _KINDS.get(status)
    if kind is None:
        return BadGateway(f"CouchDB answers {status} {error}")
    return Conflict() if kind is Conflict else kind(reason, error=error)


def _written(name: str, value: Any) -> str:
    return value if name in _BARE and isinstance(value, str) else jsons.dump(value).decode()


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        return jsons.load_object(text)
    except BadRequest:
        return {}
