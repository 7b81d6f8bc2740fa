"""`account-deleted`: what a deleted account leaves behind is tidied up (docs/jobs.md).

It comes by itself with the deletion, whichever door that came through: the commit makes the job.
"""

from typing import Any

from cozyd.accounts import SOFT_DELETED
from cozyd.documents.store import Doc, Ref, Write
from cozyd.errors import CozyError, JobFailed
from cozyd.instance import Instance
from cozyd.jobs.job import Job

ON = "io.cozy.accounts:DELETED"


def run(instance: Instance, job: Job) -> None:
    """Delete its triggers; where its konnector wants to clean up, keep a copy and run it.

    :raises JobFailed: the job was not made by a deletion.
    """
    account = _account(job)
    instance.jobs.triggers.delete_where(account=account["_id"])
    konnector = str(account.get("account_type") or "")
    if not _cleans_up(instance, konnector):
        return
    _keep(instance, account)
    message = {"account": account["_id"], "account_rev": account["_rev"], "konnector": konnector, "account_deleted": True}
    instance.jobs.push("konnector", message, manual=True)


def _account(job: Job) -> Doc:
    """The account as it was."""
    event: Any = job.event or {}
    found = event.get("old") or event.get("doc")
    if not isinstance(found, dict):
        raise JobFailed("The job has no deleted account", again=False)
    return found


def _cleans_up(instance: Instance, konnector: str) -> bool:
    """Whether an installed konnector has something to do when an account goes."""
    try:
        return bool(instance.apps.get("konnector", konnector).doc.get("on_delete_account"))
    except CozyError:
        return False


def _keep(instance: Instance, account: Doc) -> None:
    """A copy for the konnector, its secrets sealed as they were; it is there already when this runs again."""
    body = {name: value for name, value in account.items() if not name.startswith("_")}
    copy = Ref(SOFT_DELETED, account["_id"])
    if instance.docs.get_many(copy.doctype, [copy.id])[0] is None:
        instance.docs.commit([Write(copy, body=body | {"soft_deleted_rev": account["_rev"]})])
