"""`/settings`: the owner's settings, what clients ask about the instance (docs/http/settings.md)."""

import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from blueprints import _consent, _jsonapi, _warnings
from blueprints._answers import redirect
from blueprints._request import (
    Access,
    Service,
    allow,
    asks,
    body,
    body_bytes,
    credentials,
    flag,
    instance,
    known,
    logged_in,
    principal,
    public,
    rule,
)
from blueprints._targets import target
from cozyd.auth.clients import CLIENTS, Client
from cozyd.errors import BadRequest, BadToken, CozyError, Forbidden, Invalid, Moved, NotFound, TooLarge, Unauthorized
from cozyd.permissions import FILES, Principal
from cozyd.settings import INSTANCE
from cozyd.settings.avatar import LARGEST

service = Service("settings", __name__, url_prefix="/settings")

TYPE = "io.cozy.settings"
LINKS = 10
"""How many mails with links are sent in an hour."""
CLIENTS_SHOWN, MOST_CLIENTS_SHOWN = 100, 1000
_CREDENTIALS = frozenset(("_id", "_rev", "client_secret", "registration_access_token", "notification_device_token"))


def _known_or_forbidden() -> None:
    try:
        principal()
    except (Unauthorized, BadToken):
        raise Forbidden from None


known_or_forbidden = Access("known", _known_or_forbidden)
"""Any valid token; nobody is forbidden rather than unauthorized here."""


@service.get("/instance", access=known)
def read_instance() -> Response:
    """The instance settings."""
    return _instance()


@service.put("/instance", access=asks("PUT"))
def write_instance() -> Response:
    """Replace the instance settings; what the caller may not change stays as it is."""
    settings = instance().settings
    allow("PUT", TYPE, settings.document() | {"_id": INSTANCE.id})
    attributes, rev = _jsonapi.attributes_of(body())
    settings.replace(attributes, rev, operator=principal().kind == "cli")
    return _instance()


@service.get("/disk-usage", access=asks("GET"))
def disk_usage() -> Response:
    """What her files take, in bytes as text; for the bar of every app, and for who may add files."""
    _check_disk_usage(principal())
    files = instance().files
    kept, versions, trashed = files.usages()
    quota = instance().quota()
    found: dict[str, Any] = {"used": str(files.usage()[0])}
    if quota is not None:
        found["quota"] = str(quota)
    found["files"] = str(kept)
    if request.args.get("include") == "trash":
        found["trash"] = str(trashed)
    return _one("disk-usage", found | {"versions": str(versions)})


def _check_disk_usage(asking: Principal) -> None:
    if asking.may("POST", FILES) or (asking.kind == "app" and logged_in() is not None):
        return
    asking.check("GET", TYPE, {"_id": f"{TYPE}.disk-usage"})


@service.get("/clients-usage", access=asks("GET"))
def clients_usage() -> Response:
    """How many devices are connected."""
    allow("GET", TYPE, {"_id": f"{TYPE}.clients-usage"})
    usage = instance().settings.clients_usage()
    limit = {} if usage.limit is None else {"limit": usage.limit}
    return _one("clients-usage", limit | {"count": usage.count, "limitReached": usage.reached, "limitExceeded": usage.exceeded})


@service.get("/capabilities", access=known)
def capabilities() -> Response:
    """What this server can do."""
    return _one("capabilities", instance().settings.capabilities())


@service.get("/context", access=known_or_forbidden)
def context() -> Response:
    """What the operator tells every application."""
    return _one("context", instance().settings.context())


@service.get("/flags", access=known_or_forbidden)
def flags() -> Response:
    """The feature flags, with where they come from."""
    found = instance().settings.flags()
    included = None
    if request.args.get("include"):
        included = [_resource(id, "flags", values) for id, values in found.sources]
    return _jsonapi.answer(_resource(f"{TYPE}.flags", "flags", found.values), included=included)


@service.get("/external-ties", access=public)
def external_ties() -> Response:
    """Whether something outside keeps her from leaving: nothing does."""
    if logged_in() is None and not _is_app():
        raise Forbidden
    return _one("external-ties", {"has_blocking_subscription": False}, at="capabilities")


@service.get("/premium", access=public)
def premium() -> Response:
    """The way to the service that manages this instance."""
    if logged_in() is None:
        raise Forbidden
    url = instance().settings.manager_url("premium")
    if not url:
        raise NotFound("Nobody manages this instance")
    return redirect(url, 301)


def _known_or_moved() -> None:
    with contextlib.suppress(Moved):
        principal()


@service.get("/warnings", access=Access("known", _known_or_moved))
def warnings() -> Response:
    """What she should know: she moved, or the terms of service changed. Nothing is the usual case, and 404."""
    found = _warnings.listed(instance())
    return _jsonapi.errors_answer(found, int(found[0]["status"]) if found else 404)


@service.put("/instance/sign_tos", access=known)
def sign_terms() -> Response:
    """She agrees to the latest terms of service."""
    if principal().kind not in ("client", "cli"):
        raise Forbidden
    instance().settings.sign_terms()
    return Response(status=204)


@service.delete("/instance/moved_from", access=public)
def forget_move() -> Response:
    """She has seen where she came from."""
    if logged_in() is None:
        raise Forbidden
    instance().settings.note(moved_from=...)
    return Response(status=204)


@service.post("/email", access=rule("POST", TYPE))
def change_address() -> Response:
    """Change her address: who reads the new one is asked to confirm it."""
    given = body()
    email, passphrase = given.get("email"), given.get("passphrase")
    if not isinstance(email, str) or not isinstance(passphrase, str):
        raise BadRequest("email and passphrase are expected")
    settings = instance().settings
    if settings.keeps_address():
        raise Forbidden("email is managed externally and cannot be changed for this instance")
    _check_passphrase(passphrase)
    settings.address.start(email)
    return Response(status=204)


