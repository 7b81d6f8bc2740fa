"""`/sync`: how to connect each device; device passwords; Apple profiles (docs/connect.md)."""

import io
import plistlib
import uuid
from typing import Any, cast

from flask import Response, redirect, request
from markupsafe import Markup

from blueprints import _pages, _propfind
from blueprints._request import Service, body_bytes, credentials, instance, owner, public
from cozyd.auth.values import Credentials, Device, Reach
from cozyd.errors import NotFound, Unauthorized
from cozyd.permissions import FILES as FILES_DOCTYPE

service = Service("sync", __name__, url_prefix="/sync", errors="page")
folders = Service("folders", __name__, errors="page")

DAV, FILES = "/sync/dav/", "/sync/files/"
XML = "application/xml; charset=utf-8"
LONGEST_NAME = 80
_REACH: tuple[Reach, ...] = ("contacts", "calendars", "files")


@service.get("/", access=owner, provide_automatic_options=False)
def connect() -> Response:
    """How to connect each device, and her device passwords."""
    return _connect_page(new=_new_device(request.args.get("new")))


@service.post("/passwords", access=owner)
def add_password() -> Response:
    """Make a device password; it is shown on the page that follows."""
    _pages.check_csrf()
    name = request.form.get("name", "").strip()[:LONGEST_NAME]
    reach = [one for one in _REACH if one in request.form.getlist("reach")]
    if not name or not reach:
        return _connect_page(notice=_pages.words()("add.empty"), status=422)
    auth = instance().auth
    device, password = auth.add_device(name, reach, request.form.get("read_only") == "1")
    key = auth.show_for_a_while(f"{device.id} {password}")
    return cast(Response, redirect(f"/sync/?new={key}", 303))


@service.post("/passwords/<id>/revoke", access=owner)
def revoke_password(id: str) -> Response:
    """Revoke a device password; it counts from the next request on."""
    _pages.check_csrf()
    try:
        instance().auth.remove_device(id)
    except NotFound:
        return cast(Response, redirect("/sync/", 303))
    return cast(Response, redirect("/sync/", 303))


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
    top = {"/": instance().public_name()} if request.path == "/" else {"/sync/": "sync"}
    below = {"/sync/": "sync"} if request.path == "/" else {FILES: "files"} if principal.may("GET", FILES_DOCTYPE) else {}
    return Response(_propfind.multistatus(top | (below if depth == "1" else {}), asked), 207, content_type=XML)


# -- inside -------------------------------------------------------------------------------------------------------------


def _connect_page(*, new: dict[str, Any] | None = None, notice: str = "", status: int = 200) -> Response:
    token = _pages.csrf_token()
    words = _pages.words()
    base = request.host_url.rstrip("/")
    scheme = {"http": "dav", "https": "davs"}[request.scheme]
    page = _pages.page(
        "connect.html",
        status,
        name=instance().public_name(),
        csrf=token,
        new=new,
        notice=notice,
        dav=base + DAV,
        files=base + FILES,
        gvfs=f"{scheme}://me@{request.host}{FILES}",
        qr=_qr(base + "/sync/"),
        devices=instance().auth.devices(),
        names=lambda reach: words("reach.join").join(words(f"reach.{one}") for one in reach),
        day=lambda time: time.strftime("%Y-%m-%d"),
    )
    return _pages.with_csrf(page, token, "/sync")


def _new_device(key: str | None) -> dict[str, Any] | None:
    """A device whose password was made in the last minutes."""
    shown = instance().auth.shown(key) if key else None
    if shown is None:
        return None
    id, _, password = shown.partition(" ")
    device: Device | None = next((one for one in instance().auth.devices() if one.id == id), None)
    return {"name": device.name, "password": password, "key": key, "reach": device.reach} if device is not None else None


def _qr(text: str) -> Markup:
    """A QR code as SVG without a style of its own."""
    import segno

    out = io.BytesIO()
    segno.make(text, error="m").save(
        out, kind="svg", xmldecl=False, svgns=True, border=0, dark="#111", light=None, omitsize=True, title=text
    )
    return Markup(out.getvalue().decode())  # noqa: S704 - segno escapes the title


def _profile(password: str | None, reach: tuple[Reach, ...]) -> dict[str, Any]:
    """A configuration profile: stable identifiers, so that installing it again replaces the old one."""
    host, _, port = request.host.partition(":")
    secure = request.scheme == "https"
    accounts = [("calendars", "com.apple.caldav.account", "CalDAV"), ("contacts", "com.apple.carddav.account", "CardDAV")]
    payloads = [_account(kind, prefix, host, port, secure, password) for one, kind, prefix in accounts if one in reach]
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
