"""One WebSocket client's conversation (docs/http/realtime.md): messages in, messages out; no I/O, time comes as argument."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from cozyd import jsons
from cozyd.documents.store import Change
from cozyd.errors import CozyError
from cozyd.permissions import Principal

TOKEN_WITHIN = timedelta(seconds=10)
POLICY_VIOLATION = 1008
WITHOUT_PERMISSION = frozenset(("io.cozy.sharings.initial_sync", "io.cozy.auth.confirmations"))
SECRETS: Mapping[str, frozenset[str]] = {
    "io.cozy.oauth.clients": frozenset(("client_secret", "registration_access_token")),
    "io.cozy.permissions": frozenset(("codes", "shortcodes", "password")),
}
"""Fields that no event tells: who may watch is not always who may use them."""
_NEVER = (
    "accounts.soft_deleted auth.factors auth.passkeys auth.trusted dav.feeds dav.subscriptions devices files.locks oauth.access_codes "
    "oauth.grants remote.secrets triggers.pending"
)
NEVER_TOLD = frozenset(f"io.cozy.{name}" for name in _NEVER.split())
"""Doctypes whose very documents are secrets, or nobody's business but the server's."""
PASSPHRASE = ("io.cozy.settings", "io.cozy.settings.passphrase")


class Door(Protocol):
    """What a session asks the instance; may take the time of a database read."""

    def authenticate(self, token: str) -> Principal:
        """:raises CozyError: the token is nobody's."""

    def may_watch(self, principal: Principal, doctype: str, id: str | None) -> bool:
        """Whether changes of a doctype, or of one document, may be told."""


