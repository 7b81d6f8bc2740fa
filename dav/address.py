"""Addresses that headers and bodies of DAV requests name: is it here, and which path of ours? (RFC 4918, sections 8.3 and 10.3)."""

from urllib.parse import unquote, urljoin, urlsplit

from cozyd.documents.store import Map
from dav.access import Environ

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def here(text: str, environ: Environ, instance: Map) -> str | None:
    """The path, decoded, of an address or absolute path; None: it is elsewhere, or no address.

    :param text: of a header, as PEP 3333 hands it over; some clients leave what is not ASCII as it is.
    :param instance: the instance's document: its names are names of this server.
    """
    try:
        parts = urlsplit(text.strip().encode("latin-1").decode())
        path = unquote(parts.path, errors="strict")
    except ValueError:
        return None
    host = _host(parts.netloc, parts.scheme)
    asked = _host(str(environ.get("HTTP_HOST", "")), parts.scheme)
    known = {asked, *(str(name).lower() for name in (instance["domain"], *instance.get("domain_aliases", ())))}
    return path if not host or host in known else None


def _host(netloc: str, scheme: str) -> str:
    """The name and port, without the user that GVFS leaves in it, and without the port that goes without saying."""
    return netloc.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(scheme.lower(), ":80"))


def path_of(href: str, base: str) -> str:
    """The path, decoded, that an href of a body means; one that is none is given back as it is.

    :param base: the path of the request, which relative ones stand below.
    """
    try:
        return unquote(urlsplit(urljoin(base, href.strip())).path)
    except ValueError:
        return href.strip()
