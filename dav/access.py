"""Who asks a DAV mount, and how errors are told there (RFC 4918, RFC 4791, RFC 6352, RFC 6578)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from cozyd.auth.values import Credentials, basic_of
from cozyd.errors import (
    BadRequest,
    BadToken,
    Conflict,
    CozyError,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    QuotaExceeded,
    SeqGone,
    UidTaken,
    Unauthorized,
)
from cozyd.instance import Instance
from cozyd.neighbours import Locate
from cozyd.permissions import Action, Principal
from cozyd.pim import Collection
from dav.shelves import Shelves

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
Headers = Sequence[tuple[str, str]]

XML = "application/xml; charset=utf-8"
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r")
"""Characters that no XML 1.0 has; U+FFFE and U+FFFF are not in it either."""
_NAMESPACES = {
    "C": "urn:ietf:params:xml:ns:caldav",
    "CR": "urn:ietf:params:xml:ns:carddav",
    "D": "DAV:",
    "P": "https://bitfire.at/webdav-push",
}
_PRECONDITIONS: Mapping[str, Sequence[str]] = {
    "invalid-subscription": ("P:invalid-subscription",),
    "push-not-available": ("P:push-not-available",),
    "no-supported-trigger": ("P:no-supported-trigger",),
    "valid-calendar-data": ("C:valid-calendar-data",),
    "valid-calendar-object-resource": ("C:valid-calendar-object-resource", "C:valid-calendar-data"),
    "supported-calendar-component": ("C:supported-calendar-component",),
    "calendar-collection-location-ok": ("C:calendar-collection-location-ok",),
    "resource-must-be-null": ("D:resource-must-be-null",),
    "max-instances": ("C:max-instances",),
    "valid-timezone": ("C:valid-timezone",),
    "valid-address-data": ("CR:valid-address-data",),
    "lock-token-matches-request-uri": ("D:lock-token-matches-request-uri",),
    "valid-sync-token": ("D:valid-sync-token",),
    "valid-resourcetype": ("D:valid-resourcetype",),
    "need-privileges": ("D:need-privileges",),
    "propfind-finite-depth": ("D:propfind-finite-depth",),
    "supported-report": ("D:supported-report",),
    "number-of-matches-within-limits": ("D:number-of-matches-within-limits",),
    "cannot-modify-protected-property": ("D:cannot-modify-protected-property",),
}
_BY_KIND: Mapping[str, tuple[str, str]] = {
    "no-uid-conflict": ("C:no-uid-conflict", "CR:no-uid-conflict"),
    "max-resource-size": ("C:max-resource-size", "CR:max-resource-size"),
    "valid-filter": ("C:valid-filter", "CR:valid-filter"),
    "supported-filter": ("C:supported-filter", "CR:supported-filter"),
    "supported-collation": ("C:supported-collation", "CR:supported-collation"),
    "supported-data": ("C:supported-calendar-data", "CR:supported-address-data"),
}
_REASONS: Mapping[int, str] = {
    200: "OK",
    201: "Created",
    204: "No Content",
    206: "Partial Content",
    207: "Multi-Status",
    301: "Moved Permanently",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    423: "Locked",
    502: "Bad Gateway",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}


@dataclass
class Visit:
    """One request of a DAV client: whose data, and who asks."""

    instance: Instance
    principal: Principal
    locate: Locate

    @cached_property
    def pim(self) -> Shelves:
        """Address books and calendars: her own, and those that others share with her."""
        return Shelves(self.instance, self.locate)

    def may(self, action: Action, doctype: str) -> bool:
        """Whether the whole doctype is allowed."""
        try:
            self.principal.check(action, doctype)
        except Forbidden:
            return False
        return True

    @cached_property
    def collections(self) -> Mapping[str, Collection]:
        """The address books and calendars it may read, by id."""
        return {one.id: one for one in self.pim.collections() if self.reads(one)}

    def collection(self, id: str) -> Collection:
        """One of them.

        :raises NotFound: there is none, or it may not be read.
        """
        found = self.pim.collection(id)
        if not self.reads(found):
            raise NotFound("There is no such collection")
        return found

    def reads(self, collection: Collection) -> bool:
        """Whether it may read what is in a collection."""
        return all(self.may("GET", doctype) for doctype in collection.doctypes)

    def writes(self, collection: Collection, action: Action = "PUT") -> bool:
        """Whether it may add (POST), change (PUT) or remove (DELETE) what is in a collection."""
        return not collection.read_only and self.manages(collection, action)

    def manages(self, collection: Collection, action: Action = "PUT") -> bool:
        """Whether it may change the collection itself, its name, its color; or remove it."""
        return all(self.may(action, doctype) for doctype in collection.components.values())


def admit(environ: Environ) -> Visit:
    """Identify the sender.

    :raises Unauthorized, BadToken, TooManyRequests: nobody known.
    """
    refused: CozyError | None = environ.get("cozyd.refused")
    if refused is not None:
        raise refused
    instance: Instance = environ["cozyd.instance"]
    principal = instance.auth.identify(credentials(environ))
    environ["cozyd.principal"] = principal
    return Visit(instance, principal, environ["cozyd.stack"].instance)


def credentials(environ: Environ) -> Credentials:
    """Basic (a device password; the user name is not compared) or Bearer; never a cookie."""
    scheme, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    address, agent = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_USER_AGENT", "")
    if scheme.lower() == "bearer":
        return Credentials(bearer=value.strip(), address=address, agent=agent)
    return Credentials(basic=basic_of(value) if scheme.lower() == "basic" else None, address=address, agent=agent)


def answer(start_response: StartResponse, status: int, headers: Headers = (), body: bytes = b"") -> Iterable[bytes]:
    """A response; what XML has no way to write is left out of one that is XML, as any name may have it in it."""
    if ("Content-Type", XML) in headers:
        body = body.translate(None, _CONTROLS).replace(b"\xef\xbf\xbe", b"").replace(b"\xef\xbf\xbf", b"")
    start_response(
        f"{status} {_REASONS.get(status, 'Unknown')}", [*headers, ("Content-Length", str(len(body)))] if status != 304 else list(headers)
    )
    return [body]


def refuse(error: CozyError, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """An error as a DAV client expects it, with the preconditions' names where there are some."""
    status, names = _status(error, environ), _preconditions(error, environ)
    headers: list[tuple[str, str]] = []
    if status == 401:
        headers.append(("WWW-Authenticate", 'Basic realm="cozyd", charset="UTF-8"'))
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    if isinstance(error, MethodNotAllowed) and error.allow:
        headers.append(("Allow", error.allow))
    if environ.get("REQUEST_METHOD") == "HEAD":
        return answer(start_response, status, headers)
    if not names:
        return answer(start_response, status, [*headers, ("Content-Type", "text/plain; charset=utf-8")], (error.detail + "\n").encode())
    prefixes = {name.partition(":")[0] for name in names} - {"D"}
    own = "".join(f' xmlns:{prefix}="{_NAMESPACES[prefix]}"' for prefix in sorted(prefixes))
    inner = "".join(_precondition(name, error, environ) for name in names) + f"<!-- {_comment(error.detail)} -->"
    body = f'<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:"{own}>{inner}</D:error>'
    return answer(start_response, status, [*headers, ("Content-Type", XML)], body.encode())


