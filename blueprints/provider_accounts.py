"""`/accounts`: the owner signs in at a provider for a konnector (docs/http/accounts.md)."""

import secrets
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from blueprints import _jsonapi
from blueprints._admin import stack
from blueprints._answers import redirect
from blueprints._request import Service, allow, asks, by_secret, instance, logged_in, public
from cozyd import jsons
from cozyd.accounts import ACCOUNTS
from cozyd.apps.manifest import check_slug
from cozyd.apps.providers import Provider, rest_of, tokens_of
from cozyd.documents.store import Ref, Stored
from cozyd.errors import BadRequest, Forbidden, NotFound

service = Service("provider_accounts", __name__, url_prefix="/accounts")

STATE_FOR = 900.0


@service.get("/<type>/start", access=by_secret)
def start(type: str) -> Response:
    """Send the owner to the provider."""
    _check_owner()
    provider, state = _provider(type), _new_state(type)
    scope, nonce = request.args.get("scope", ""), request.args.get("nonce", "")
    return redirect(provider.start(_redirect_uri(provider), state, scope=scope, nonce=nonce), 303)


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
    kept = _taken(request.args.get("state", ""), type)
    target = instance().app_url(kept["slug"])
    if kept.get("manages"):
        named = {name: request.args[name][:200] for name in ("connection_id", "connection_deleted", "error") if request.args.get(name)}
        return redirect(f"{target}?{urlencode({'state': kept['state']} | named)}", 303)
    if request.args.get("error"):
        return redirect(f"{target}?{urlencode({'error': request.args['error'][:100], 'state': kept['state']})}", 303)
    provider, code = _provider(type), request.args.get("code", "")
    if not code:
        raise BadRequest("The provider sent no code", source="code")
    answer = provider.exchange(stack().drivers.outbound, code, _redirect_uri(provider))
    body: dict[str, Any] = {"account_type": type, "oauth": tokens_of(answer, stack().now()), "oauth_callback_results": rest_of(answer)}
    made = instance().docs.put(ACCOUNTS, body)
    return redirect(f"{target}?{urlencode({'account': made.ref.id, 'state': kept['state']})}", 303)


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
    token = (opened.get("oauth") or {}).get("refresh_token")
    if opened.get("account_type") != type or not isinstance(token, str):
        raise BadRequest("This account cannot be refreshed")
    answer = _provider(type).refresh(stack().drivers.outbound, token)
    oauth = opened["oauth"] | tokens_of(answer, stack().now())
    return _shown(instance().docs.put(ACCOUNTS, opened | {"oauth": oauth}))


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
    kept = {"type": type, "slug": slug, "state": request.args.get("state", "")[:2000], "manages": manages}
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


def _shown(stored: Stored) -> Response:
    opened = instance().account_secrets.open(stored.doc)
    shown = {name: value for name, value in opened.items() if name not in ("_id", "_rev")}
    links = {"self": f"/data/{ACCOUNTS}/{stored.ref.id}"}
    return _jsonapi.answer(_jsonapi.resource(ACCOUNTS, stored.ref.id, shown, rev=stored.rev, links=links))
