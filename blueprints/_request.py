"""What a view may ask about its request, and how a route declares who may call it.

A route is declared with its access: `@service.get("/<id>", access=rule("GET", "io.cozy.files"))`. One without an
access fails when the application is made, so nothing is open by mistake (docs/architecture.md, section 9).
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from flask import Blueprint, request

from cozyd import jsons
from cozyd.auth import Auth, Credentials
from cozyd.auth.passkeys import Place
from cozyd.auth.values import basic_of
from cozyd.documents.store import Doc, Stored
from cozyd.errors import BadRequest, BadToken, CozyError, Forbidden, Unauthorized
from cozyd.instance import Instance
from cozyd.permissions import Action, Principal

ErrorShape = Literal["jsonapi", "data", "couchdb", "page", "oauth", "rights", "accept"]
LARGEST_NUMBER = 2**31 - 1
"""What a number of a query may be where nothing else is said: stores take no endless ones."""
SESSION_COOKIE = "cozysessid"
KNOWN_COOKIE = "cozyknown"
BY_COOKIE = "cozyd.by-cookie"
"""In the environ of a request that her session cookie alone opens: no other origin reads what it is answered."""
_FLAT_LOCAL = re.compile(r"https?://[a-z0-9-]+\.localhost(:[0-9]+)?$")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a route: a name for the authorization table, and the check made before the view runs."""

    name: str
    check: Callable[[], None]


def instance() -> Instance:
    """The tenant of this request."""
    found: Instance = request.environ["cozyd.instance"]
    return found


def credentials() -> Credentials:
    """What the request shows of who is asking: bearer token (header, Basic password, or query), cookie, address."""
    environ = request.environ
    scheme, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    scheme = scheme.lower()
    bearer, basic = None, None
    if scheme == "bearer":
        bearer = value.strip()
    elif scheme == "basic":
        basic = basic_of(value)
        bearer = basic[1] if basic else None
    elif environ.get("QUERY_STRING"):
        bearer = request.args.get("bearer_token") or request.args.get("sharecode")
    cookies = request.cookies if "HTTP_COOKIE" in environ else {}
    passes = {name: value for name, value in cookies.items() if name.startswith("pass")} if cookies else {}
    address, agent = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_USER_AGENT", "")
    return Credentials(bearer, basic, cookies.get(SESSION_COOKIE), address, agent, passes, cookies.get(KNOWN_COOKIE, ""))


def principal() -> Principal:
    """Who is asking, by token; the session cookie alone is nobody here, as it travels with forged requests too.

    :raises Unauthorized: no token in the request.
    :raises BadToken: it is wrong or expired.
    """
    environ = request.environ
    known: Principal | None = environ.get("cozyd.principal")
    if known is None:
        known = environ["cozyd.principal"] = _identify(environ)
    return known


def _identify(environ: Mapping[str, Any]) -> Principal:
    shown = credentials()
    auth: Auth = environ["cozyd.instance"].auth
    if shown.bearer:
        session = shown.session or ("" if _sends_cookies(environ) else None)
        return auth.identify(Credentials(shown.bearer, None, session, shown.address, shown.agent, shown.passes))
    invitation = request.args.get("registerToken") if environ.get("QUERY_STRING") else None
    if invitation:
        with suppress(BadToken):  # one that is over is none
            return auth.register_principal(invitation)
    return auth.identify(Credentials())


def _sends_cookies(environ: Mapping[str, Any]) -> bool:
    """Whether an app's page can have its requests carry the cookie: to browsers, flat hosts below `localhost` are other sites.

    Where it can, an app's token needs the cookie of its own session beside it.
    """
    return not _FLAT_LOCAL.match(environ.get("HTTP_ORIGIN", ""))


def logged_in() -> Principal | None:
    """The owner, when the request carries her session cookie."""
    shown = credentials()
    if not shown.session:
        return None
    try:
        return instance().auth.identify(Credentials(session=shown.session, address=shown.address, agent=shown.agent))
    except CozyError:
        return None


def place() -> Place:
    """Where the browser is, as it tells a passkey."""
    return Place(request.host.partition(":")[0], f"{request.scheme}://{request.host}")


