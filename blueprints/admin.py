"""The operator's application: instances, tokens, device passwords (docs/http/instances.md).

It listens on a socket file that only the operator's user can open, so that it asks for no credentials itself; the `cozyd`
command is its client. Parameters come in the query, as tools of the reference send them.
"""

from typing import Any, cast

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from blueprints import _errors, _jsonapi, admin_apps, admin_files
from blueprints._admin import absolute_path, reported, stack
from blueprints._request import Service, flag, public
from cozyd import backup, jsons, migration
from cozyd.auth.values import Device, Reach
from cozyd.errors import BadRequest, CozyError, Invalid
from cozyd.files.tree import write_time
from cozyd.instance import Instance
from cozyd.stack import Stack

service = Service("instances", __name__, url_prefix="/instances")

_SECRETS = frozenset(
    ("passphrase_hash", "session_secret", "oauth_secret", "cli_secret", "register_token", "passphrase_reset_token", "_id", "_rev")
)


def create_admin_app(opened: Stack) -> Flask:
    """The application behind the admin's socket file."""
    app = Flask("cozyd-admin", static_folder=None, template_folder=None)
    app.extensions["cozyd"] = opened
    app.register_error_handler(CozyError, _jsonapi.error_answer)
    app.register_error_handler(HTTPException, _no_route)
    app.register_blueprint(service)
    app.register_blueprint(admin_files.service)
    app.register_blueprint(admin_apps.service)
    return app


@service.get("", access=public)
def list_instances() -> Response:
    """All instances, by domain."""
    return _jsonapi.answer([_resource(instance) for instance in stack().instances()])


@service.post("", access=public)
def add_instance() -> Response:
    """Make an instance."""
    asked = request.args
    made = stack().create(
        asked.get("Domain", ""),
        passphrase=asked.get("Passphrase"),
        email=asked.get("Email", ""),
        public_name=asked.get("PublicName", ""),
        aliases=_names(asked.get("DomainAliases", "")),
        locale=asked.get("Locale") or "en",
        quota=_bytes(asked.get("DiskQuota")),
    )
    return _jsonapi.answer(_resource(made, with_token=True), status=201)


@service.get("/<domain>", access=public)
def show_instance(domain: str) -> Response:
    """One instance, with what her files take."""
    instance = stack().instance(domain)
    used, quota = instance.files.usage()
    return _jsonapi.answer(_resource(instance), meta={"used": str(used)} | ({"quota": str(quota)} if quota else {}))


@service.patch("/<domain>", access=public)
def modify_instance(domain: str) -> Response:
    """Change an instance: aliases, locale, quota, passphrase."""
    passphrase = request.args.get("Passphrase")
    changes: dict[str, Any] = {}
    if "DomainAliases" in request.args:
        changes["domain_aliases"] = _names(request.args["DomainAliases"]) or None
    if request.args.get("Locale"):
        changes["locale"] = request.args["Locale"]
    if "DiskQuota" in request.args:
        quota = _bytes(request.args["DiskQuota"])
        changes["disk_quota"] = str(quota) if quota else None
    if not changes and passphrase is None:
        raise BadRequest("Nothing to change was given")
    changed = stack().modify(domain, **changes) if changes else stack().instance(domain)
    if passphrase is not None:
        changed = stack().set_passphrase(domain, passphrase)
    return _jsonapi.answer(_resource(changed))


@service.delete("/<domain>", access=public)
def remove_instance(domain: str) -> Response:
    """Remove every byte of an instance."""
    stack().destroy(domain)
    return Response(status=204)


@service.post("/<domain>/backup", access=public)
def back_up(domain: str) -> Response:
    """Write a backup to a path of this machine; progress comes as lines of JSON."""
    return reported(backup.backup(stack(), domain, absolute_path(request.args.get("Path", ""))))


@service.post("/<domain>/restore", access=public)
def put_back(domain: str) -> Response:
    """Put a backup in the place of its instance; progress comes as lines of JSON."""
    return reported(backup.restore(stack(), domain, absolute_path(request.args.get("Path", ""))))


@service.post("/<domain>/documents", access=public)
def move_documents(domain: str) -> Response:
    """Copy her documents to the other kind of store and compare both; progress comes as lines of JSON."""
    asked = request.args
    steps = migration.migrate(stack(), domain, asked.get("To", ""), url=asked.get("Url", ""), leave_attachments=flag("LeaveAttachments"))
    return reported(steps)


@service.post("/token", access=public)
def make_token() -> Response:
    """A token for scripts (`cli`), or shaped as an app's; plain text."""
    asked = request.args
    auth = stack().instance(asked.get("Domain", "")).auth
    audience = asked.get("Audience", "cli")
    if audience == "cli":
        token = auth.cli_token(asked.get("Scope", ""))
    elif audience in ("app", "webapp") and asked.get("Subject"):
        token = auth.app_token(asked["Subject"], asked.get("Scope", ""))
    else:
        raise BadRequest("Audience must be cli, or app with a Subject", source="Audience")
    return Response(token, content_type="text/plain; charset=utf-8")


@service.get("/<domain>/passwords", access=public)
def list_passwords(domain: str) -> Response:
    """Her device passwords, without the passwords."""
    return _jsonapi.answer([_device(device) for device in stack().instance(domain).auth.devices.all()])


@service.post("/<domain>/passwords", access=public)
def add_password(domain: str) -> Response:
    """A new device password; `attributes.password` is never shown again."""
    reach = cast(list[Reach], _names(request.args.get("Reach", "")))
    auth = stack().instance(domain).auth
    device, password = auth.devices.add(request.args.get("Name", ""), reach, request.args.get("ReadOnly") == "true")
    made = _device(device)
    made["attributes"]["password"] = password
    return _jsonapi.answer(made, status=201)


@service.delete("/<domain>/passwords/<id>", access=public)
def remove_password(domain: str, id: str) -> Response:
    """Revoke a device password."""
    stack().instance(domain).auth.devices.remove(id)
    return Response(status=204)


def _resource(instance: Instance, *, with_token: bool = False) -> _jsonapi.Resource:
    shown = {name: value for name, value in instance.doc.items() if name not in _SECRETS}
    if with_token and not instance.doc.get("onboarding_finished"):
        shown["register_token"] = instance.doc["register_token"]
    return _jsonapi.resource("instances", instance.domain, shown, rev=str(instance.doc.get("_rev", "")))


def _device(device: Device) -> _jsonapi.Resource:
    shown: dict[str, Any] = {"name": device.name, "reach": list(device.reach), "read_only": device.read_only}
    times = {"created_at": write_time(device.created_at), "last_used": write_time(device.last_used) if device.last_used else None}
    return _jsonapi.resource("io.cozy.devices", device.id, shown | times)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _bytes(text: str | None) -> int | None:
    """A size in bytes, or with a unit: `10GB`, `512 MiB`; -1 or nothing means no limit.

    :raises Invalid: it is none.
    """
    if not text or text == "-1":
        return None
    plain = text.strip().upper().removesuffix("B").removesuffix("I").strip()
    power = {"K": 10, "M": 20, "G": 30, "T": 40}.get(plain[-1:], 0)
    number = plain[:-1].strip() if power else plain
    if not number.isdigit():
        raise Invalid(f"{text!r} is no size", source="DiskQuota")
    return int(number) << power


def _no_route(error: HTTPException) -> Response:
    if error.code in (404, 405):
        return Response(jsons.dump({"error": _errors.no_route().detail}), 404, content_type="application/json")
    return Response(jsons.dump({"error": error.description or ""}), error.code or 500, content_type="application/json")
