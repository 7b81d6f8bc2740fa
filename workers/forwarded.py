"""Lines of a job whose log the command line asked for: events that are not stored (docs/http/realtime.md)."""

from cozyd import jsons
from cozyd.documents.store import Change, Ref, Stored
from cozyd.files.tree import write_time
from cozyd.instance import Instance
from cozyd.jobs.job import Job

LOGS = "io.cozy.jobs.logs"


def forward(instance: Instance, job: Job, level: str, message: str) -> None:
    """Tell who watches a line of a job's log, if the job was pushed with `forward_logs`."""
    if job.doc.get("forward_logs") is not True:
        return
    data = {"job_id": job.id, "worker_id": job.worker, "nspace": "jobs"}
    line = {"time": write_time(instance.now()), "message": message, "level": level, "data": data}
    instance.docs.tell([Change("CREATED", Stored(Ref(LOGS, job.id), "", jsons.dump(line)))])