class Session:
    """The state of one socket.

    :param door: asked for the token and for each subscription.
    :param opened: when the socket was opened.
    """

    def __init__(self, door: Door, opened: datetime) -> None:
        self._door = door
        self._opened = opened
        self._token = ""
        self._principal: Principal | None = None
        self._types: set[str] = set()
        self._documents: set[tuple[str, str]] = set()
        self.closing: int | None = None

    def receive(self, message: str) -> Sequence[bytes]:
        """Take a message; answers what to send. `closing` is set when the socket must end."""
        try:
            asked = jsons.load(message)
        except CozyError:
            asked = None
        if self._principal is None:
            return self._first(asked if isinstance(asked, dict) else {}, valid=isinstance(asked, dict))
        if not isinstance(asked, dict) or not _is_subscription(asked.get("method"), asked.get("payload")):
            self.closing = POLICY_VIOLATION
            return ()
        return self._subscription(asked.get("method") or "", asked.get("payload") or {})

    def recheck(self) -> Sequence[bytes]:
        """Ask again who the token is and what it may watch; answers what to send. `closing` is set when it is nobody any more."""
        if self._principal is None:
            return ()
        try:
            self._principal = self._door.authenticate(self._token)
        except CozyError:
            return self._refuse("AUTH")
        watched: list[tuple[str, str | None]] = [*((doctype, None) for doctype in self._types), *self._documents]
        lost = [(doctype, id) for doctype, id in watched if not self._may_watch(doctype, id)]
        self._types -= {doctype for doctype, id in lost if id is None}
        self._documents -= {(doctype, id) for doctype, id in lost if id is not None}
        return tuple(_forbidden(doctype, _source("SUBSCRIBE", doctype, id)) for doctype, id in lost)

    def deliver(self, changes: Sequence[Change]) -> Iterator[Change]:
        """Those of a commit's changes that this client has subscribed to; clients take what is told for data, so an index is not."""
        if not self._types and not self._documents:
            return
        for change in changes:
            ref = change.new.ref
            is_watched = ref.doctype in self._types or (ref.doctype, ref.id) in self._documents
            if is_watched and not ref.id.startswith("_design/"):
                yield change

    def tick(self, now: datetime) -> None:
        """Time passes: no token came in time."""
        if self._principal is None and now - self._opened > TOKEN_WITHIN:
            self.closing = POLICY_VIOLATION

    def _first(self, asked: dict[str, Any], *, valid: bool) -> Sequence[bytes]:
        method = asked.get("method", "")
        payload = asked.get("payload", "")
        if not isinstance(method, str) or method.upper() != "AUTH" or not isinstance(payload, str):
            self.closing = POLICY_VIOLATION
            shown = method if isinstance(method, str) else ""
            source = {"method": shown, "payload": payload if isinstance(payload, str) else ""} if valid else None
            return (_error("405 Method Not Allowed", "method not allowed", f"The {shown} method is not supported", source),)
        try:
            self._principal = self._door.authenticate(payload)
        except CozyError:
            return self._refuse(method)
        self._token = payload
        return ()

    def _refuse(self, method: str) -> Sequence[bytes]:
        self.closing = POLICY_VIOLATION
        self._types, self._documents = set(), set()
        source = {"method": method, "payload": ""}  # a token is not repeated
        return (_error("401 Unauthorized", "unauthorized", "The authentication has failed", source),)

    def _subscription(self, method: str, payload: dict[str, Any]) -> Sequence[bytes]:
        doctype, id = payload.get("type") or "", payload.get("id") or None
        source = _source(method, doctype, id)
        if method.upper() not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return (_error("405 Method Not Allowed", "method not allowed", f"The {method} method is not supported", source),)
        if not doctype:
            return (_error("404 Page Not Found", "page not found", "The type parameter is mandatory for SUBSCRIBE", source),)
        if not self._may_watch(doctype, id):
            return (_forbidden(doctype, source),)
        if method.upper() == "SUBSCRIBE":
            self._subscribe(doctype, id)
        else:
            self._unsubscribe(doctype, id)
        return ()

    def _may_watch(self, doctype: str, id: str | None) -> bool:
        assert self._principal is not None
        if doctype in WITHOUT_PERMISSION or doctype in NEVER_TOLD:
            return doctype in WITHOUT_PERMISSION
        asked = "io.cozy.settings.instance" if (doctype, id) == PASSPHRASE else id
        return self._door.may_watch(self._principal, doctype, asked)

    def _subscribe(self, doctype: str, id: str | None) -> None:
        if id is None:
            self._types.add(doctype)
        else:
            self._documents.add((doctype, id))

    def _unsubscribe(self, doctype: str, id: str | None) -> None:
        if id is not None:
            self._documents.discard((doctype, id))
            return
        self._types.discard(doctype)
        self._documents = {one for one in self._documents if one[0] != doctype}


def event_text(change: Change) -> bytes:
    """The message that tells a change; private data is not in a document's text."""
    ref = change.new.ref
    doc = change.new.render() if change.new.rev else jsons.splice(change.new.text, {"_id": ref.id})
    if ref.doctype in SECRETS:
        doc = jsons.dump({name: value for name, value in jsons.load_object(doc).items() if name not in SECRETS[ref.doctype]})
    head = jsons.dump({"event": change.verb, "payload": {"type": ref.doctype, "id": ref.id}})
    return head[:-2] + b',"doc":' + doc + b"}}\n"


def _is_subscription(method: Any, payload: Any) -> bool:
    """Whether each part is of its type; one that is not there is as if it was empty."""
    parts = [method, *(payload.get(name) for name in ("type", "id"))] if isinstance(payload, dict) else [method]
    return isinstance(payload, dict | None) and all(isinstance(part, str | None) for part in parts)


def _source(method: str, doctype: str, id: str | None) -> dict[str, Any]:
    return {"method": method, "payload": {"type": doctype, "id": id or ""}}


def _forbidden(doctype: str, source: Any) -> bytes:
    return _error("403 Forbidden", "forbidden", f"The application can't subscribe to {doctype}", source)


def _error(status: str, code: str, title: str, source: Any) -> bytes:
    return jsons.dump({"event": "error", "payload": {"status": status, "code": code, "title": title, "source": source}}) + b"\n"
