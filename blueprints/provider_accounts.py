"""`/accounts`: the owner signs in at a provider for a konnector (docs/http/accounts.md)."""

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from blueprints import _jsonapi
from blueprints._admin import stack
from blueprints._answers import redirect
from blueprints._request import Service, allow, asks, by_secret, instance, logged_in, principal, public
from cozyd import jsons
from cozyd.accounts import ACCOUNTS
from cozyd.apps.manifest import check_slug
from cozyd.apps.providers import Provider, brought, rest_of, tokens_of
from cozyd.documents.store import Query, Ref, Stored
from cozyd.errors import BadRequest, Forbidden, NotFound

service = Service("provider_accounts", __name__, url_prefix="/accounts")

STATE_FOR = 900.0


@service.get("/<type>/start", access=by_secret)
def start(type: str) -> Response:
    """Send the owner to the provider."""
    _check_owner()
    provider, state = _provider(type), _new_state(type)
    return redirect(provider.start(_redirect_uri(provider), state, request.args), 303)


@service.get("/<type>/<id>/manage", access=by_secret)
def manage(type: str, id: str) -> Response:
    """Send the owner to the provider's page where she manages a connection."""
    return _to_page("manage", type, id)


@service.get("/<type>/<id>/reconnect", access=by_secret)
def reconnect(type: str, id: str) -> Response:
    """Send the owner to the provider's page where she signs in again."""
    return _to_page("reconnect", type, id)


@service.get("/<type>/redirect", access=public)
def land(type: str) -> Response:
    """The provider sends her back; its state is good once."""
    state, given = request.args.get("state", ""), request.args
    kept = _taken(state, type)
    passed = {name: given[name][:200] for name in ("connection_id", "connection_deleted", "error") if given.get(name)}
    if not kept.get("manages") and not passed.get("error"):
        known = _connected(type, passed["connection_id"]) if "connection_id" in passed else None
        passed["account"] = known or instance().docs.put(ACCOUNTS, _new_account(type, state, kept["nonce"])).ref.id
    told = urlencode(sorted((passed | ({"state": kept["state"]} if kept["state"] else {})).items()))
    return redirect(instance().app_url(kept["slug"]) + (f"?{told}" if told else ""), 303)


@service.post("/<type>/<id>/refresh", access=asks("GET"))
def refresh(type: str, id: str) -> Response:
    """A fresh access token, for who may read the account."""
    try:
        found = instance().docs.get(Ref(ACCOUNTS, id))
    except NotFound:
        allow("GET", ACCOUNTS, {"_id": id})
        raise
    allow("GET", ACCOUNTS, found)
    opened = instance().account_secrets.open(found.doc)
    oauth = opened.get("oauth") or {}
    token = oauth.get("refresh_token")
    if opened.get("account_type") == type and oauth and not token and principal().kind == "konnector":
        return _shown(found, _provider(type).own())
    if opened.get("account_type") != type or not isinstance(token, str):
        raise BadRequest("This account cannot be refreshed")
    answer = _provider(type).refresh(stack().drivers.outbound, token)
    return _shown(instance().docs.put(ACCOUNTS, opened | {"oauth": oauth | tokens_of(answer, stack().now())}))


# -- inside -------------------------------------------------------------------------------------------------------------


def _check_owner() -> None:
    """:raises Forbidden: it is not her."""
    if logged_in() is None and not instance().auth.take_session_code(request.args.get("session_code", "")):
        raise Forbidden("You are not logged in")


def _new_state(type: str, *, manages: bool = False) -> str:
    """A state that the provider sends back, good once.

    :param manages: she comes back without a code, to an account that is there.
    """
    slug = check_slug(request.args.get("slug") or "home")
    told = {name: request.args.get(name, "")[:2000] for name in ("state", "nonce")}
    kept = {"type": type, "slug": slug, "manages": manages, **told}
    state = secrets.token_urlsafe(24)
    stack().drivers.cache.set(_key(state), jsons.dump(kept), STATE_FOR)
    return state


def _to_page(name: str, type: str, id: str) -> Response:
    _check_owner()
    provider, account = _provider(type), instance().docs.get(Ref(ACCOUNTS, id))
    if account.doc.get("account_type") != type:
        raise NotFound("missing")
    state, given = _new_state(type, manages=True), request.args
    shown = {"code": given.get("code", ""), "connection": given.get("connection_id", "")}
    return redirect(provider.page(name, _redirect_uri(provider), state, **shown), 303)


def _provider(type: str) -> Provider:
    return Provider.named(stack().config.apps.account_types, type)


def _redirect_uri(provider: Provider) -> str:
    return provider.text("redirect_uri") or instance().url(f"/accounts/{provider.type}/redirect")


def _key(state: str) -> str:
    return f"account-state/{instance().prefix}/{state[:100]}"


def _taken(state: str, type: str) -> dict[str, Any]:
    """What a state was made for.

    :raises BadRequest: it was not made here, for another type, too long ago, or is used.
    """
    cache, key = stack().drivers.cache, _key(state)
    found = cache.get(key) if state else None
    if found is None or cache.hit(f"{key}/uses", STATE_FOR) > 1:
        raise BadRequest("bad state", source="state")
    cache.delete(key)
    kept = jsons.load_object(found)
    if kept["type"] != type:
        raise BadRequest("bad state", source="state")
    return kept


def _new_account(type: str, state: str, nonce: str) -> dict[str, Any]:
    """The account for what the provider sent her back with: a code, a token, or what the konnector asks with itself.

    :param state: she came back with.
    :param nonce: that the page which sent her named.
    :raises BadRequest: with none of these.
    """
    provider, given = _provider(type), request.args
    body: dict[str, Any] = {"account_type": type}
    if given.get("access_token"):
        return body | {"oauth": tokens_of(given, stack().now())}
    if not provider.text("token_endpoint"):
        return body | {"oauth": brought(given.to_dict(flat=False))}
    if not given.get("code"):
        raise BadRequest("The provider sent no code", source="code")
    answer = provider.exchange(stack().drivers.outbound, given["code"], _redirect_uri(provider), state=state, nonce=nonce)
    return body | {"oauth": tokens_of(answer, stack().now()), "oauth_callback_results": rest_of(answer)}


def _connected(type: str, connection: str) -> str | None:
    """The account that has a connection at a provider already; None: none has."""
    try:
        found = instance().docs.find(ACCOUNTS, Query({"account_type": type, "oauth.query.connection_id": [connection]}, limit=1)).rows
    except NotFound:
        return None
    return found[0].ref.id if found else None


def _shown(stored: Stored, own: Mapping[str, str] | None = None) -> Response:
    """An account with its tokens, as its konnector needs them; passwords stay as they are kept.

    :param own: what the operator has at the provider, for a konnector that asks there itself; never kept in the account.
    """
    oauth = {**instance().account_secrets.open(stored.doc)["oauth"], **(own or {})}
    shown = {name: value for name, value in stored.doc.items() if name not in ("_id", "_rev")} | {"oauth": oauth}
    links = {"self": f"/data/{ACCOUNTS}/{stored.ref.id}"}
    return _jsonapi.answer(_jsonapi.resource(ACCOUNTS, stored.ref.id, shown, rev=stored.rev, links=links))