@service.post("/email/resend", access=rule("POST", TYPE))
def ask_again() -> Response:
    """Send another link to the address that waits."""
    auth = instance().auth
    auth.attempts.limit("address links", LINKS, 3600)
    instance().settings.address.ask_again()
    return Response(status=204)


@service.delete("/email", access=rule("POST", TYPE))
def keep_address() -> Response:
    """Keep the old address."""
    instance().settings.address.cancel()
    return Response(status=204)


@service.post("/instance/deletion", access=known)
def ask_for_deletion() -> Response:
    """Send her a link to the page where she confirms that everything is to be deleted."""
    asking = principal()
    if asking.kind != "app" or asking.id != "settings":
        raise Forbidden
    here = instance()
    if not here.email():
        raise Invalid("There is no address to ask for a confirmation", source="email")
    here.auth.attempts.limit("deletion links", LINKS, 3600)
    token = here.auth.once.make("deletion")
    here.mails.send("account_deletion", {"link": here.url(f"/settings/instance/deletion/confirm?token={token}")})
    return Response(status=204)


@service.get("/clients/limit-exceeded", access=public)
def limit_exceeded() -> Response:
    """A page that says that too many devices are connected; with few enough, on to where she wanted to go."""
    if logged_in() is None:
        raise Unauthorized("Error Must be authenticated")
    wanted = target(request.args.get("redirect"))
    settings = instance().settings
    usage = settings.clients_usage()
    if not usage.exceeded:
        return redirect(wanted, 302)
    return _consent.too_many(usage, settings.manager_url("premium") if _may_buy() else "", new_tab=flag("isFlagship"))


def _may_buy() -> bool:
    """Whether she may be led to where more devices are sold: not from the application of a shop that forbids it."""
    here = instance()
    if here.context.get("enable_premium_links") is not True:
        return False
    return not flag("isFlagship") or (here.settings.flags().values.get("flagship.iap.enabled") is True and flag("isIapAvailable"))


def _check_passphrase(passphrase: str) -> None:
    """:raises BadRequest: it is not hers.
    :raises TooManyRequests: too many were tried.
    """
    auth, seen = instance().auth, credentials()
    auth.attempts.count(seen)
    derived = passphrase if auth.passphrase.is_derived(passphrase) else auth.passphrase.derive(passphrase)
    try:
        auth.check_passphrase(derived, seen)
    except Unauthorized:
        raise BadRequest("Invalid passphrase") from None


@service.put("/avatar", access=rule("PUT", TYPE))
def put_avatar() -> Response:
    """Replace her picture."""
    if (request.content_length or 0) > LARGEST:
        raise TooLarge("Avatar is too big")
    instance().settings.avatar.put(body_bytes())
    return Response(status=204)


@service.delete("/avatar", access=rule("PUT", TYPE))
def remove_avatar() -> Response:
    """Have no picture."""
    instance().settings.avatar.remove()
    return Response(status=204)


@service.get("/clients", access=rule("GET", CLIENTS))
def clients() -> Response:
    """The applications and devices that are connected, a page at a time."""
    asked = request.args.get("page[limit]", "")
    limit = int(asked) if asked.isascii() and asked.isdigit() and 0 < int(asked[:6]) <= MOST_CLIENTS_SHOWN else CLIENTS_SHOWN
    found = instance().auth.clients.page(after=request.args.get("page[cursor]", ""), limit=limit + 1)
    links = {}
    if len(found) > limit:
        named = {"page[cursor]": found[limit - 1].id} | ({"page[limit]": limit} if limit != CLIENTS_SHOWN else {})
        links["next"] = f"/settings/clients?{urlencode(named)}"
    shown = [_client(client) for client in found[:limit]]
    return _jsonapi.answer(shown, links=links, meta={"count": len(shown)})


@service.delete("/clients/<id>", access=rule("DELETE", CLIENTS))
def remove_client(id: str) -> Response:
    """Disconnect one; its tokens are dead from the next request on."""
    auth = instance().auth
    auth.remove_client(auth.clients.get(id))
    return Response(status=204)


def _client_alone() -> None:
    try:
        if principal().kind == "client":
            return
    except Unauthorized:
        pass
    raise BadToken


@service.post("/synchronized", access=Access("known", _client_alone))
def synchronized() -> Response:
    """A client tells that it is up to date; nobody at all is told what every other token is."""
    asking = principal()
    instance().auth.clients.synchronized(asking.id)
    return Response(status=204)


# -- inside -------------------------------------------------------------------------------------------------------------


def _is_app() -> bool:
    try:
        return principal().kind == "app"
    except CozyError:
        return False


def _instance() -> Response:
    attributes, rev = instance().settings.instance()
    return _one("instance", attributes, rev=rev)


def _client(client: Client) -> _jsonapi.Resource:
    """A client without what it proves itself by."""
    attributes = {"client_id": client.id} | {name: value for name, value in client.stored.doc.items() if name not in _CREDENTIALS}
    links = {"self": f"/settings/clients/{client.id}"}
    return _jsonapi.resource(CLIENTS, client.id, attributes, rev=client.stored.rev, links=links)


def _one(name: str, attributes: Mapping[str, Any], *, at: str = "", rev: str = "") -> Response:
    return _jsonapi.answer(_resource(f"{TYPE}.{name}", at or name, attributes, rev=rev))


def _resource(id: str, at: str, attributes: Mapping[str, Any], *, rev: str = "") -> _jsonapi.Resource:
    return _jsonapi.resource(TYPE, id, attributes, rev=rev, links={"self": f"/settings/{at}"})
