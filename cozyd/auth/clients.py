"""OAuth clients: dynamic registration (RFC 7591, RFC 7592) in the shapes of the reference (docs/http/oauth.md).

A client is one document of `io.cozy.oauth.clients`; without it none of its tokens is good, from the next request on.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import BadRequest, Conflict, NotFound
from cozyd.files.tree import write_time

CLIENTS = "io.cozy.oauth.clients"
REGISTRY = "registry://"
PENDING_FOR = timedelta(hours=1)
MOST_REDIRECTS, LONGEST_TEXT = 32, 2048

_GRANT_TYPES = ["authorization_code", "refresh_token"]
_RESPONSE_TYPES = ["code"]
_PLATFORMS = frozenset(("", "firebase", "apns", "huawei", "android", "ios", "webpush"))
_TEXTS = (
    "client_name",
    "client_kind",
    "client_uri",
    "logo_uri",
    "policy_uri",
    "software_id",
    "software_version",
    "notification_platform",
    "notification_device_token",
)
_KEPT = ("allow_login_scope", "flagship", "certified_from_store", "pending", "client_os", "synchronized_at", "last_refreshed_at")
"""What a client cannot change itself, and does not lose when it registers anew."""
_SCRIPTING = frozenset(("javascript", "data", "vbscript", "file", "blob", "about", "view-source", "filesystem"))
_NUMBER = re.compile(r"[0-9]{1,9}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client, with the answers that Authlib's grants ask of one."""

    stored: Stored

    @property
    def id(self) -> str:
        """The client id."""
        return self.stored.ref.id

    @property
    def name(self) -> str:
        """What it calls itself."""
        return str(self.stored.doc.get("client_name", ""))

    @property
    def is_public(self) -> bool:
        """Whether it keeps no secret: its refresh tokens rotate, and PKCE is required."""
        return self.stored.doc.get("token_endpoint_auth_method") == "none"

    @property
    def linked_app(self) -> str:
        """The slug of the app whose permissions it has, empty for most."""
        return _linked(str(self.stored.doc.get("software_id", "")))

    @property
    def slug(self) -> str:
        """The name under which documents say what it changed; empty for most. The desktop and flagship apps are linked to no app."""
        if self.linked_app:
            return self.linked_app
        if "cozy-desktop" in str(self.stored.doc.get("software_id", "")):
            return "cozy-desktop"
        return "cozy-flagship" if self.stored.doc.get("flagship") is True else ""

    @property
    def version(self) -> str:
        """The version of its software, empty when it does not say."""
        return str(self.stored.doc.get("software_version", ""))

    @property
    def about(self) -> Mapping[str, str]:
        """What a file says of the client that sent it."""
        return {"id": self.id, "kind": str(self.stored.doc.get("client_kind", "")), "name": self.name}

    def get_client_id(self) -> str:
        """Asked by Authlib."""
        return self.id

    def get_default_redirect_uri(self) -> None:
        """None: each request names one."""

    def get_allowed_scope(self, scope: str) -> str:
        """Any: the owner decides."""
        return scope

    def check_redirect_uri(self, uri: str) -> bool:
        """Exactly one of those it registered (RFC 9700, section 2.1)."""
        return uri in self.stored.doc.get("redirect_uris", ())

    def check_client_secret(self, secret: str) -> bool:
        """In constant time."""
        return hmac.compare_digest(secret.encode(), str(self.stored.doc.get("client_secret", "")).encode()) and not self.is_public

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        """How it shows who it is: by its secret in the form, or not at all."""
        return method == ("none" if self.is_public else "client_secret_post")

    def check_response_type(self, response_type: str) -> bool:
        """`code` is the only one."""
        return response_type in _RESPONSE_TYPES

    def check_grant_type(self, grant_type: str) -> bool:
        """Codes and refresh tokens."""
        return grant_type in _GRANT_TYPES


