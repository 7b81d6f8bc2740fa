"""`konnector`: runs an installed konnector with an account of hers (docs/workers.md, section 5)."""

from collections.abc import Mapping
from typing import Any

from cozyd import jsons
from cozyd.accounts import ACCOUNTS, SOFT_DELETED
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import CozyError, JobFailed, NotFound
from cozyd.files import Dir
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from workers.appjob import FINAL, environment, failure, follow, of_line, workspace

FILES, KONNECTORS = "io.cozy.files", "io.cozy.konnectors"
PAPERS = ("io.cozy.apps", "io.cozy.apps/administrative")
"""What points at the folder for papers, whatever its name."""
OWN_FOLDERS = "ownFolders"
RUNS_IN_MAINTENANCE = "harvest.skip-maintenance-for"
"""The flag that lists konnectors that run all the same."""
MAY_RUN_ALL_THE_SAME = "USER_ACTION_NEEDED.CGU_FORM"


def skips(instance: Instance, job: Job) -> bool:
    """Whether a job need not even be stored: its konnector is in maintenance, or waits for what she has to mend first."""
    return _is_in_maintenance(instance, job) or _waits_for_her(instance, job)


def _is_in_maintenance(instance: Instance, job: Job) -> bool:
    """Whether the konnector may not run now; she may ask for it all the same, unless the maintenance forbids that too."""
    slug = str(_message(job).get("konnector") or "")
    options = instance.apps.maintenance.of(slug) if slug else None
    if options is None or (job.manual and options.get("flag_disallow_manual_exec") is not True):
        return False
    found = instance.settings.flags().values.get(RUNS_IN_MAINTENANCE)
    listed = found.get("list") if isinstance(found, Mapping) else found
    return not (isinstance(listed, list) and slug in listed)


def _waits_for_her(instance: Instance, job: Job) -> bool:
    """Whether the trigger's last job failed with what she has to mend, and she did not ask for this one."""
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
    message = _message(job)
    slug = str(message.get("konnector") or "")
    app = _app(instance, slug)
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
        environ["COZY_PARAMETERS"] = jsons.dump(_parameters(instance, app)).decode()
        environ["COZY_JOB_MANUAL_EXECUTION"] = "true" if job.manual else "false"
        outcome, line = follow(instance, job, file, environ, told=True)
    error = of_line(line) if line is not None else failure(outcome, None)
    if error is not None:
        raise error
    if deleted:
        _forget_copy(instance, message)


def _message(job: Job) -> Mapping[str, Any]:
    return job.message if isinstance(job.message, dict) else {}


def _app(instance: Instance, slug: str) -> Stored:
    """The konnector, in the newest version of its channel as far as that can be had now.

    :raises JobFailed: it is not installed.
    """
    try:
        return instance.apps.brought_up(instance.apps.get("konnector", slug))
    except CozyError as cause:
        raise JobFailed(f"The konnector {slug} is not installed", ends_trigger=True) from cause


def _parameters(instance: Instance, app: Stored) -> Doc:
    """What its manifest says, and the secret that the operator has for services of its kind."""
    given = app.doc.get("parameters")
    secret = instance.apps.secret_of(str(app.doc.get("slug")))
    return (dict(given) if isinstance(given, Mapping) else {}) | ({"secret": secret} if secret else {})


def _forget_copy(instance: Instance, message: Mapping[str, Any]) -> None:
    """The konnector has cleaned up: the copy of the account that was kept for it goes."""
    copy = instance.docs.get_many(SOFT_DELETED, [str(message.get("account"))])[0]
    if copy is not None:
        instance.docs.commit_each([Write(copy.ref, rev=copy.rev, deleted=True)])


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
    """The message with a folder that is there and that the konnector may use; made again, and noted, where it was removed."""
    wanted = message.get("folder_to_save")
    if not isinstance(wanted, str) or not wanted:
        return dict(message)
    _let_in(instance, str(app.doc.get("slug") or ""))
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


def _let_in(instance: Instance, slug: str) -> None:
    """Let the konnector into the folders that are its own, whatever its manifest asks for."""

    def step() -> None:
        rights = instance.auth.sets.of_app("konnector", slug)
        if rights is None:
            return
        own = f"{KONNECTORS}/{slug}"
        rules = rights.doc.get("permissions") or {}
        if any(rule.get("selector") == "referenced_by" and own in (rule.get("values") or ()) for rule in rules.values()):
            return
        rule = {"type": FILES, "description": "The folders it saves into", "selector": "referenced_by", "values": [own]}
        instance.docs.commit([Write(rights.ref, patch={"permissions": {**rules, OWN_FOLDERS: rule}}, rev=rights.rev)])

    instance.docs.retry(step)


def _known_folder(instance: Instance, slug: str) -> Dir | None:
    """The only folder that is the konnector's."""
    nodes = _referenced(instance, (KONNECTORS, f"{KONNECTORS}/{slug}"))
    return nodes[0] if len(nodes) == 1 else None


def _referenced(instance: Instance, by: tuple[str, str]) -> list[Dir]:
    """Folders that refer to a document, as far as they are among the first hundred that do."""
    rows = instance.docs.rows("referenced-by", by, limit=100)
    return [node for node in instance.files.get_many([row.ref.id for row in rows]) if isinstance(node, Dir) and not node.trashed]


def _made_folder(instance: Instance, app: Stored, account: Stored | None) -> Dir:
    """The folder that the account names, or one among her papers, made and marked as the konnector's; the account is told."""
    slug = str(app.doc.get("slug") or "")
    path = _path_of(instance, app, account)
    home = instance.files.mkdir_all(path)
    mark = {"type": KONNECTORS, "id": f"{KONNECTORS}/{slug}"}
    known = list(home.stored.doc.get("referenced_by") or ())
    if mark not in known:
        found = instance.files.patch(home, referenced_by=[*known, mark])
        assert isinstance(found, Dir)
        home = found
    if account is not None and account.doc.get("defaultFolderPath") != path:
        instance.docs.retry(lambda: _note_folder(instance, account.ref, path))
    return home


def _path_of(instance: Instance, app: Stored, account: Stored | None) -> str:
    """Where an account's files go."""
    doc = account.doc if account is not None else {}
    given = doc.get("defaultFolderPath") or doc.get("folderPath")
    if isinstance(given, str) and given.startswith("/"):
        return given
    auth = doc.get("auth")
    login = auth.get("accountName") or auth.get("login") if isinstance(auth, dict) else None
    names = (str(app.doc.get("name") or app.doc.get("slug")), str(login or doc.get("_id") or "account"))
    papers = _referenced(instance, PAPERS)
    home = papers[0].path.rstrip("/") if papers else "/Administrative"
    return "/".join((home, *(name.replace("/", "_") for name in names)))


def _note_folder(instance: Instance, account: Ref, path: str) -> None:
    now = instance.docs.get(account)
    instance.docs.commit([Write(now.ref, patch={"defaultFolderPath": path}, rev=now.rev)])
