"""Requests to other servers that the operator wrote down, for `/remote`: templates and what fills them (docs/http/remote.md). No I/O.

A file `request`: `GET https://host/path?query`, then headers, an empty line, and the body of a POST. `{{name}}` is filled from what the app
sends, escaped for its place; names that begin with `secret_` from the operator's secrets alone, whatever an app sends.
"""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, urlsplit

from cozyd import jsons
from cozyd.errors import BadRequest

SECRET = "secret_"  # noqa: S105  (a prefix)
TYPES = re.compile(
    r"(application/(json|vnd\.api\+json|xml|sparql-results\+json)|text/(xml|plain)|image/[\w.+-]+|audio/[\w.+-]+|video/[\w.+-]+)\s*(;|$)"
)
"""What may come back."""
NOT_PASSED = re.compile(
    r"(set-cookie|access-control-.*|content-security-policy.*|strict-transport-security|x-frame-options|connection|transfer-.*|keep-alive|date|server|content-encoding|content-length)$"
)
_VARIABLE = re.compile(r"\{\{\s*(?:(json|html|query|path|header)\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A request as it was written down.

    :param host: the host and its port; never filled.
    """

    verb: str
    scheme: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Filled:
    """A request that can be sent.

    :param shown: its address with the secrets left out, for the log.
    """

    verb: str
    url: str
    shown: str
    headers: Mapping[str, str]
    body: bytes | None


def parse(text: str) -> Template:
    """Read a template.

    :raises BadRequest: it is none; the operator's mistake.
    """
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.strip("\n").split("\n")
    verb, _, address = first.strip().partition(" ")
    try:
        parts = urlsplit(address.strip())
    except ValueError as cause:
        raise BadRequest("the request is not valid") from cause
    if verb not in ("GET", "POST") or parts.scheme not in ("http", "https") or not parts.netloc or "{{" in parts.netloc:
        raise BadRequest("the request is not valid")
    headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip()}
    return Template(verb, parts.scheme, parts.netloc, parts.path, parts.query, headers, body)


def fill(template: Template, given: Mapping[str, str], secrets: Mapping[str, str]) -> Filled:
    """Fill a template.

    :param given: what the app sends.
    :param secrets: name without the prefix -> value.
    :raises BadRequest: it names what was not sent.
    """
    values = {name: value for name, value in given.items() if not name.startswith(SECRET)}
    values |= {SECRET + name: value for name, value in secrets.items()}
    hidden = values | {SECRET + name: "..." for name in secrets}

    def address(known: Mapping[str, str]) -> str:
        query = f"?{_filled(template.query, known, quote_plus)}" if template.query else ""
        return f"{template.scheme}://{template.host}{_filled(template.path, known, _for_path)}{query}"

    headers = {name: _filled(value, values, _for_header) for name, value in template.headers.items()}
    body = _filled(template.body, values, None).encode() if template.verb == "POST" else None
    return Filled(template.verb, address(values), address(hidden), headers, body)


def _filled(text: str, values: Mapping[str, str], escape: Callable[[str], str] | None) -> str:
    def one(found: re.Match[str]) -> str:
        value = values.get(found[2])
        if value is None:
            raise BadRequest(f"the variable {found[2]} is missing", source=found[2])
        return (escape or _ESCAPES.get(found[1] or "") or str)(value)

    return _VARIABLE.sub(one, text)


def _for_path(value: str) -> str:
    escaped = quote(value, safe="")
    return escaped.replace(".", "%2E") if set(value) <= {"."} else escaped


def _for_header(value: str) -> str:
    return "".join(
        letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in value.replace("\n", "\\n").replace("\r", "\\r")
    )


def _for_json(value: str) -> str:
    return jsons.dump(value).decode()[1:-1]


_ESCAPES: Mapping[str, Callable[[str], str]] = {
    "json": _for_json,
    "html": html.escape,
    "query": quote_plus,
    "path": _for_path,
    "header": _for_header,
}