class Clients:
    """The clients of one instance.

    :param hosts: the host names of the instance: no redirect may lead there.
    """

    def __init__(self, docs: Documents, hosts: Callable[[], frozenset[str]], now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._hosts = hosts
        self._now = now

    def get(self, id: str) -> Client:
        """A client by id; one that nobody gave a code within an hour is gone.

        :raises NotFound: there is none.
        """
        stored = self._docs.get(Ref(CLIENTS, id))
        if stored.doc.get("pending") is True and self._is_late(stored):
            raise NotFound
        return Client(stored)

    def all(self) -> list[Client]:
        """Every client, by id."""
        try:
            found = self._docs.all(CLIENTS).rows
        except NotFound:
            return []
        return [Client(stored) for stored in found if not stored.ref.id.startswith("_design/")]

    def page(self, *, after: str = "", limit: int) -> list[Client]:
        """Some clients by id, those behind one of them.

        :param after: an id; empty: from the first one.
        """
        return [client for client in self.all() if client.id > after][:limit]

    def register(self, given: Mapping[str, Any], *, allow_login_scope: bool = False) -> Client:
        """Make a client; it is pending until the owner lets it in.

        :param given: RFC 7591's metadata; what is unknown is ignored.
        :raises BadRequest: as `_metadata`.
        """
        self.purge()
        doc = self._metadata(given)
        doc |= {"client_name": self._free_name(doc["client_name"]), "pending": True, "cozyMetadata": self._stamp(doc)}
        if given.get("token_endpoint_auth_method") == "none":
            doc["token_endpoint_auth_method"] = "none"  # noqa: S105
        else:
            doc["client_secret"] = secrets.token_urlsafe(24)
        if allow_login_scope:
            doc["allow_login_scope"] = True
        return Client(self._docs.put(CLIENTS, doc | {"_id": secrets.token_hex(16)}))

    def update(self, client: Client, given: Mapping[str, Any]) -> Client:
        """Replace a client's metadata; optional fields that are left out are erased, the current secret is exchanged for a new one.

        :raises BadRequest: as `_metadata`; another client id, another secret, a link to an app that the owner was not asked about.
        :raises Conflict: it changed meanwhile.
        """
        old = client.stored.doc
        if given.get("client_id") != client.id:
            raise BadRequest("client_id is mandatory", error="invalid_client_id")
        doc = self._metadata(given)
        _check_link(client, doc)
        doc |= {name: old[name] for name in _KEPT if name in old} | self._credentials(client, given.get("client_secret") or "")
        if doc["client_name"] != client.name:
            doc["client_name"] = self._free_name(doc["client_name"])
        doc["cozyMetadata"] = dict(old.get("cozyMetadata") or self._stamp(doc)) | {"updatedAt": write_time(self._now())}
        return Client(self._docs.put(CLIENTS, doc | {"_id": client.id, "_rev": client.stored.rev}))

    def note(self, client: Client, **fields: Any) -> Client:
        """Change some fields; `...` removes one. Somebody else's change meanwhile is kept."""

        def write() -> Client:
            stored = self._docs.get(client.stored.ref)
            return Client(self._docs.commit([Write(stored.ref, patch=fields, rev=stored.rev)])[0].made)

        return self._docs.retry(write)

    def refreshed(self) -> Doc:
        """What to note of a client that got tokens just now."""
        return {"last_refreshed_at": write_time(self._now())}

    def synchronized(self, id: str) -> None:
        """A client told that it is up to date.

        :raises NotFound: there is none.
        """
        self.note(self.get(id), synchronized_at=write_time(self._now()))

    def remove(self, client: Client) -> None:
        """Forget a client, and with it all its tokens."""
        try:
            stored = self._docs.get(client.stored.ref)
            self._docs.delete(stored.ref, stored.rev)
        except NotFound:
            return

    # -- inside -----------------------------------------------------------------------------------------------------

    def _metadata(self, given: Mapping[str, Any]) -> Doc:
        """What is kept of what a client says about itself.

        :raises BadRequest: with RFC 7591's `invalid_redirect_uri`, `invalid_client_metadata` or `unapproved_software_id`.
        """
        doc: Doc = {"redirect_uris": self._redirects(given.get("redirect_uris"))}
        for name in _TEXTS:
            text = given.get(name) or ""
            if not isinstance(text, str) or len(text) > LONGEST_TEXT:
                raise _bad_metadata(f"{name} is invalid")
            if text:
                doc[name] = text
        for name in ("client_name", "software_id"):
            if not doc.get(name, "").strip():
                raise _bad_metadata(f"{name} is mandatory")
        for name in ("client_uri", "logo_uri", "policy_uri"):
            if urlsplit_or_none(doc.get(name, "")) in (None, *_SCRIPTING):
                raise _bad_metadata(f"{name} is invalid")
        _check_notifications(doc, given)
        _check_software(doc["software_id"])
        return doc | {"grant_types": _GRANT_TYPES, "response_types": _RESPONSE_TYPES, "client_secret_expires_at": 0}

    def _redirects(self, given: Any) -> list[str]:
        if not given or not isinstance(given, list):
            raise BadRequest("redirect_uris is mandatory", error="invalid_redirect_uri")
        for uri in given:
            if not self._is_redirect(uri) or len(given) > MOST_REDIRECTS:
                raise BadRequest(f"{uri} is invalid", error="invalid_redirect_uri")
        return list(given)

    def _is_redirect(self, uri: Any) -> bool:
        """Any scheme but those that run script or read files, no fragment, no user name, and not this instance itself."""
        if not isinstance(uri, str) or len(uri) > LONGEST_TEXT or not uri.isascii() or not uri.isprintable() or " " in uri or "\\" in uri:
            return False
        try:
            parts = urlsplit(uri)
            host = parts.netloc.lower()
            _ = parts.port
        except ValueError:
            return False
        if not _SCHEME.fullmatch(parts.scheme) or parts.scheme in _SCRIPTING or "#" in uri or "@" in host:
            return False
        is_web = parts.scheme in ("http", "https")
        return host not in self._hosts() and (bool(parts.hostname) or not is_web)

    @staticmethod
    def _credentials(client: Client, given: Any) -> Doc:
        if client.is_public:
            return {"token_endpoint_auth_method": "none"}
        if not given:
            return {"client_secret": client.stored.doc["client_secret"]}
        if not isinstance(given, str) or not client.check_client_secret(given):
            raise BadRequest("client_secret is invalid", error="invalid_client_secret")
        return {"client_secret": secrets.token_urlsafe(24)}

    def _free_name(self, name: str) -> str:
        """The name; when another client has it, with the number behind the highest in use: `name-2`, `name-3`..."""
        taken = {client.name for client in self.all()}
        if name not in taken:
            return name
        numbers = [one.removeprefix(f"{name}-") for one in taken if one.startswith(f"{name}-")]
        return f"{name}-{max([1, *(int(text) for text in numbers if _NUMBER.fullmatch(text))]) + 1}"

    def _stamp(self, doc: Mapping[str, Any]) -> Doc:
        now = write_time(self._now())
        stamp: Doc = {"doctypeVersion": "1", "metadataVersion": 1, "createdAt": now, "updatedAt": now}
        software = str(doc["software_id"])
        if software.startswith(REGISTRY):
            stamp["createdByApp"] = software.removeprefix(REGISTRY)
            if doc.get("software_version"):
                stamp["createdByAppVersion"] = doc["software_version"]
        return stamp

    def _is_late(self, stored: Stored) -> bool:
        made = (stored.doc.get("cozyMetadata") or {}).get("createdAt", "")
        try:
            return self._now() - datetime.fromisoformat(made) > PENDING_FOR
        except (TypeError, ValueError):
            return False

    def purge(self) -> None:
        """Drop clients that registered and never came back."""
        for client in self.all():
            if client.stored.doc.get("pending") is True and self._is_late(client.stored):
                try:
                    self._docs.delete(client.stored.ref, client.stored.rev)
                except (Conflict, NotFound):
                    continue


def shown(client: Client) -> Doc:
    """A client as RFC 7591 writes it: its id, without the document's own."""
    doc = {name: value for name, value in client.stored.doc.items() if name not in ("_id", "_rev")}
    return {"client_id": client.id} | doc


def urlsplit_or_none(text: str) -> str | None:
    """The scheme of an address, None when it is none."""
    try:
        return urlsplit(text).scheme
    except ValueError:
        return None


def _check_software(software: str) -> None:
    """A client linked to an app has what that app has: it must be none that can do too much."""
    if software in (f"{REGISTRY}store", f"{REGISTRY}settings"):
        raise BadRequest("Link with store/settings is forbidden", error="unapproved_software_id")


def _check_link(client: Client, doc: Doc) -> None:
    """A client that is let in stays what the owner was shown: linked to another app, it would have what that has, and act as that."""
    linked = _linked(str(doc["software_id"]))
    if linked and linked != client.linked_app and client.stored.doc.get("pending") is not True:
        raise BadRequest("The owner has to be asked anew: register another client", error="unapproved_software_id")


def _linked(software: str) -> str:
    return software.removeprefix(REGISTRY) if software.startswith(REGISTRY) else ""


def _check_notifications(doc: Doc, given: Mapping[str, Any]) -> None:
    platform = str(doc.get("notification_platform", "")).lower()
    if platform not in _PLATFORMS:
        raise _bad_metadata("notification_platform is invalid")
    if platform:
        doc["notification_platform"] = platform
    notifications = given.get("notifications") or {}
    if not isinstance(notifications, dict):
        raise _bad_metadata("notifications is invalid")
    if notifications:
        doc["notifications"] = notifications


def _bad_metadata(why: str) -> BadRequest:
    return BadRequest(why, error="invalid_client_metadata")
