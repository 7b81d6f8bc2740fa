"""Pages of apps: the index with its values, the headers that isolate it, and what is said when there is none."""

import html
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from werkzeug.wrappers import Request, Response

from blueprints import _pages, _warnings
from cozyd import jsons
from cozyd.apps.bundles import Bundle
from cozyd.apps.manifest import localised
from cozyd.apps.notices import key_of
from cozyd.apps.policy import policy
from cozyd.apps.template import Template, parse
from cozyd.documents.store import Stored
from cozyd.errors import CozyError, RangeNotSatisfiable
from cozyd.instance import Instance

PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;max-width:30rem;margin:15vh auto;padding:0 1rem}}</style>
<h1>{title}</h1><p>{detail}</p><p><a href="{home}">{home}</a></p>
"""
CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
LARGEST_PAGE = 4 << 20


def index(instance: Instance, request: Request, app: Stored, bundle: Bundle, name: str, session_id: str | None) -> Response:
    """The page an app starts with.

    :param session_id: of the owner who asks; None: a stranger on a public page, who gets no token but the link's.
    """
    text = bundle.read(name)
    headers = page_headers(instance, request, _framers(instance, request, app))
    if instance.apps.is_developed(str(app.doc["slug"])):
        headers["X-Cozyd-Stamp"] = bundle.digest
        text = _reloading(text, instance.domain, bundle.digest)
    if session_id is not None:
        text = _warned(instance, text)
    template = _template(bundle.digest, name, text) if len(text) <= LARGEST_PAGE else None
    if template is None:
        return Response(text, headers=headers)
    return Response(template.fill(values(instance, request, app, session_id)), headers=headers)


def _reloading(page: bytes, domain: str, stamp: str) -> bytes:
    """A page that is loaded again when a file of its app has changed."""
    script = f'<script src="//{domain}{_pages.asset_url("scripts/reload.js")}" data-stamp="{stamp}" defer></script>'
    return page.replace(b"</head>", script.encode() + b"</head>", 1)


def _warned(instance: Instance, page: bytes) -> bytes:
    """A page with what its owner has to do, for the bar of official apps."""
    tags = "".join(
        '<meta name="user-action-required"'
        + "".join(f' data-{name}="{html.escape(str(one[name]))}"' for name in ("title", "code", "detail"))
        + (f' data-links="{html.escape(one["links"]["self"])}"' if "self" in one.get("links", {}) else "")
        + ">"
        for one in _warnings.listed(instance)
    )
    return page.replace(b"</head>", tags.replace("{{", "&#123;&#123;").encode() + b"</head>", 1) if tags else page


def moved(instance: Instance, request: Request, slug: str, to: str) -> Response:
    """A public page of a cloud that has moved leads to the same page there."""
    parts = urlsplit(to)
    name, dot, rest = parts.netloc.partition(".")
    is_flat = instance.settings.document().get("moved_to_subdomain_type") == "flat"
    host = f"{name}-{slug}{dot}{rest}" if is_flat else f"{slug}.{parts.netloc}"
    there = urlunsplit((parts.scheme or "https", host, request.path, request.query_string.decode("latin-1"), ""))
    words = {"title": "Moved", "detail": "This cloud has moved to a new address.", "home": html.escape(there)}
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff"}
    return Response(PAGE.format(**words), 410, headers=headers, content_type="text/html; charset=utf-8")


@lru_cache(maxsize=128)
def _template(digest: str, name: str, text: bytes) -> Template | None:  # noqa: ARG001
    return parse(text.decode("utf-8", "replace"))


def values(instance: Instance, request: Request, app: Stored, session_id: str | None) -> Mapping[str, str]:
    """What `{{.Name}}` stands for."""
    slug = str(app.doc["slug"])
    token = request.args.get("sharecode", "").removesuffix(".")
    if session_id is not None and not token:
        token = instance.auth.app_token(slug, session_id=session_id)
    return texts_of(instance, app, token, is_logged_in=session_id is not None)


def texts_of(instance: Instance, app: Stored, token: str, *, is_logged_in: bool) -> dict[str, str]:
    """The values of an app's page, also for who draws it elsewhere (`/apps/:slug/open`)."""
    doc, locale = app.doc, str(instance.doc.get("locale") or "en")
    slug = str(doc["slug"])
    shown = {
        "editor": str(doc.get("editor") or ""),
        "name": localised(doc, locale),
        "prefix": str(doc.get("name_prefix") or ""),
        "slug": slug,
        "icon": str(doc.get("icon") or ""),
    }
    subdomain = "flat" if instance.has_flat_apps else "nested"
    reports = {"host": instance.url("/errors"), "projectId": 1, "projectKey": key_of(str(instance.doc["oauth_secret"]), slug)}
    flags, capabilities = {"errors.airbrake": reports} | dict(instance.settings.flags().values), dict(instance.settings.capabilities())
    is_tracked = str(instance.settings.document().get("tracking")).lower() == "true"
    data: dict[str, Any] = {
        "token": token,
        "domain": instance.domain,
        "subdomain": subdomain,
        "tracking": is_tracked,
        "locale": locale,
        "isLoggedIn": is_logged_in,
        "app": shown,
        "flags": flags,
        "capabilities": capabilities,
    }
    plain = {
        "CozyData": jsons.dump(data).decode(),
        "Token": token,
        "Domain": instance.domain,
        "Locale": locale,
        "SubDomain": subdomain,
        "Tracking": "true" if is_tracked else "false",
        "AppName": shown["name"],
        "AppNamePrefix": shown["prefix"],
        "AppEditor": shown["editor"],
        "AppSlug": slug,
        "IconPath": shown["icon"],
        "ContextName": str(instance.doc.get("context") or ""),
        "Flags": jsons.dump(flags).decode(),
        "Capabilities": jsons.dump(capabilities).decode(),
    }
    return plain | tags(instance.domain)


