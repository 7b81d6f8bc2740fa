"""WebDAV-Push: subscribing to an address book, a calendar or the home, and the properties that say how (docs/push.md)."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Protocol
from xml.etree.ElementTree import Element

from cozyd.errors import Forbidden, Invalid, MethodNotAllowed
from cozyd.pim import Collection
from cozyd.pim.subscriptions import EVERYONE, HOME, NAMESPACE
from cozyd.webpush import Subscription
from dav.access import Environ, StartResponse, Visit, answer

P = f"{{{NAMESPACE}}}"
D = "{DAV:}"
PLACE = ".push"
"""In the place of a collection: where registrations are."""
_DEPTHS = ("0", "1", "infinity")


class Seen(Protocol):
    """What is asked for: a collection, the home, or (`top`) what is above."""

    visit: Visit
    collection: Collection | None
    top: bool


Make = Callable[[Any], str | None]


def properties(*, home: bool) -> Mapping[str, Make]:
    """The properties of what can be subscribed to."""
    deepest = f"<P:content-update>{_depth(1)}</P:content-update>" + ("" if home else f"<P:property-update>{_depth(0)}</P:property-update>")
    return {
        f"{P}transports": _transports,
        f"{P}topic": lambda seen: _when_served(seen, seen.visit.instance.subscriptions.topic(_subject(seen))),
        f"{P}supported-triggers": lambda seen: _when_served(seen, deepest),
    }


def _depth(depth: int) -> str:
    return f"<D:depth>{depth}</D:depth>"


def _subject(seen: Seen) -> str:
    return seen.collection.id if seen.collection is not None else HOME


def _when_served(seen: Seen, text: str) -> str | None:
    return text if seen.visit.instance.subscriptions.public_key else None


def _transports(seen: Seen) -> str | None:
    key = _when_served(seen, seen.visit.instance.subscriptions.public_key or "")
    return f'<P:web-push><P:vapid-public-key type="p256ecdsa">{key}</P:vapid-public-key></P:web-push>' if key else None


def is_registration(tree: Element | None) -> bool:
    """Whether a body asks to be told."""
    return tree is not None and tree.tag == f"{P}push-register"


def register(seen: Seen, tree: Element, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tell somebody from now on.

    :raises Invalid, Forbidden: by the names that the draft has for what is missing.
    """
    subscriptions = seen.visit.instance.subscriptions
    if seen.top or _when_served(seen, "-") is None:
        raise Invalid("Nobody is told of changes here", source="push-not-available")
    if seen.collection is None and not seen.visit.collections:
        raise Forbidden("This password reads nothing here", source="need-privileges")
    receiver = _receiver(tree)
    content = _wanted(tree, "content-update")
    properties = seen.collection is not None and _wanted(tree, "property-update") is not None
    if content is None and not properties:
        raise Invalid("Changes of this kind are not told", source="no-supported-trigger")
    id, expires = subscriptions.register(
        _subject(seen), receiver, content=content not in (None, "0"), properties=properties, until=_until(tree)
    )
    headers = [("Location", _address(environ, id)), ("Expires", format_datetime(expires, usegmt=True))]
    return answer(start_response, 204, headers)


def unregister(seen: Seen, id: str, start_response: StartResponse) -> Iterable[bytes]:
    """Tell somebody nothing any more.

    :raises NotFound: there is no such registration.
    """
    seen.visit.instance.subscriptions.remove(id)
    return answer(start_response, 204)


def check_method(method: str) -> None:
    """:raises MethodNotAllowed: a registration is only removed."""
    if method != "DELETE":
        raise MethodNotAllowed("A registration is only removed", allow="DELETE")


def _receiver(tree: Element) -> Subscription:
    found = tree.findall(f"{P}subscription/{P}web-push-subscription")
    if len(found) != 1:
        raise Invalid("One Web Push subscription is expected", source="invalid-subscription")
    given = {name: (found[0].findtext(f"{P}{name}") or "").strip() for name in ("push-resource", "content-encoding", "auth-secret")}
    key = found[0].find(f"{P}subscription-public-key")
    if given["content-encoding"] not in ("", "aes128gcm"):
        raise Invalid("Messages are encrypted as aes128gcm", source="invalid-subscription")
    if key is None or key.get("type", "p256dh") != "p256dh":
        raise Invalid("A public key of P-256 is expected", source="invalid-subscription")
    try:
        return Subscription.read(given["push-resource"], (key.text or "").strip(), given["auth-secret"])
    except Invalid as error:
        raise Invalid(error.detail, source="invalid-subscription") from error


def _wanted(tree: Element, name: str) -> str | None:
    """The depth of a trigger; None: it is not asked for."""
    found = tree.find(f"{P}trigger/{P}{name}")
    if found is None:
        return None
    depth = (found.findtext(f"{D}depth") or "0").strip().lower()
    return depth if depth in _DEPTHS else "0"


def _until(tree: Element) -> datetime | None:
    """When it wants to end; what is no time is no wish."""
    try:
        found = parsedate_to_datetime((tree.findtext(f"{P}expires") or "").strip())
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _address(environ: Environ, id: str) -> str:
    return f"{_base(environ)}{id}"


def _base(environ: Environ) -> str:
    return f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}{environ['SCRIPT_NAME']}/me/{PLACE}/"


def not_told(environ: Environ) -> frozenset[str]:
    """The subscriptions that are not told what this request changes (Push-Dont-Notify)."""
    given: str = environ.get("HTTP_PUSH_DONT_NOTIFY", "").strip()
    if given in ("", "*"):
        return frozenset((EVERYONE,)) if given else frozenset()
    base = _base(environ)
    return frozenset(name.removeprefix(base) for name in re.findall(r'"([^"]*)"', given) if name.startswith(base))
