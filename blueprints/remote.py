"""`/remote` and `/proxy`: other servers, asked for apps within what the operator allows (docs/http/remote.md)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Response, request

from blueprints._admin import stack
from blueprints._documents import answer as json_answer
from blueprints._request import Service, allow, asks, body_bytes, instance, known, principal, rule
from cozyd import jsons
from cozyd.apps.remote import NOT_PASSED, TYPES, Filled, fill, parse
from cozyd.documents.store import Ref
from cozyd.errors import BadGateway, BadRequest, Forbidden, MethodNotAllowed, NotFound, TooManyRequests, Unsupported
from cozyd.outbound import Answer
from cozyd.permissions import check_doctype

service = Service("remote", __name__)

LARGEST, WITHIN = 10 << 20, 20.0
A_MINUTE = 120
REQUESTS, PROXY = "io.cozy.remote.requests", "io.cozy.proxy"
_PASSED_ON = ("Accept", "Accept-Language", "Range", "If-None-Match", "If-Modified-Since", "If-Range")
SANDBOX = "sandbox; default-src 'none'"


@service.route("/remote/<doctype>", methods=["GET", "POST"], access=asks("GET"))
def ask(doctype: str) -> Response:
    """Send the request that was written down for a doctype."""
    check_doctype(doctype)
    allow("GET" if request.method == "GET" else "POST", doctype)
    template = parse(_template(doctype))
    if template.verb != request.method:
        raise MethodNotAllowed(f"{request.method} is not allowed on this endpoint", allow=template.verb)
    return _sent(doctype, fill(template, _variables(), _secrets(doctype)))


@service.get("/remote/_all_doctypes", access=rule("GET", "io.cozy.doctypes"))
def doctypes() -> Response:
    """The doctypes that have a request."""
    folder = stack().config.apps.requests
    names = sorted(path.parent.name for path in folder.glob("*/request")) if folder.is_dir() else []
    return json_answer(names)


@service.get("/remote/assets/<name>", access=known)
def remote_asset(name: str) -> Response:
    """A file of another server that the operator named."""
    named = dict(entry.partition("=")[::2] for entry in stack().config.apps.remote_assets.split())
    if name not in named:
        raise NotFound("wanted remote asset is not part of our asset list")
    _count()
    return _passed(stack().drivers.outbound.request("GET", named[name], limit_bytes=LARGEST, timeout=WITHIN))


@service.get("/proxy", access=asks("GET"))
def proxy() -> Response:
    """Fetch an address on a host that the operator lists, for an app whose manifest names that host."""
    hosts = stack().config.apps.proxy.split()
    if not hosts:
        raise NotFound("Not Found", error="no_route")
    url = request.args.get("url", "")
    host = _host_of(url)
    allow("GET", PROXY, {"_id": host, "host": host})
    if not any(host == entry or (entry.startswith("*.") and host.endswith(entry[1:])) for entry in hosts):
        raise Forbidden("This host is not allowed")
    _count()
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    answer = stack().drivers.outbound.request(request.method, url, headers=headers, limit_bytes=LARGEST, timeout=WITHIN)
    if urlsplit(answer.url).hostname != host:
        raise Forbidden("This host is not allowed")
    if answer.status < 300 and not TYPES.match(answer.headers.get("content-type", "")):
        raise Unsupported("This type of content is not passed on")
    _note(PROXY, request.method, url, answer, {})
    return _passed(answer)


# -- inside -------------------------------------------------------------------------------------------------------------


def _template(doctype: str) -> str:
    path = stack().config.apps.requests / doctype / "request"
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        raise NotFound("the doctype has no request defined") from None


def _variables() -> Mapping[str, str]:
    if request.method == "GET":
        return request.args.to_dict()
    given = jsons.load_object(body_bytes() or b"{}")
    if not all(isinstance(value, str) for value in given.values()):
        raise BadRequest("The body is a JSON object of texts")
    return given


def _secrets(doctype: str) -> Mapping[str, str]:
    """What the operator keeps for a doctype, in tenant `global`."""
    try:
        found = stack().drivers.common.get(Ref("io.cozy.remote.secrets", doctype)).doc
    except NotFound:
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str) and not name.startswith("_")}


def _sent(doctype: str, filled: Filled) -> Response:
    _count()
    answer = stack().drivers.outbound.request(
        filled.verb, filled.url, headers=filled.headers, body=filled.body, limit_bytes=LARGEST, timeout=WITHIN
    )
    if not TYPES.match(answer.headers.get("content-type", "")):
        raise BadGateway("This type of content is not passed on")
    _note(doctype, filled.verb, filled.shown, answer, _variables())
    return _passed(answer)


def _count() -> None:
    seen = stack().drivers.cache.hit(f"remote/{instance().prefix}/{principal().id}", 60)
    if seen > A_MINUTE:
        raise TooManyRequests("Too many requests to other servers", retry_after=60)


def _note(doctype: str, verb: str, url: str, answer: Answer, variables: Mapping[str, str]) -> None:
    """Her history of what was asked of others."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    noted: dict[str, Any] = {
        "doctype": doctype,
        "verb": verb,
        "url": url,
        "response_code": answer.status,
        "content_type": answer.headers.get("content-type", ""),
        "variables": {name: value for name, value in variables.items() if not name.startswith("secret_")},
        "created_at": now,
        "cozyMetadata": {"createdByApp": principal().id, "createdAt": now},
    }
    instance().docs.put(REQUESTS, noted)


def _passed(answer: Answer) -> Response:
    headers = {name: value for name, value in answer.headers.items() if not NOT_PASSED.match(name)}
    headers |= {"Content-Security-Policy": SANDBOX, "X-Content-Type-Options": "nosniff", "Content-Disposition": "inline"}
    return Response(answer.body, answer.status, headers=headers)


def _host_of(url: str) -> str:
    parts = stack().drivers.outbound.check(url)
    if parts.scheme != "https" and f"http://{parts.hostname}" not in stack().config.apps.proxy.split():
        raise BadRequest("Only https addresses are fetched", source="url")
    return (parts.hostname or "").lower()
