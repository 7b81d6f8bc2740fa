"""The page that asks the owner whether a client may come in, and what its scope allows, in words."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Response

from blueprints import _pages
from blueprints._request import instance
from cozyd.apps.installer import Order
from cozyd.auth.bearer import EVERYTHING, LINKED
from cozyd.auth.clients import REGISTRY, Client
from cozyd.auth.sets import rules_of
from cozyd.errors import BadRequest, CozyError
from cozyd.permissions import Rule, parse_scope, parse_set
from cozyd.settings import ClientsUsage

if TYPE_CHECKING:  # Authlib is loaded with the first client that comes
    from cozyd.auth.oauth import Asked, OAuth

_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+")
_GOES_BACK = ("http", "https", "cozy")


def page(oauth: "OAuth", asked: "Asked") -> Response:
    """The page; its form may lead to where the client waits, and nowhere else."""
    client, token = asked.client, _pages.csrf_token()
    fields = {
        "csrf_token": token,
        "client_id": client.id,
        "state": asked.state,
        "redirect_uri": asked.redirect_uri,
        "scope": asked.scope,
        "response_type": "code",
        "code_challenge": asked.challenge,
        "code_challenge_method": "S256" if asked.challenge else "",
    }
    parts = urlsplit(asked.redirect_uri)
    answer = _pages.page(
        "authorize.html",
        client=client.name,
        domain=instance().domain,
        fields=fields,
        lines=lines(client, asked.scope),
        target=parts.netloc or f"{parts.scheme}:",
        home=_home(str(client.stored.doc.get("client_uri", ""))),
        deny=oauth.denial(asked) if parts.scheme in _GOES_BACK else "/",
    )
    policy = _pages.POLICY.replace("form-action 'self'", f"form-action 'self' {form_target(asked.redirect_uri)}")
    answer.headers["Content-Security-Policy"] = policy
    return _pages.with_csrf(answer, token, "/auth")


def certificate_page(client: Client, back: str, *, token: str = "", error: str = "") -> Response:
    """Ask for the code that was mailed, before a client may ask for everything.

    :param back: the path that leads to this page again.
    :param token: of a code that was mailed already; without one it is mailed now.
    """
    values = {"token": token or instance().auth.ask_certificate(client), "back": back, "error": error}
    named = {"client": client.name, "id": client.id, "domain": instance().domain}
    return _pages.page("certificate.html", 401 if error else 200, **named, **values)


def lines(client: Client, scope: str) -> Sequence[str]:
    """One sentence for each rule of a scope, in the reader's language.

    :raises BadRequest: it is that of an app which is not to be had.
    """
    words = _pages.words()
    if scope == EVERYTHING:
        return (words("consent.everything"),)
    return tuple(dict.fromkeys(_line(words, rule) for rule in _rules(client, scope))) if scope else ()


def _rules(client: Client, scope: str) -> Sequence[Rule]:
    """The rules of a scope; of a client linked to an app, that app's.

    :raises BadRequest: the app is not there.
    """
    slug = client.linked_app
    if not scope.startswith(LINKED):
        return parse_scope(scope)
    stored = instance().auth.sets.of_app("app", slug)
    if stored is not None:
        return rules_of(stored)
    try:
        manifest = instance().apps.registries.latest(slug, "stable").get("manifest") or {}
        return parse_set(manifest.get("permissions") or {})
    except CozyError:
        raise BadRequest("Cannot find application on instance registries") from None


def check_linked(given: Mapping[str, Any]) -> None:
    """Whether the app that a client wants to be linked to is there, or to be had.

    :raises BadRequest: it is neither.
    """
    software = given.get("software_id")
    if not isinstance(software, str) or not software.startswith(REGISTRY):
        return
    slug = software.removeprefix(REGISTRY)
    if instance().auth.sets.of_app("app", slug) is not None:
        return
    try:
        instance().apps.registries.app(slug)
    except CozyError:
        raise BadRequest("Application was not found on instance registries", error="unapproved_software_id") from None


def install_linked(asked: "Asked") -> str:
    """Have the app that a client is linked to; its address. Empty: the client is linked to none.

    :raises CozyError: it cannot be installed; nothing is granted then.
    """
    slug = asked.client.linked_app
    if not slug or not asked.scope.startswith(LINKED):
        return ""
    apps = instance().apps
    if instance().auth.sets.of_app("app", slug) is None:
        apps.install(Order("webapp", slug, f"registry://{slug}/stable"), lambda _: None)
    return instance().app_url(slug)


def trusts_all() -> bool:
    """Whether the operator lets every client ask for everything, certified or not."""
    return instance().context.get("skip_certification") is True


def refusal(asked: "Asked") -> Response | None:
    """The page that lets no client in: it is given up, or there are too many; None: it may come."""
    old = _deprecated(asked.client)
    if old is not None:
        words, stores = _pages.words(), old.get("store_urls")
        shops = [(words("deprecated.get", shop=name), url) for name, url in stores.items()] if isinstance(stores, dict) else []
        text = words("deprecated.text", old=asked.client.name, new=str(old.get("name") or ""))
        return _pages.notice("deprecated.title", text, links=[(label, url) for label, url in shops if isinstance(url, str)])
    settings, client = instance().settings, asked.client.stored.doc
    if client.get("pending") is not True or not client.get("client_kind") or client.get("flagship") is True:
        return None
    here = sum(one.stored.doc.get("pending") is not True for one in settings.connected())
    usage = ClientsUsage(here, settings.clients_usage().limit)
    return too_many(usage) if usage.reached else None


def too_many(usage: ClientsUsage, premium: str = "", *, new_tab: bool = False) -> Response:
    """The page that says that no further device may be connected.

    :param premium: where more of them are sold.
    """
    words = _pages.words()
    links = [(words("clients.manage"), instance().app_url("settings", "/#/connectedDevices"))]
    links += [(words("clients.premium"), premium)] if premium else []
    text = words("clients.text", count=str(usage.count), limit=str(usage.limit))
    return _pages.notice("clients.title", text, links=links, new_tab=new_tab)


def _deprecated(client: Client) -> Mapping[str, Any] | None:
    """What the operator says of a client that another one took the place of."""
    listed = instance().context.get("deprecated_apps")
    apps = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return next((one for one in apps if one.get("software_id") == client.stored.doc.get("software_id")), None)


def form_target(uri: str) -> str:
    """A redirect URI as `form-action` takes it: browsers ask it for where a form's answer leads, too."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc):
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"


def _line(words: Any, rule: Rule) -> str:
    known = f"scope.{rule.doctype}"
    if rule.doctype.endswith(".*"):
        what = words("scope.below", type=rule.doctype)
    else:
        what = words(known) if _pages.has_words(known) else words("scope.other", type=rule.doctype)
    if rule.values:
        what = words("consent.some", what=what)
    verbs = [words(f"verb.{verb}") for verb in ("GET", "POST", "PUT", "DELETE") if _has(rule, verb)]
    sentence: str = words("consent.what", verbs=", ".join(verbs), what=what)
    return sentence[:1].upper() + sentence[1:]


def _has(rule: Rule, verb: str) -> bool:
    return verb in rule.actions or (verb == "PUT" and "PATCH" in rule.actions)


def _home(uri: str) -> str:
    """The host that a client says is its own."""
    try:
        return urlsplit(uri).hostname or ""
    except ValueError:
        return ""
