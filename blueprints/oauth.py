"""`/auth`: OAuth clients, the page that lets them in, their tokens (docs/http/oauth.md)."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flask import Response, request

from blueprints import _consent, _pages
from blueprints._answers import echo_origin, preflight, private, redirect
from blueprints._documents import answer
from blueprints._login import again, refused, sentence_of, with_session
from blueprints._request import Service, body, by_secret, credentials, instance, known, logged_in, principal, public
from blueprints._targets import with_query
from cozyd.auth import clients
from cozyd.auth.clients import Client
from cozyd.errors import BadRequest, CozyError, Forbidden, NotFound, TooManyRequests, Unauthorized

if TYPE_CHECKING:  # Authlib is loaded with the first client that comes
    from cozyd.auth.oauth import OAuth

service = Service("oauth", __name__, errors="oauth")
pages = Service("authorize", __name__, errors="page")

_SYSTEMS = (("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iOS"), ("Windows", "Windows"), ("Mac OS", "Mac OS X"), ("Linux", "Linux"))


# -- clients --------------------------------------------------------------------------------------------------------------


@service.post("/auth/register", access=public)
def register() -> Response:
    """Make a client (RFC 7591)."""
    _check_media()
    given = _counted_body()
    _consent.check_linked(given)
    return _registered(instance().auth.clients.register(given, allow_login_scope=_may_log_in(given)))


@service.post("/auth/registerFromWebApp", access=known)
def register_from_app() -> Response:
    """Make a client for the settings app, from its page."""
    found = principal()
    if found.kind != "app" or found.id != "settings":
        raise Forbidden
    _check_media()
    given = _counted_body()
    _consent.check_linked(given)
    return echo_origin(_registered(instance().auth.clients.register(given)))


@service.route("/auth/registerFromWebApp", methods=["OPTIONS"], access=public)
def register_preflight() -> Response:
    """Apps live on hosts of their own."""
    return preflight("POST")


@service.get("/auth/register/<id>", access=by_secret)
def read_client(id: str) -> Response:
    """A client as it is registered (RFC 7592)."""
    _check_accept()
    return private(answer(clients.shown(_own(id))))


@service.put("/auth/register/<id>", access=by_secret)
def update_client(id: str) -> Response:
    """Register a client anew, under its id."""
    _check_media()
    client, given = _own(id), _counted_body()
    _consent.check_linked(given)
    return private(answer(clients.shown(instance().auth.clients.update(client, given))))


@service.delete("/auth/register/<id>", access=by_secret)
def delete_client(id: str) -> Response:
    """Forget a client, with all its tokens; one that is gone is fine."""
    try:
        instance().auth.clients.get(id)
    except NotFound:
        return Response(status=204)
    instance().auth.remove_client(_own(id))
    return Response(status=204)


@service.post("/auth/clients/<id>/challenge", access=by_secret)
def challenge(id: str) -> Response:
    """A nonce for an attestation."""
    _own(id)
    return private(answer({"nonce": secrets.token_hex(12)}, 201))


@service.post("/auth/clients/<id>/attestation", access=by_secret)
def attestation(id: str) -> Response:
    """Stores of mobile applications vouch for no application of ours."""
    _client(id)
    raise BadRequest("this attestation is not accepted")


@service.post("/auth/clients/<id>/flagship", access=by_secret)
def certify(id: str) -> Response:
    """Certify a client for everything, by the code that was mailed; a page is led back to what it was about."""
    _pages.check_origin()
    auth, back = instance().auth, request.form.get("back", "")
    client = _client(id)
    try:
        auth.certify(client, request.form.get("token", ""), request.form.get("code", ""), credentials())
    except (Unauthorized, TooManyRequests) as error:
        sentence = _pages.words()(sentence_of(error, "factor.wrong"))
        if back:
            return again(_consent.certificate_page(client, back, token=request.form.get("token", ""), error=sentence), error)
        return refused(error, sentence)
    if back.startswith("/auth/authorize?"):
        return redirect(f"{request.host_url}{back[1:]}")
    return Response(status=204)


@service.post("/auth/tokens/konnectors/<slug>", access=known)
def konnector_token(slug: str) -> Response:
    """A konnector's token, for who may do everything."""
    if not principal().everything:
        raise Forbidden
    return private(answer(instance().auth.konnector_token(slug), 201))


# -- tokens ---------------------------------------------------------------------------------------------------------------


@service.post("/auth/access_token", access=by_secret)
def access_token() -> Response:
    """Exchange a code or a refresh token (RFC 6749, section 3.2)."""
    return private(answer(_oauth().token(request.form.to_dict(flat=False))))


@service.post("/auth/revoke", access=by_secret)
def revoke() -> Response:
    """End what a token came from (RFC 7009)."""
    _oauth().revoke(request.form.to_dict(flat=False))
    return private(answer({}))


