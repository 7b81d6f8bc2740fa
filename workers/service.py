"""`service`: runs a service of an installed web app (docs/workers.md, section 5)."""

from typing import Any

from cozyd import jsons
from cozyd.errors import CozyError, JobFailed, NotFound
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from workers.appjob import environment, failure, follow, workspace


def run(instance: Instance, job: Job) -> None:
    """Run a service; it fails by its exit status, not by what it says.

    :raises JobFailed: it failed, took too long, or is not there any more (then its trigger goes).
    """
    message = _message(job.message)
    slug, name = str(message.get("slug") or ""), str(message.get("name") or "")
    try:
        app = instance.apps.get("webapp", slug)
    except CozyError as cause:
        raise JobFailed(f"The application {slug} is not installed", ends_trigger=True) from cause
    wanted = _file_of(app.doc.get("services"), name, message.get("service_file"))
    if wanted is None:
        raise JobFailed(f"The application {slug} has no service {name}", ends_trigger=True)
    with workspace(instance, app) as folder:
        file = (folder / wanted.lstrip("/")).resolve()
        if not file.is_relative_to(folder.resolve()) or not file.is_file():
            raise JobFailed(f"The service {name} has no file {wanted}", again=False)
        environ = environment(instance, job, _token(instance, slug), folder, app.doc)
        if message.get("fields") is not None:
            environ["COZY_FIELDS"] = jsons.dump(message["fields"]).decode()
        if job.event is not None and job.event.get("doc") is not None:
            environ["COZY_COUCH_DOC"] = jsons.dump(job.event["doc"]).decode()
        error = failure(*follow(instance, job, file, environ, told=False))
    if error is not None:
        raise error


def _file_of(services: Any, name: str, file: Any) -> str | None:
    """The file of a service that the manifest has, by the service's name or by the file's; None: it has none, whatever else the app has."""
    known = {key: one.get("file") for key, one in services.items() if isinstance(one, dict)} if isinstance(services, dict) else {}
    wanted = known.get(name, file if file in known.values() else None)
    return wanted if isinstance(wanted, str) else None


def _message(given: Any) -> dict[str, Any]:
    """The message; some clients nest it once."""
    if isinstance(given, dict) and isinstance(given.get("message"), dict) and "slug" not in given:
        given = given["message"]
    if not isinstance(given, dict):
        raise JobFailed("The message of a service is an object", again=False)
    return given


def _token(instance: Instance, slug: str) -> str:
    try:
        return instance.auth.app_token(slug)
    except NotFound as cause:
        raise JobFailed("The application has no permissions", again=False) from cause
