"""The operator's application: the life of instances (docs/http/instances.md).

The `cozyd` command is its client. Parameters come in the query, as tools of the reference send them. On the socket file, which
only the operator's user can open, it asks for no credentials; on a port it does (`cozyd/server/operator.py`).
"""

from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from blueprints import (
    _errors,
    _instances,
    _jsonapi,
    admin_access,
    admin_apps,
    admin_features,
    admin_files,
    admin_jobs,
    admin_maintenance,
    admin_moving,
    admin_notifications,
    admin_push,
    admin_search,
    status,
)
from blueprints._admin import Steps, absolute_path, reported, stack
from blueprints._documents import answer as json_answer
from blueprints._request import Service, flag, number, public
from cozyd import backup, jsons, migration
from cozyd.documents.store import Doc, Stored
from cozyd.errors import BadRequest, CozyError, NotFound
from cozyd.instance import Instance
from cozyd.records import SECRETS
from cozyd.stack import Stack
from cozyd.tenancy import NewInstance

service = Service("instances", __name__, url_prefix="/instances")


def create_admin_app(opened: Stack) -> Flask:
    """The application of the operator."""
    app = Flask("cozyd-admin", static_folder=None, template_folder=None)
    app.extensions["cozyd"] = opened
    app.register_error_handler(CozyError, _jsonapi.error_answer)
    app.register_error_handler(HTTPException, _no_route)
    app.after_request(_without_type)
    parts = (admin_features, admin_access, admin_apps, admin_files, admin_jobs, admin_maintenance, admin_moving)
    for module in (status, *parts, admin_notifications, admin_push, admin_search):
        app.register_blueprint(module.service)
    app.register_blueprint(service)
    return app


@service.get("", access=public)
def list_instances() -> Response:
    """The instances by domain, all or a page of them."""
    limit = number("page[limit]", 0, high=10_000) or None
    after, skip = request.args.get("page[cursor]", ""), number("page[skip]", 0) or 0
    found = stack().tenancy.records(after=after, skip=skip, limit=None if limit is None else limit + 1)
    links = {}
    if limit is not None and len(found) > limit:
        found = found[:limit]
        links["next"] = f"/instances?page[limit]={limit}&page[cursor]={found[-1].doc['domain']}"
    return _jsonapi.answer([_resource(stored) for stored in found], links=links, meta={"count": len(found)})


@service.get("/count", access=public)
def count_instances() -> Response:
    """How many there are."""
    return json_answer({"count": len(stack().tenancy.records())})


@service.post("", access=public)
def add_instance() -> Response:
    """Make an instance; with `Progress`, steps come as lines of JSON, and last the instance."""
    opened = stack()
    wanted = _instances.new_instance(request.args, opened.config)
    if flag("Progress"):
        return reported(_making(opened, request.args.get("Domain", ""), wanted))
    made = opened.create(request.args.get("Domain", ""), wanted)
    return _jsonapi.answer(_resource(opened.tenancy.record(made.domain), with_token=True), status=201)


@service.get("/<domain>", access=public)
def show_instance(domain: str) -> Response:
    """One instance, with what her files take."""
    return _shown(domain, with_usage=True)


@service.patch("/<domain>", access=public)
def modify_instance(domain: str) -> Response:
    """Change an instance: what is not asked for stays."""
    asked, opened = request.args, stack()
    settings = _instances.settings_changes(asked)
    changes = _instances.record_changes(asked) | _instances.quota_change(asked)
    if "DomainAliases" in asked:
        changes["domain_aliases"] = _instances.names(asked["DomainAliases"]) or None
    passphrase, new = asked.get("Passphrase"), asked.get("NewDomain", "")
    if not (settings or changes or new) and passphrase is None:
        raise BadRequest("Nothing to change was given")
    opened.tenancy.change(domain, settings, changes)
    if new:
        domain = opened.tenancy.rename(domain, new).domain
    if passphrase is not None:
        opened.set_passphrase(domain, passphrase)
    return _shown(domain)


@service.delete("/<domain>", access=public)
def remove_instance(domain: str) -> Response:
    """Remove every byte of an instance; with `Progress`, steps come as lines of JSON."""
    if not flag("Progress"):
        stack().destroy(domain)
        return Response(status=204)
    return reported({"step": step} for step in stack().tenancy.destroy(domain))


@service.get("/<domain>/settings", access=public)
def settings(domain: str) -> Response:
    """Her settings as clients read them."""
    found, _ = stack().instance(domain).settings.instance()
    return json_answer(found)


@service.get("/<domain>/prefix", access=public)
def prefix(domain: str) -> Response:
    """The tenant's name in stores."""
    return json_answer(stack().tenancy.record(domain).doc["prefix"])


@service.get("/contexts", access=public)
def contexts() -> Response:
    """What the configuration says of each context."""
    return json_answer([_context(name) for name in stack().config.contexts])


@service.get("/contexts/<name>", access=public)
def context(name: str) -> Response:
    """What it says of one."""
    if name not in stack().config.contexts:
        raise NotFound(f"There is no context {name}")
    return json_answer(_context(name))


@service.get("/with-app-version/<slug>/<version>", access=public)
def with_app_version(slug: str, version: str) -> Response:
    """The domains that have an app in a version."""
    return json_answer({"instances": [one.domain for one in stack().instances() if _version(one, slug) == version]})


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
    return reported(migration.migrate(stack(), domain, asked.get("To", ""), url=asked.get("Url", "")))


# -- inside -------------------------------------------------------------------------------------------------------------


def _making(opened: Stack, domain: str, wanted: NewInstance) -> Steps:
    steps = opened.tenancy.steps_of_making(domain, wanted)
    try:
        while True:
            yield {"step": next(steps)}
    except StopIteration as end:
        made: Instance = end.value
    yield {"data": _resource(opened.tenancy.record(made.domain), with_token=True)}


def _shown(domain: str, *, with_usage: bool = False) -> Response:
    stored = stack().tenancy.record(domain)
    meta: Doc = {}
    if with_usage:
        try:
            used, quota = stack().instance(domain).files.usage()
            meta = {"used": str(used)} | ({"quota": str(quota)} if quota else {})
        except NotFound:  # its removal was interrupted
            meta = {}
    return _jsonapi.answer(_resource(stored, with_token=with_usage), meta=meta)


def _resource(stored: Stored, *, with_token: bool = False) -> _jsonapi.Resource:
    shown = {name: value for name, value in stored.doc.items() if name not in SECRETS and not name.startswith("_")}
    shown.setdefault("password_defined", None)
    if with_token and not stored.doc.get("onboarding_finished") and stored.doc.get("register_token"):
        shown["register_token"] = stored.doc["register_token"]
    return _jsonapi.resource("instances", stored.ref.id, shown, rev=stored.rev, links={"self": f"/instances/{stored.ref.id}"})


def _version(instance: Instance, slug: str) -> str:
    try:
        return str(instance.apps.get("webapp", slug).doc.get("version", ""))
    except NotFound:
        return ""


def _context(name: str) -> dict[str, Any]:
    return {"context": name, "config": stack().config.contexts[name], "registries": []}


def _without_type(response: Response) -> Response:
    """No content has no type."""
    if response.status_code == 204:
        response.headers.pop("Content-Type", None)
    return response


def _no_route(error: HTTPException) -> Response:
    if error.code in (404, 405):
        return Response(jsons.dump({"error": _errors.no_route().detail}), 404, content_type="application/json")
    return Response(jsons.dump({"error": error.description or ""}), error.code or 500, content_type="application/json")
