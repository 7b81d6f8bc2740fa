"""`/sync`: how to connect each device; device passwords; Apple profiles (docs/http/sync.md)."""

import contextlib
import plistlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from flask import Response, redirect, request

from blueprints import _pages, _propfind
from blueprints._qr import qr
from blueprints._request import Service, body_bytes, credentials, instance, owner, public
from cozyd.auth.values import Credentials, Device, Reach
from cozyd.errors import Invalid, NotFound, Unauthorized
from cozyd.permissions import FILES as FILES_DOCTYPE

service = Service("sync", __name__, url_prefix="/sync", errors="page")
folders = Service("folders", __name__, errors="page")

DAV, FILES = "/sync/dav/", "/sync/files/"
XML = "application/xml; charset=utf-8"
_REACH: tuple[Reach, ...] = ("contacts", "calendars", "files")


@service.get("/", access=owner, provide_automatic_options=False)
def connect() -> Response:
    """How to connect each device, and her device passwords."""
    return _connect_page(new=_new_device(request.args.get("new")), revoked="revoked" in request.args)


@service.post("/passwords", access=owner)
def add_password() -> Response:
    """Make a device password; it is shown on the page that follows."""
    _pages.check_csrf()
    form = _Form(
        request.form.get("name", ""),
        tuple(one for one in _REACH if one in request.form.getlist("reach")),
        request.form.get("read_only") == "1",
    )
    try:
        key = _add_device(form)
    except Invalid as error:
        return _connect_page(form=form, error=_pages.words()("add.empty"), status=error.status)
    return _to(f"/sync/?new={key}#new")


@service.post("/passwords/<id>/revoke", access=owner)
def revoke_password(id: str) -> Response:
    """Revoke a device password; it counts from the next request on. One that is gone already is fine."""
    _pages.check_csrf()
    with contextlib.suppress(NotFound):
        instance().auth.remove_device(id, credentials())
    return _to("/sync/?revoked#passwords")


@service.post("/apple", access=owner)
def apple_device() -> Response:
    """Make a password for an Apple device, and give the profile that brings it."""
    _pages.check_csrf()
    key = _add_device(_Form(_pages.words()("apple.device"), ("contacts", "calendars"), read_only=False))
    return _to(f"/sync/apple.mobileconfig?device={key}")


@service.get("/apple.mobileconfig", access=owner)
def apple_profile() -> Response:
    """A profile with CalDAV and CardDAV accounts for iOS and macOS; with a password that was made just now, when asked."""
    new = _new_device(request.args.get("device"))
    profile = _profile(new["password"] if new else None, new["reach"] if new else _REACH)
    answer = Response(plistlib.dumps(profile), content_type="application/x-apple-aspen-config")
    answer.headers["Content-Disposition"] = 'attachment; filename="cozyd.mobileconfig"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


@folders.route("/", methods=["OPTIONS"], access=public)
@folders.route("/principals/", methods=["OPTIONS"], access=public)
@folders.route("/sync", methods=["OPTIONS"], access=public)
@folders.route("/sync/", methods=["OPTIONS"], access=public)
def folder_options() -> Response:
    """What file managers ask first, before they show a password (RFC 4918, section 10.1)."""
    answer = Response()
    answer.headers["DAV"] = "1, 2"
    answer.headers["MS-Author-Via"] = "DAV"
    answer.headers["Allow"] = "OPTIONS, GET, HEAD, PROPFIND"
    return answer


@folders.route("/", methods=["PROPFIND"], access=public)
@folders.route("/principals/", methods=["PROPFIND"], access=public)
@folders.route("/sync", methods=["PROPFIND"], access=public)
@folders.route("/sync/", methods=["PROPFIND"], access=public)
def folder_listing() -> Response:
    """The folders above the mounts, for who pastes the bare address: they lead to the files, and name the principal."""
    shown = credentials()
    try:
        principal = instance().auth.identify(Credentials(basic=shown.basic, bearer=None if shown.basic else shown.bearer))
    except Unauthorized as error:
        refused = Response(error.detail, 401, content_type="text/plain; charset=utf-8")
        refused.headers["WWW-Authenticate"] = 'Basic realm="cozyd", charset="UTF-8"'
        return refused
    depth = request.headers.get("Depth", "infinity")
    if depth not in ("0", "1"):
        body = '<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>'
        return Response(body, 403, content_type=XML)
    asked = _propfind.asked_names(body_bytes())
    files = {FILES: "files"} if principal.may("GET", FILES_DOCTYPE) else {}
    top, below = {
        "/": ({"/": instance().public_name()}, {"/sync/": "sync"}),
        "/principals/": ({"/principals/": "principals"}, {}),
    }.get(request.path, ({"/sync/": "sync"}, files))
    return Response(_propfind.multistatus(top | (below if depth == "1" else {}), asked), 207, content_type=XML)


