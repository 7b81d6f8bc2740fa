"""How the last jobs of a trigger went: pure (docs/http/jobs.md)."""

from collections.abc import Sequence

from cozyd.documents.store import Doc
from cozyd.jobs.job import Job


def state_of(id: str, newest_first: Sequence[Job]) -> Doc:
    """`current_state` of a trigger.

    :param newest_first: its last jobs.
    """
    found: Doc = {"trigger_id": id, "status": newest_first[0].state if newest_first else "done"}
    for job in reversed(newest_first):
        at = job.doc.get("started_at")
        found |= {"last_execution": at, "last_executed_job_id": job.id}
        if job.manual:
            found |= {"last_manual_execution": at, "last_manual_job_id": job.id}
        if job.state == "errored":
            found |= {"last_failure": at, "last_failed_job_id": job.id}
            found["last_error"] = job.doc.get("error")
        elif job.state == "done":
            found |= {"last_success": at, "last_successful_job_id": job.id}
    return {name: value for name, value in found.items() if value}
