"""A page of an app whose address has a share link with a password: it asks for that first (docs/http/app-hosts.md).

Cookies are of one host: the main host's says that the password was given, and opens the documents; the one of this host only says that
there is no need to ask again, and holds for as long as the password stays the same.
"""

import hashlib
import html

from werkzeug.wrappers import Request, Response

from blueprints import _pages
from blueprints._text import LANGUAGES, text
from cozyd.documents.store import Stored
from cozyd.errors import CozyError
from cozyd.instance import Instance

PAGE = """<!doctype html>
<html lang="{locale}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1,viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{icon}" type="image/svg+xml">
<link rel="stylesheet" href="{style}">
<script src="{script}" defer></script>
</head>
<body class="gate">
<main>
  <div class="head"><img src="{icon}" alt="" width="44" height="44"><h1>{title}</h1><p class="muted">{lead}</p></div>
  <p class="note bad" role="alert" hidden></p>
  <form method="post" action="{action}" data-mark="{mark}">
    <input type="hidden" name="perm_id" value="{id}">
    <div class="field"><label for="password">{password}</label>
    <input id="password" name="password" type="password" autocomplete="current-password" required autofocus></div>
    <button class="btn primary" type="submit">{submit}</button>
  </form>
</main>
</body>
</html>
"""


def locked(instance: Instance, request: Request) -> Response | None:
    """The page that asks; None: the address has no link with a password, or it was given here."""
    code = request.args.get("sharecode", "").removesuffix(".")
    link = _link_of(instance, code, request.remote_addr or "") if code else None
    if link is None or not link.doc.get("password"):
        return None
    mark = hashlib.sha256(f"{link.ref.id} {link.doc['password']}".encode()).hexdigest()[:24]
    if request.cookies.get(f"pass{link.ref.id}") == mark:
        return None
    main = f"{request.scheme}://{instance.domain}"
    policy = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'" + "".join(
        f"; {name} {main}" for name in ("style-src", "script-src", "font-src", "img-src", "connect-src", "form-action")
    )
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return Response(_drawn(request, main, link.ref.id, mark), 401, headers=headers, content_type="text/html; charset=utf-8")


def _link_of(instance: Instance, code: str, address: str) -> Stored | None:
    try:
        return instance.auth.link_of(code, address)
    except CozyError:
        return None


def _drawn(request: Request, main: str, id: str, mark: str) -> str:
    locale = request.accept_languages.best_match(LANGUAGES) or "en"
    values = {
        "locale": locale,
        "title": text(locale, "link.title"),
        "lead": text(locale, "link.lead"),
        "password": text(locale, "link.password"),
        "submit": text(locale, "link.open"),
        "icon": main + _pages.asset_url("images/mark.svg"),
        "style": main + _pages.asset_url("styles/page.css"),
        "script": main + _pages.asset_url("scripts/link.js"),
        "action": f"{main}/auth/share-by-link/password",
        "mark": mark,
        "id": id,
    }
    return PAGE.format(**{name: html.escape(value) for name, value in values.items()})