@lru_cache(maxsize=256)
def tags(domain: str) -> dict[str, str]:
    """What stands for tags: style sheets and icons of the server, by names that never change their content."""

    def at(name: str) -> str:
        return html.escape(f"//{domain}{_pages.asset_url(name)}")

    fonts = f'<link rel="stylesheet" href="{at("fonts/fonts.css")}">'
    theme = f'<link rel="stylesheet" href="{at("styles/theme.css")}">'
    return {
        "CozyFonts": fonts,
        "ThemeCSS": theme,
        "CozyBar": f'{fonts}{theme}<link rel="stylesheet" href="{at("styles/bar.css")}"><script src="{at("scripts/bar.js")}"></script>',
        "CozyClientJS": "",
        "Favicon": f'<link rel="icon" href="{at("images/mark.svg")}" type="image/svg+xml">',
        "DefaultWallpaper": f"//{domain}{_pages.asset_url('images/default-wallpaper.svg')}",
    }


def policy_of(instance: Instance, scheme: str, framers: Sequence[str] = ()) -> str:
    """The Content-Security-Policy of an app's page."""
    return policy(scheme, instance.domain, instance.apps_base, framers=framers, allowed=instance.apps.allowed_origins)


def page_headers(instance: Instance, request: Request, framers: Sequence[str]) -> dict[str, str]:
    """The headers of an app's page."""
    scheme = request.scheme
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "private, no-store, must-revalidate",
        "Content-Security-Policy": policy_of(instance, scheme, framers),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Vary": "Cookie",
    }
    if scheme == "https":
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return headers


def refusal(instance: Instance, request: Request, error: CozyError) -> Response:
    """An error as a small page, or a line of text for files."""
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Security-Policy": CSP}
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    allow = getattr(error, "allow", "")
    if allow:
        headers["Allow"] = allow
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if "text/html" not in request.headers.get("Accept", ""):
        return Response(error.detail, error.status, headers=headers, content_type="text/plain; charset=utf-8")
    words = {"title": html.escape(error.title), "detail": html.escape(error.detail), "home": html.escape(instance.url("/"))}
    return Response(PAGE.format(**words), error.status, headers=headers, content_type="text/html; charset=utf-8")


def _framers(instance: Instance, request: Request, app: Stored) -> list[str]:
    """The origin of the app whose intent this page was opened for."""
    wanted = request.args.get("intent")
    origin = instance.apps.framer(wanted, str(app.doc["slug"])) if wanted else None
    if not origin:
        return []
    own, named = f"{request.scheme}://{instance.app_host(origin)}", instance.client_origin(origin)
    return [own] if named == instance.app_url(origin, "") or re.search(r"[\s;,]", named) else [own, named]