def _precondition(name: str, error: CozyError, environ: Environ) -> str:
    """A precondition's element; that a UID is taken tells by whom (RFC 4791, section 5.3.2.1)."""
    if not isinstance(error, UidTaken) or "cozyd.place" not in environ:
        return f"<{name}/>"
    return f"<{name}><D:href>{quote(environ['cozyd.place'] + error.href)}</D:href></{name}>"


def _comment(text: str) -> str:
    """Text that ends no comment: no hyphen follows another."""
    return escape(re.sub("-(?=-)", "- ", text))


def _status(error: CozyError, environ: Environ) -> int:
    if isinstance(error, Unauthorized | BadToken):
        return 401
    if isinstance(error, QuotaExceeded) or error.source == "number-of-matches-within-limits":
        return 507
    if isinstance(error, SeqGone):
        return 403
    if isinstance(error, Invalid):
        return 403 if error.source in _PRECONDITIONS or error.source in _BY_KIND else 400
    if isinstance(error, Conflict) and ("HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ):
        return 412
    return error.status


def _preconditions(error: CozyError, environ: Environ) -> Sequence[str]:
    if isinstance(error, SeqGone):
        return ("D:valid-sync-token",)
    if error.source in _BY_KIND:
        calendar, book = _BY_KIND[error.source]
        return (book if environ.get("cozyd.collection_kind") == "book" else calendar,)
    return _PRECONDITIONS.get(error.source, ())


def utf8_path(environ: Environ) -> str:
    """PATH_INFO as text: PEP 3333 hands it over as Latin-1.

    :raises BadRequest: it is not UTF-8.
    """
    try:
        found: str = environ.get("PATH_INFO", "").encode("latin-1").decode()
    except UnicodeError as cause:
        raise BadRequest("The path is not UTF-8") from cause
    return found
