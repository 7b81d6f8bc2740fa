"""`Client`: requests to one CouchDB, over connections that are kept; who is slow harms nobody else.

Three things keep a database that hangs from taking the server with it. Every request ends within its time limits. At most
`SLOTS` requests of one tenant are under way at once; one more is refused after a short wait, and at once when `total` threads
are here already and CouchDB does not answer: some are left for what needs no CouchDB. A tenant whose request timed out is left
alone for `PAUSE` seconds: everybody else is told at once, and one request after that tries again.
"""

import logging
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

log = logging.getLogger("cozyd.couchdb")
CONNECT, READ, WHOLE = 2.0, 8.0, 10.0
"""Seconds to connect, without a byte, and for an answer as a whole."""
PAUSE = 2.0
SLOTS, WAIT, STUCK, LOOK = 3, 1.0, 0.4, 0.05
"""Requests of a tenant; seconds to wait for a slot; without an answer, when more are refused; between two looks meanwhile."""
PING = 0.4
_BARE = frozenset(("rev", "since", "style", "filter", "startkey_docid", "open_revs"))
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class Client:
    """Requests to one server.

    :param url: `https://user:password@host:port/`.
    :param password: the user's, where the address has none.
    :param total: threads that may be here while CouchDB does not answer.
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
        pool = HTTPAdapter(pool_connections=1, pool_maxsize=total + 8, max_retries=0)
        self._session.mount("http://", pool)
        self._session.mount("https://", pool)
        self._total = total
        self._inside = 0
        self._began: dict[int, float] = {}
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
        """:raises Unavailable: the server does not answer soon; no slot is needed to ask."""
        try:
            answer = self._session.get(f"{self.shown}/_up", timeout=PING)
        except (requests.RequestException, OSError) as cause:
            raise self._away(cause) from cause
        if answer.status_code not in (200, 404):
            raise _unavailable(f"CouchDB says {answer.status_code}")

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
            raise _unavailable("CouchDB did not answer in time")
        with self.patience():
            deadline = time.monotonic() + WAIT
            while not gate.slots.acquire(timeout=LOOK):
                self.check_crowd()
                if time.monotonic() > deadline:
                    raise _crowded()
            self._began[threading.get_ident()] = time.monotonic()
            try:
                yield
            finally:
                self._began.pop(threading.get_ident(), None)
                gate.slots.release()

    @contextmanager
    def patience(self) -> Iterator[None]:
        """For what waits for CouchDB, or for somebody who does: counted among those who are here.

        :raises Unavailable: see `check_crowd`.
        """
        with self._lock:
            self._inside += 1
        try:
            self.check_crowd()
            yield
        finally:
            with self._lock:
                self._inside -= 1

    def check_crowd(self) -> None:
        """Go on waiting?

        :raises Unavailable: CouchDB does not answer, and enough threads wait for it.
        """
        if self._inside > self._total and time.monotonic() - min(list(self._began.values()), default=float("inf")) > STUCK:
            raise _crowded()

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
        log.warning("%s %s: %s", self.shown, "did not answer in time" if slow else "cannot be reached", type(cause).__name__)
        return _unavailable("CouchDB did not answer in time" if slow else "CouchDB cannot be reached")


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
        return _unavailable(f"CouchDB refuses the user of storage.documents: {reason}")
    if error == "enospc" or "no space left" in reason.lower():
        return StorageFull()
    if status in (429, 500, 503, 504):
        return _unavailable(f"CouchDB cannot answer: {reason or error}")
    if status == 400 and error == "bad_request":
        return Malformed(reason)
    kind = _KINDS.get(status)
    if kind is None:
        return BadGateway(f"CouchDB answers {status} {error}")
    return Conflict() if kind is Conflict else kind(reason, error=error)


def _crowded() -> Unavailable:
    return _unavailable("Too many requests wait for CouchDB")


def _unavailable(detail: str) -> Unavailable:
    """An error with CouchDB's short name in cozy-stack's answers; what clients see has no address."""
    return Unavailable(detail, error="no_couch", retry_after=5)


def _written(name: str, value: Any) -> str:
    return value if name in _BARE and isinstance(value, str) else jsons.dump(value).decode()


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        return jsons.load_object(text)
    except BadRequest:
        return {}