# -- inside -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Form:
    """What the form for a new password has in it."""

    name: str = ""
    reach: tuple[Reach, ...] = _REACH
    read_only: bool = False


def _connect_page(
    *, new: dict[str, Any] | None = None, revoked: bool = False, form: _Form | None = None, error: str = "", status: int = 200
) -> Response:
    token = _pages.csrf_token()
    words = _pages.words()
    host = _device_host()
    base = f"{request.scheme}://{host}"
    page = _pages.page(
        "connect.html",
        status,
        name=instance().public_name(),
        csrf=token,
        new=new,
        notice=words("passwords.revoked") if revoked else "",
        form=form or _Form(),
        error=error,
        dav=base + DAV,
        files=base + FILES,
        gvfs=f"{base.replace('http', 'dav', 1)}{FILES}".replace("//", "//me@", 1),
        qr=qr(base + "/sync/", base + "/sync/"),
        local=_is_local(host),
        devices=instance().auth.devices.all(),
        names=lambda reach: words("reach.join").join(words(f"reach.{one}") for one in reach),
        day=_day,
    )
    return _pages.with_csrf(page, token, "/sync")


def _day(time: datetime) -> str:
    """A day for people, in UTC as it was noted."""
    ago = (instance().now().date() - time.date()).days
    return _pages.words()({0: "day.today", 1: "day.yesterday"}[ago]) if ago in (0, 1) else time.strftime("%Y-%m-%d")


def _device_host() -> str:
    """The host that devices are told: names below `localhost` are known to browsers only, so there an alias that every program resolves."""
    host = request.host
    if not _name(host).endswith(".localhost"):
        return host
    aliases: Sequence[str] = instance().doc.get("domain_aliases", ())
    return next((alias for alias in aliases if not _name(alias).endswith(".localhost")), host)


def _is_local(host: str) -> bool:
    """Whether other machines cannot come to this host."""
    return _name(host) == "localhost" or _name(host).endswith(".localhost") or host.startswith("127.")


def _name(host: str) -> str:
    return host.partition(":")[0]


def _add_device(form: _Form) -> str:
    """Make a device password; the key under which the pages may show it for a while."""
    auth = instance().auth
    device, password = auth.add_device(form.name, form.reach, form.read_only, credentials())
    return auth.show_for_a_while(f"{device.id} {password}")


def _new_device(key: str | None) -> dict[str, Any] | None:
    """A device whose password was made in the last minutes."""
    shown = instance().auth.shown(key) if key else None
    if shown is None:
        return None
    id, _, password = shown.partition(" ")
    device: Device | None = next((one for one in instance().auth.devices.all() if one.id == id), None)
    if device is None:
        return None
    return {"name": device.name, "password": password, "key": key, "reach": device.reach, "profile": bool(_accounts(device.reach))}


def _to(path: str) -> Response:
    return cast(Response, redirect(path, 303))


def _profile(password: str | None, reach: tuple[Reach, ...]) -> dict[str, Any]:
    """A configuration profile: stable identifiers, so that installing it again replaces the old one."""
    host, _, port = _device_host().partition(":")
    secure = request.scheme == "https"
    payloads = [_account(kind, prefix, host, port, secure, password) for kind, prefix in _accounts(reach)]
    name = instance().public_name()
    return {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"cloud.cozyd.{host}",
        "PayloadUUID": _uuid(host, "profile"),
        "PayloadDisplayName": f"{name} ({host})",
        "PayloadDescription": f"Contacts and calendars of {host}",
        "PayloadOrganization": "cozyd",
        "PayloadContent": payloads,
    }


def _accounts(reach: Sequence[Reach]) -> list[tuple[str, str]]:
    """The kinds of accounts a profile has for what a device reaches; files are none of Apple's."""
    kinds: Sequence[tuple[Reach, str, str]] = (
        ("calendars", "com.apple.caldav.account", "CalDAV"),
        ("contacts", "com.apple.carddav.account", "CardDAV"),
    )
    return [(kind, prefix) for one, kind, prefix in kinds if one in reach]


def _account(kind: str, prefix: str, host: str, port: str, secure: bool, password: str | None) -> dict[str, Any]:
    account: dict[str, Any] = {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"cloud.cozyd.{host}.{prefix.lower()}",
        "PayloadUUID": _uuid(host, prefix),
        "PayloadDisplayName": prefix,
        f"{prefix}AccountDescription": host,
        f"{prefix}HostName": host,
        f"{prefix}Port": int(port) if port else (443 if secure else 80),
        f"{prefix}UseSSL": secure,
        f"{prefix}PrincipalURL": "/sync/dav/me/",
        f"{prefix}Username": "me",
    }
    if password:
        account[f"{prefix}Password"] = password
    return account


def _uuid(host: str, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://{host}/sync/{name}")).upper()