def allow(action: Action, doctype: str, doc: Stored | Doc | None = None, *, above: Sequence[Stored] = ()) -> None:
    """Ask the principal's rules; no document = the whole type.

    :raises Forbidden: no rule allows it.
    """
    principal().check(action, doctype, doc, above=above)


def body_bytes() -> bytes:
    """The whole body; the server has capped its length already."""
    data: bytes = request.environ["wsgi.input"].read(request.content_length or -1)
    return data


def body() -> Doc:
    """The body as a JSON object.

    :raises BadRequest: it is none.
    """
    return jsons.load_object(body_bytes())


def number(name: str, default: int | None, *, low: int = 0, high: int | None = None) -> int | None:
    """A whole number from the query.

    :raises BadRequest: it is none, or out of bounds.
    """
    text = request.args.get(name)
    if text is None or text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        raise BadRequest(f"{name} must be a number", source=name) from None
    if not low <= value <= (LARGEST_NUMBER if high is None else high):
        raise BadRequest(f"{name} is out of bounds", source=name)
    return value


def flag(name: str) -> bool:
    """A boolean from the query: `true` or `1`."""
    return bool(request.environ.get("QUERY_STRING")) and request.args.get(name, "").lower() in ("true", "1")


def same_secret(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def _owner() -> None:
    found = logged_in()
    request.environ[BY_COOKIE] = True
    if found is None:
        raise Unauthorized("You are not logged in")
    request.environ["cozyd.principal"] = found


def _known() -> None:
    principal()


public = Access("public", lambda: None)
"""Anybody, even without a token."""
known = Access("known", _known)
"""Any valid token."""
by_secret = Access("secret", lambda: None)
"""Who has a secret that the view itself asks for: a registration token, a client's secret, a code, a link's password."""
owner = Access("owner", _owner)
"""The owner's session cookie; browsers without one are sent to the login page."""


def refusing(access: Access) -> Access:
    """The same, where who is not known is refused as who may not, as in the reference."""

    def check() -> None:
        try:
            access.check()
        except (Unauthorized, BadToken):
            raise Forbidden from None

    return Access(access.name, check)


def rule(action: Action, doctype: str) -> Access:
    """The whole doctype with this verb."""
    return Access(f"{action} {doctype}", lambda: allow(action, doctype))


def asks(action: Action) -> Access:
    """A valid token; the view itself asks with the doctype or document it finds, before any byte of it leaves."""
    return Access(f"asks {action}", _known)


class Service(Blueprint):
    """A blueprint whose routes declare their access and whose errors have one shape.

    :param errors: how its errors are written: JSON:API (`rights`: but for refusals), the two shapes of `/data`, OAuth's, by what the client
        accepts, or a page.
    """

    def __init__(self, name: str, import_name: str, *, errors: ErrorShape = "jsonapi", **options: Any) -> None:
        super().__init__(name, import_name, **options)
        self.errors: ErrorShape = errors
        self.table: list[tuple[str, tuple[str, ...], str]] = []

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Any = None,
        provide_automatic_options: bool | None = None,
        *,
        access: Access | None = None,
        **options: Any,
    ) -> None:
        """As flask's, with `access` required.

        :raises TypeError: the route has none.
        """
        if access is None or view_func is None:
            raise TypeError(f"route {self.name} {rule} has no access")
        endpoint = endpoint or view_func.__name__
        if f"{self.url_prefix or ''}{rule}".startswith("/auth/"):  # other origins are told what a route of its own says
            provide_automatic_options = False
        self.table.append((rule, tuple(options.get("methods") or ("GET",)), access.name))
        super().add_url_rule(rule, endpoint, _guarded(view_func, access), provide_automatic_options, **options)


@cache
def _guarded(view: Callable[..., Any], access: Access) -> Callable[..., Any]:
    if access in (public, by_secret):
        return view
    check = access.check

    def guarded(**arguments: Any) -> Any:
        check()
        return view(**arguments)

    guarded.__name__ = view.__name__
    return guarded


def single(args: Mapping[str, str], allowed: frozenset[str]) -> None:
    """Refuse query parameters that a strict route does not know.

    :raises BadRequest: the first unknown one, by name.
    """
    for name in args:
        if name not in allowed:
            raise BadRequest(f"Unsupported query parameter '{name}'")
