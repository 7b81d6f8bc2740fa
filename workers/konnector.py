"""`konnector`: runs an installed konnector with an account of hers (docs/workers.md, section 5)."""

from collections.abc import Mapping
from typing import Any

from cozyd import jsons
from cozyd.documents.store import Doc, Ref, Stored
from cozyd.errors import CozyError, JobFailed, NotFound
from cozyd.files import Dir
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from workers.appjob import FINAL, environment, failure, follow, of_line, workspace

ACCOUNTS, KONNECTORS = "io.cozy.accounts", "io.cozy.konnectors"
MAY_RUN_ALL_THE_SAME = "USER_ACTION_NEEDED.CGU_FORM"


def skips(instance: Instance, job: Job) -> bool:
    """Whether a job need not be done: the last one failed with what she has to mend first, and she did not ask for this one."""
    if job.manual or not job.trigger_id:
        return False
    try:
        state = instance.jobs.triggers.state(job.trigger_id)
    except CozyError:
        return False
    error = str(state.get("last_error") or "")
    return state.get("status") == "errored" and error.startswith(FINAL) and error != MAY_RUN_ALL_THE_SAME


def run(instance: Instance, job: Job) -> None:
    """Run a konnector; a line that says `error` or `critical` is a failure, whatever its exit status.

    :raises JobFailed: it failed, or it or its account is not there any more (then its trigger goes).
    """
    message = job.message if isinstance(job.message, dict) else {}
    slug = str(message.get("konnector") or "")
    try:
        app = instance.apps.get("konnector", slug)
    except CozyError as cause:
        raise JobFailed(f"The konnector {slug} is not installed", ends_trigger=True) from cause
    account = _account(instance, message)
    deleted = message.get("account_deleted") is True
    if not deleted:
        message = _with_folder(instance, job, app, account, message)
    with workspace(instance, app) as folder:
        wanted = str(app.doc.get("on_delete_account") or "") if deleted else "index.js"
        file = (folder / wanted.lstrip("/")).resolve()
        if not wanted or not file.is_relative_to(folder.resolve()) or not file.is_file():
            raise JobFailed(f"The konnector {slug} has no file {wanted}", again=False)
        environ = environment(instance, job, instance.auth.konnector_token(slug), folder, app.doc)
        environ["COZY_FIELDS"] = jsons.dump(message).decode()
        environ["COZY_PARAMETERS"] = jsons.dump(app.doc.get("parameters") or {}).decode()
        environ["COZY_JOB_MANUAL_EXECUTION"] = "true" if job.manual else "false"
        outcome, line = follow(instance, job, file, environ, told=True)
    if line is not None:
        raise of_line(line)
    error = failure(outcome, None)
    if error is not None:
        raise error


def _account(instance: Instance, message: Mapping[str, Any]) -> Stored | None:
    id = message.get("account")
    if not isinstance(id, str) or not id or message.get("account_deleted") is True:
        return None
    try:
        return instance.docs.get(Ref(ACCOUNTS, id))
    except NotFound as cause:
        raise JobFailed("The account is not there any more", ends_trigger=True) from cause


# -- where its files go -----------------------------------------------------------------------------------------------------


def _with_folder(instance: Instance, job: Job, app: Stored, account: Stored | None, message: Mapping[str, Any]) -> Doc:
    """The message with a folder that is there; made again, and noted, where it was removed."""
    wanted = message.get("folder_to_save")
    if not isinstance(wanted, str) or not wanted:
        return dict(message)
    try:
        if not instance.files.dir(wanted).trashed:
            return dict(message)
    except CozyError:
        pass  # it was removed: the next lines find or make another
    home = _known_folder(instance, str(message["konnector"])) or _made_folder(instance, app, account)
    fresh = {**message, "folder_to_save": home.id}
    if job.trigger_id:
        instance.jobs.triggers.patch(job.trigger_id, message=fresh)
    return fresh


def _known_folder(instance: Instance, slug: str) -> Dir | None:
    """The only folder that is the konnector's."""
    rows = instance.docs.rows("referenced-by", (KONNECTORS, f"{KONNECTORS}/{slug}"), limit=3)
    nodes = [node for node in instance.files.get_many([row.ref.id for row in rows]) if isinstance(node, Dir) and not node.trashed]
    return nodes[0] if len(nodes) == 1 else None


def _made_folder(instance: Instance, app: Stored, account: Stored | None) -> Dir:
    """The folder that the account names, or one below Administrative, made and marked as the konnector's."""
    doc = account.doc if account is not None else {}
    slug = str(app.doc.get("slug") or "")
    path = doc.get("defaultFolderPath") or doc.get("folderPath")
    if not isinstance(path, str) or not path.startswith("/"):
        auth = doc.get("auth")
        login = auth.get("accountName") or auth.get("login") if isinstance(auth, dict) else None
        name = str(login or doc.get("_id") or "account").replace("/", "_")
        path = f"/Administrative/{str(app.doc.get('name') or slug).replace('/', '_')}/{name}"
    home = instance.files.mkdir_all(path)
    mark = {"type": KONNECTORS, "id": f"{KONNECTORS}/{slug}"}
    known = list(home.stored.doc.get("referenced_by") or ())
    if mark not in known:
        found = instance.files.patch(home, referenced_by=[*known, mark])
        assert isinstance(found, Dir)
        home = found
    return home