@service.get("/.well-known/oauth-authorization-server", access=public)
def metadata() -> Response:
    """What clients may know beforehand (RFC 8414)."""
    return answer(_oauth().metadata())


# -- the page ---------------------------------------------------------------------------------------------------------------


@pages.get("/auth/authorize", access=public)
def authorize_page() -> Response:
    """Ask the owner; what is wrong with the request is told her, and never redirected."""
    if instance().auth.take_session_code(request.args.get("session_code", "")) and logged_in() is None:
        return _with_session()
    oauth, is_here = _oauth(), logged_in() is not None
    try:
        asked = oauth.asked(request.args.to_dict(flat=False), reads_scope=is_here)
    except BadRequest as error:
        return _pages.error_page(error)
    if not is_here:
        return redirect(f"{request.host_url}auth/login?redirect={quote(request.url, safe='')}")
    if not asked.scope:
        return redirect(oauth.approve(asked), 302, exact=True)
    refused = _consent.refusal(asked)
    if refused is not None:
        return refused
    if asked.is_uncertified and not _consent.trusts_all():
        return _consent.certificate_page(asked.client, request.full_path)
    if asked.client.stored.doc.get("created_at_onboarding") is True:
        return redirect(oauth.approve(asked, _system(credentials().agent)), 302, exact=True)
    return _consent.page(oauth, asked)


@pages.post("/auth/authorize", access=public)
def authorize() -> Response:
    """The owner agrees: the client gets its code."""
    _pages.check_csrf()
    oauth = _oauth()
    try:
        asked = oauth.asked(request.form.to_dict(flat=False))
        if logged_in() is None:
            raise Unauthorized("Error Must be authenticated")
    except (BadRequest, Unauthorized) as error:
        return _pages.error_page(error)
    refused = _consent.refusal(asked)
    if refused is not None:
        return refused
    if asked.is_uncertified and _consent.trusts_all():
        asked = replace(asked, client=instance().auth.clients.note(asked.client, flagship=True))
    app = _consent.install_linked(asked)
    target = oauth.approve(asked, _system(credentials().agent))
    if asked.client.stored.doc.get("pending") is True:
        instance().auth.note_client(asked.client, credentials())
        usage = instance().settings.clients_usage()
        if usage.limit is not None and usage.exceeded:
            instance().notifications.tell_of_clients(asked.client.name, usage.limit)
    if app and asked.redirect_uri.startswith(("http://", "https://")):
        target = with_query(target, fallback=app) + "#"
    if request.headers.get("Accept") == "application/json":
        return private(answer({"deeplink": target}))
    return redirect(target, 302, exact=True)


def _with_session() -> Response:
    """The same page again, in a session for this errand."""
    left = {name: values for name, values in request.args.to_dict(flat=False).items() if name != "session_code"}
    again = redirect(f"{request.path}?{urlencode(left, doseq=True)}")
    cookie = instance().auth.open_session(credentials(), "session code", long_run=False, short_run=True, told=False)
    return with_session(again, cookie, long_run=False)


# -- inside -------------------------------------------------------------------------------------------------------------


def _oauth() -> "OAuth":
    return instance().auth.oauth(request.host_url.rstrip("/"))


def _check_accept() -> None:
    accept = request.headers.get("Accept", "*/*")
    if "*/*" not in accept and "application/json" not in accept:
        raise BadRequest("The answer is application/json", error="bad_accept_header")


def _check_media() -> None:
    """:raises BadRequest: the body is not JSON, or the answer must not be."""
    _check_accept()
    if not request.headers.get("Content-Type", "").startswith("application/json"):
        raise BadRequest("The Content-Type must be application/json", error="bad_content_type")


def _counted_body() -> Mapping[str, Any]:
    """:raises NotFound: too many clients registered in this hour; the reference answers so."""
    if not instance().auth.count_registration():
        raise NotFound("Not found")
    return body()


def _may_log_in(given: Mapping[str, Any]) -> bool:
    """Whether a client asks for the scope `login`, which needs no consent: only the operator makes such ones.

    :raises Unauthorized: somebody else asks.
    """
    if given.get("allow_login_scope") is not True:
        return False
    try:
        if principal().kind == "cli":
            return True
    except CozyError:
        pass
    raise Unauthorized("Not authorized to create client with given parameters")


def _client(id: str) -> Client:
    """:raises NotFound: there is no such client, in the reference's words."""
    try:
        return instance().auth.clients.get(id)
    except NotFound:
        raise NotFound("Client not found") from None


def _own(id: str) -> Client:
    """The client that shows its registration token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return instance().auth.registered(id, token.strip() if scheme.lower() == "bearer" else "")


def _registered(client: Client) -> Response:
    made = clients.shown(client) | {"registration_access_token": instance().auth.registration_token(client)}
    return private(answer(made, 201))


def _system(agent: str) -> str:
    """The operating system a browser names."""
    names: Sequence[str] = [name for mark, name in _SYSTEMS if mark in agent]
    return names[0] if names else ""
