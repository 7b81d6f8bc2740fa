"""Where a person goes next: her start page, one of her apps, an address that was asked for and is hers (docs/http/auth.md)."""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

from flask import request

from blueprints._request import instance
from cozyd.errors import BadRequest, NotFound
from cozyd.stack import Stack

START, HOME = "/sync/", "home/"
_SLUG = "[a-z0-9]+(?:-[a-z0-9]+)*"
_IN_APP = re.compile(rf"(?P<slug>{_SLUG})(?P<rest>[/#].*)?")


def here(path: str) -> str:
    """An address on the host that was asked."""
    return f"{request.scheme}://{request.host}{path}"


def start() -> str:
    """Where she goes when nothing else was asked for: the app of her settings, of her context, her home, or the page of her devices."""
    of_hers, of_context = (found.get("default_redirection") for found in (instance().settings.document(), instance().context))
    found = (_in_app(wanted) for wanted in (of_hers, of_context, HOME) if isinstance(wanted, str))
    return next(filter(None, found), here(START))


def target(wanted: str | None) -> str:
    """Where to go after logging in: an address on this instance or on one of its apps' hosts, or `slug/path#hash` of an app.

    :raises BadRequest: any other address.
    """
    if not wanted:
        return start()
    try:
        parts = urlsplit(wanted)
    except ValueError:
        raise BadRequest("bad url: could not parse") from None
    if parts.scheme not in ("http", "https"):
        inside = _in_app(wanted)
        if inside is None:
            raise BadRequest("bad url: bad scheme" if parts.scheme else "bad url: could not parse")
        return inside
    if is_own_host(parts.netloc):
        return parts._replace(fragment="=").geturl()
    if not _is_app_host(parts.netloc):
        raise BadRequest("bad url: should be subdomain")
    return parts.geturl()


def is_own_host(host: str) -> bool:
    """Whether it is one of her instance's own, and not of an app."""
    record = instance().doc
    return host in (request.host, record["domain"], *record.get("domain_aliases", ()))


def carried(wanted: str, cookie: str) -> str:
    """Where to go; to an app's host with a code that carries the session there.

    :param cookie: of the session on this host.
    """
    parts = urlsplit(wanted)
    if is_own_host(parts.netloc):
        return wanted
    auth = instance().auth
    code = auth.handover.code(auth.sessions.id_of(cookie), parts.netloc)
    query = f"{parts.query}&" if parts.query else ""
    return parts._replace(query=f"{query}session_code={code}").geturl()


def with_query(address: str, **more: str) -> str:
    """An address with more in its query."""
    parts = urlsplit(address)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in more]
    return parts._replace(query=urlencode([*query, *more.items()])).geturl()


def _in_app(wanted: str) -> str | None:
    """The address of a place in an installed app; None: it is none."""
    found = _IN_APP.fullmatch(wanted)
    if found is None or not wanted.isprintable() or instance().auth.sets.of_app("app", found["slug"]) is None:
        return None
    rest = found["rest"] or "/"
    return f"{request.scheme}://{instance().app_host(found['slug'])}{rest if rest.startswith('/') else '/' + rest}"


def _is_app_host(host: str) -> bool:
    """Whether a host is one of this instance's apps', `slug.domain` or `name-slug.rest`, and not another instance."""
    name, _, rest = re.escape(instance().domain).partition(r"\.")
    if not re.fullmatch(rf"{_SLUG}\.{name}\.{rest}|{name}-{_SLUG}\.{rest}" if rest else rf"{_SLUG}\.{name}", host):
        return False
    stack: Stack = request.environ["cozyd.stack"]
    try:
        stack.instance(host)
    except NotFound:
        return True
    return False
