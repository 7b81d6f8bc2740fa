"""Pages the server draws: templates, languages, assets, security headers, CSRF (docs/http/auth.md, section 4)."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any

from flask import Response, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from blueprints._request import instance, same_secret
from blueprints._text import LANGUAGES, has_text, text
from cozyd.errors import BadRequest, CozyError, Forbidden
from cozyd.instance import Instance
from cozyd.packaged import folder

CSRF_COOKIE, CSRF_LIFE = "_csrf", 3600
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(folder("pages")), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@lru_cache(maxsize=256)
def asset_hash(name: str) -> str:
    """Ten hex digits of an asset's content."""
    return hashlib.sha256((folder("assets") / name).read_bytes()).hexdigest()[:10]


def asset_url(name: str) -> str:
    """The address of an asset under its hashed name, which is immutable."""
    base, _, extension = name.rpartition(".")
    return f"/assets/{base}.{asset_hash(name)}.{extension}"


def locale() -> str:
    """The language the reader prefers; of who prefers none that we speak, the owner's."""
    found = request.accept_languages.best_match(LANGUAGES)
    if found is None and "cozyd.instance" in request.environ:
        found = str(instance().doc.get("locale", "en"))
    return found if found is not None and found in LANGUAGES else "en"


def words() -> Any:
    """The text function of the reader's language."""
    return partial(text, locale())


def has_words(sentence: str) -> bool:
    """Whether there is such a sentence."""
    return has_text(sentence)


def page(template: str, /, status: int = 200, **values: Any) -> Response:
    """A page as a response; private, and with the policy that lets it load nothing but our own files."""
    usual = {"locale": locale(), "t": words(), "asset": asset_url, "page": template.removesuffix(".html")}
    values = usual | dict.fromkeys(("heading", "lead", "error", "is_news"), "") | values
    answer = Response(_templates().get_template(template).render(values), status, content_type="text/html; charset=utf-8")
    answer.headers.update(security_headers())
    return answer


def notice(
    title: str,
    text: str,
    status: int = 200,
    *,
    links: Sequence[tuple[str, str]] = (),
    contact: str = "",
    new_tab: bool = False,
    is_news: bool = False,
) -> Response:
    """A page with something to know.

    :param title: the sentence of its title.
    :param text: what it says, in the reader's language.
    :param links: texts and addresses, the one to follow first.
    :param contact: an address of mail for questions.
    :param is_news: it answers something that she did.
    """
    values = {"title": words()(title), "lead": text, "links": links, "contact": contact, "new_tab": new_tab, "is_news": is_news}
    return page("notice.html", status, **values)


def sent(title: str, text: str) -> Response:
    """A page that says that a mail is under way, whether it is or not; both are sentences."""
    say = words()
    return notice(title, say(text), links=[(say("said.back"), "/auth/login")], is_news=True)


def security_headers() -> Mapping[str, str]:
    """The headers of every page."""
    return {
        "Content-Security-Policy": POLICY.replace("form-action 'self'", f"form-action 'self'{_app_hosts()}"),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Vary": "Cookie, Accept-Language",
    }


def with_forms_to(answer: Response, *places: str) -> Response:
    """Let the forms of a page lead to further places: browsers ask for where a form's answer leads, too.

    :param places: origins, or schemes with their colon.
    """
    policy = answer.headers["Content-Security-Policy"].replace("form-action 'self'", " ".join(("form-action 'self'", *places)))
    answer.headers["Content-Security-Policy"] = policy
    return answer


def _app_hosts() -> str:
    """Hosts of apps, which the log-in form may lead to: browsers look at the whole way of a form."""
    found: Instance | None = request.environ.get("cozyd.instance")
    return f" {request.scheme}://*.{found.apps_base}" if found is not None else ""


def error_page(error: CozyError) -> Response:
    """An error for a person."""
    known = f"error.{error.status}" if error.status in (401, 403, 404, 429) else "error.other"
    return notice(known, error.detail, error.status, links=[(words()("error.home"), "/")])


def csrf_token() -> str:
    """The token of this browser's forms, an old one if it has one."""
    return request.cookies.get(CSRF_COOKIE) or secrets.token_urlsafe(24)


def with_csrf(answer: Response, token: str, path: str) -> Response:
    """Set the cookie that forms below a path are compared with."""
    answer.set_cookie(CSRF_COOKIE, token, max_age=CSRF_LIFE, path=path, secure=request.is_secure, httponly=True, samesite="Strict")
    return answer


def check_origin() -> None:
    """Refuse what a page of another origin sends; `null` is what browsers say of our own, as they send no referrer.

    :raises Forbidden: it comes from elsewhere.
    """
    origin = request.headers.get("Origin", "null")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if site not in ("same-origin", "none") or (origin != "null" and origin.partition("://")[2] != request.host):
        raise Forbidden("invalid csrf token")


def check_csrf() -> None:
    """Refuse a form that was not drawn for this browser (double submit), or that a page of another origin sends.

    The second check is for hosts below ours: an app could set a `_csrf` cookie for its parent domain.

    :raises BadRequest: it has no token.
    :raises Forbidden: it has another, or comes from elsewhere.
    """
    check_origin()
    given = request.form.get("csrf_token")
    if not given:
        raise BadRequest("missing csrf token in the form parameter")
    if not same_secret(given, request.cookies.get(CSRF_COOKIE, "")):
        raise Forbidden("invalid csrf token")
