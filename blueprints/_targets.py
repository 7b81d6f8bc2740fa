"""Where a person goes next: her start page, one of her apps, an address that was asked for and is hers (docs/http/auth.md)."""

import re
from urllib.parse import urlsplit

from flask import request

from blueprints._request import instance
from cozyd.errors import BadRequest, NotFound
from cozyd.stack import Stack

START = "/sync/"
_SLUG = "[a-z0-9]+(?:-[a-z0-9]+)*"


def here(path: str) -> str:
    """An address on the host that was asked."""
    return f"{request.scheme}://{request.host}{path}"


def start() -> str:
    """Where she goes when nothing else was asked for."""
    return here(START)


def target(wanted: str | None) -> str:
    """Where to go after logging in: an address on this instance or on one of its apps' hosts.

    :raises BadRequest: any other address.
    """
    if not wanted:
        return start()
    try:
        parts = urlsplit(wanted)
    except ValueError:
        raise BadRequest("bad url: could not parse") from None
    if parts.scheme not in ("http", "https"):
        raise BadRequest("bad url: bad scheme")
    record = instance().doc
    if parts.netloc in (request.host, record["domain"], *record.get("domain_aliases", ())):
        return parts._replace(fragment="=").geturl()
    if not _is_app_host(parts.netloc):
        raise BadRequest("bad url: should be subdomain")
    return parts.geturl()


def carried(wanted: str, cookie: str) -> str:
    """Where to go; to an app's host with a code that carries the session there.

    :param cookie: of the session on this host.
    """
    parts = urlsplit(wanted)
    record = instance().doc
    if parts.netloc in (request.host, record["domain"], *record.get("domain_aliases", ())):
        return wanted
    auth = instance().auth
    code = auth.handover.code(auth.sessions.id_of(cookie), parts.netloc)
    query = f"{parts.query}&" if parts.query else ""
    return parts._replace(query=f"{query}session_code={code}").geturl()


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
