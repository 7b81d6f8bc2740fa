"""The operator's way in: tokens, OAuth clients, session codes, device passwords (docs/http/instances.md)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from flask import Response, request

from blueprints import _instances, _jsonapi
from blueprints._admin import stack
from blueprints._documents import answer
from blueprints._request import Service, body, public
from cozyd import seeds
from cozyd.auth import LOGINS, SESSIONS
from cozyd.auth.clients import Client, shown
from cozyd.auth.tokens import Audience
from cozyd.auth.values import Device, Reach
from cozyd.documents import Documents
from cozyd.errors import BadRequest, NotFound
from cozyd.files.tree import write_time
from cozyd.settings.owner import auth_mode_number

service = Service("admin_access", __name__, url_prefix="/instances")

AUDIENCES: dict[str, Audience] = {
    "cli": "cli",
    "app": "app",
    "webapp": "app",
    "konn": "konn",
    "konnector": "konn",
    "access": "access",
    "access-token": "access",
    "refresh": "refresh",
    "refresh-token": "refresh",
}
NO_ACTIVITY = datetime(2018, 1, 1, tzinfo=UTC)
_LIFE = re.compile(r"([0-9.]+)(ms|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@service.post("/token", access=public)
def make_token() -> Response:
    """A token of any kind; plain text."""
    asked = request.args
    auth = stack().instance(asked.get("Domain", "")).auth
    audience = AUDIENCES.get(asked.get("Audience", "cli"))
    if audience is None:
        return _told(BadRequest(f"Unknown audience {asked['Audience']}"))
    if audience != "cli" and not asked.get("Subject"):
        raise BadRequest(f"A token of {audience} needs a Subject", source="Subject")
    token = auth.minted(audience, asked.get("Subject", ""), asked.get("Scope", ""), _life(asked.get("Expire", "")))
    return Response(token, content_type="text/plain; charset=utf-8")


@service.post("/oauth_client", access=public)
def make_client() -> Response:
    """An OAuth client, let in already."""
    asked = request.args
    clients = stack().instance(asked.get("Domain", "")).auth.clients
    given = {
        "redirect_uris": [asked.get("RedirectURI", "")],
        "client_name": asked.get("ClientName", ""),
        "software_id": asked.get("SoftwareID", ""),
    }
    login = _instances.boolean(asked.get("AllowLoginScope") or "false", "AllowLoginScope")
    try:
        made = clients.register(given, allow_login_scope=login)
    except BadRequest as error:
        return _told(error)
    return answer(_client(clients.note(made, pending=...)))


@service.get("/oauth_client", access=public)
def find_client() -> Response:
    """The client of a software."""
    asked = request.args
    for client in stack().instance(asked.get("domain", "")).auth.clients.all():
        if client.stored.doc.get("software_id") == asked.get("software_id"):
            return answer(_client(client))
    raise NotFound("There is no such client")


@service.post("/<domain>/auth-mode", access=public)
def set_auth_mode(domain: str) -> Response:
    """Choose how she logs in."""
    instance = stack().instance(domain)
    name = body().get("auth_mode")
    if name is None:
        raise BadRequest("Missing auth_mode key")
    mode = auth_mode_number(name)
    if (instance.doc.get("auth_mode") or 0) == mode:
        return answer(f"Instance has already {name} auth mode")
    instance.amend(auth_mode=mode)
    return Response(status=204)


@service.post("/<domain>/session_code", access=public)
def make_session_code(domain: str) -> Response:
    """A code that opens a session of hers, once."""
    return answer({"session_code": stack().instance(domain).auth.new_session_code()}, 201)


@service.post("/<domain>/session_code/check", access=public)
def check_session_code(domain: str) -> Response:
    """Use such a code up; whether it was good."""
    code = body().get("session_code")
    is_good = isinstance(code, str) and stack().instance(domain).auth.take_session_code(code)
    return answer({"valid": is_good}, 200 if is_good else 403)


@service.post("/<domain>/magic_link", access=public)
def make_magic_link(domain: str) -> Response:
    """The code of a link that logs her in once, where she logs in by such links."""
    instance = stack().instance(domain)
    if not instance.doc.get("magic_link"):
        return answer({"error": "magic links are not enabled on this instance"}, 400)
    return answer({"code": instance.auth.once.make("magic")}, 201)


@service.post("/<domain>/email_verified_code", access=public)
def make_mailed_code(domain: str) -> Response:
    """A code that stands for the second factor once: who has it was seen to read her mails."""
    instance = stack().instance(domain)
    if instance.auth.factors.kind != "mail":
        raise BadRequest("2FA by email is not enabled on this instance")
    return answer({"email_verified_code": instance.auth.once.make("mailed")}, 201)


@service.delete("/<domain>/sessions", access=public)
def end_sessions(domain: str) -> Response:
    """End every session, and forget the log-ins."""
    docs = stack().instance(domain).docs
    for doctype in (SESSIONS, LOGINS):
        try:
            docs.drop(doctype)
        except NotFound:
            continue
        if doctype == LOGINS:
            docs.make(doctype)
    return Response(status=204)


@service.get("/<domain>/last-activity", access=public)
def last_activity(domain: str) -> Response:
    """The day when she, or a device of hers, was last here."""
    instance = stack().instance(domain)
    docs = instance.docs
    times = [_time(instance.doc.get("last_activity_from_deleted_oauth_clients"))]
    times += [_time(doc.get("created_at")) for doc in _all(docs, LOGINS)] + [_time(doc.get("last_seen")) for doc in _all(docs, SESSIONS)]
    for client in instance.auth.clients.all():
        if client.stored.doc.get("client_kind") != "sharing":
            times += [_time(client.stored.doc.get(name)) for name in ("last_refreshed_at", "synchronized_at")]
    return answer({"last-activity": max(times).strftime("%Y-%m-%d")})


@service.post("/<domain>/fixers/password-defined", access=public)
def fix_password_defined(domain: str) -> Response:
    """Have the record say whether she has a passphrase, where it does not."""
    instance = stack().instance(domain)
    if instance.doc.get("password_defined") is None:
        known = bool(instance.doc.get("onboarding_finished")) and not instance.doc.get("magic_link")
        instance.amend(password_defined=known)
    return Response(status=204)


@service.post("/<domain>/fixers/indexes", access=public)
def fix_indexes(domain: str) -> Response:
    """Make the indexes that come with doctypes, where one is missing."""
    seeds.index(stack().instance(domain).docs)
    return Response(status=204)


@service.get("/<domain>/passwords", access=public)
def list_passwords(domain: str) -> Response:
    """Her device passwords, without the passwords."""
    return _jsonapi.answer([_device(device) for device in stack().instance(domain).auth.devices.all()])


@service.post("/<domain>/passwords", access=public)
def add_password(domain: str) -> Response:
    """A new device password; `attributes.password` is never shown again."""
    reach = cast(list[Reach], _instances.names(request.args.get("Reach", "")))
    auth = stack().instance(domain).auth
    device, password = auth.add_device(request.args.get("Name", ""), reach, request.args.get("ReadOnly") == "true")
    made = _device(device)
    made["attributes"]["password"] = password
    return _jsonapi.answer(made, status=201)


@service.delete("/<domain>/passwords/<id>", access=public)
def remove_password(domain: str, id: str) -> Response:
    """Revoke a device password."""
    stack().instance(domain).auth.remove_device(id)
    return Response(status=204)


# -- inside -------------------------------------------------------------------------------------------------------------


def _told(error: BadRequest) -> Response:
    """An error as a line of text, as the reference has it in some places."""
    return Response(error.detail, error.status, content_type="text/plain; charset=utf-8")


def _client(client: Client) -> dict[str, Any]:
    return shown(client) | {"_id": client.id, "_rev": client.stored.rev}


def _device(device: Device) -> _jsonapi.Resource:
    shown: dict[str, Any] = {"name": device.name, "reach": list(device.reach), "read_only": device.read_only}
    times = {"created_at": write_time(device.created_at), "last_used": write_time(device.last_used) if device.last_used else None}
    return _jsonapi.resource("io.cozy.devices", device.id, shown | times)


def _life(text: str) -> timedelta | None:
    """A duration as Go writes it, `1h30m`; nothing means as usual.

    :raises BadRequest: it is none.
    """
    if text in ("", "0", "0s"):
        return None
    parts = _LIFE.findall(text)
    if "".join(number + unit for number, unit in parts) != text or any(number.count(".") > 1 or number == "." for number, _ in parts):
        raise BadRequest(f"{text!r} is no duration", source="Expire")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise BadRequest(f"{text!r} is too long", source="Expire") from None


def _all(docs: Documents, doctype: str) -> list[dict[str, Any]]:
    try:
        return [stored.doc for stored in docs.all(doctype).rows]
    except NotFound:
        return []


def _time(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return NO_ACTIVITY
