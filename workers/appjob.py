"""What konnectors and services have in common: a folder with the app's files, its environment, its log (docs/workers.md, section 5)."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cozyd import jsons
from cozyd.documents.store import Change, Ref, Stored
from cozyd.errors import JobFailed, NotFound
from cozyd.instance import Instance
from cozyd.jobs.job import OUT_OF_TIME, Job
from workers.forwarded import forward
from workers.program import Line, Outcome, run_program
from workers.scratch import scratch

EVENTS = "io.cozy.jobs.events"
LARGEST_PAYLOAD = 100_000
"""Bytes of a payload that fit into the environment; a larger one lies in a file."""
MORE_TIME = 5
"""Seconds that a program believes to have beyond its own, as the reference has it."""
MEMORY = "--max-old-space-size=512"
"""MiB that JavaScript's objects may take."""
FINAL = ("LOGIN_FAILED", "USER_ACTION_NEEDED")
"""Errors that another try does not mend."""


@contextmanager
def workspace(instance: Instance, app: Stored) -> Iterator[Path]:
    """A folder of its own with the files of an app.

    :raises JobFailed: they are not here.
    """
    try:
        files = instance.apps.bundle(app).folder / "files"
    except NotFound as cause:
        raise JobFailed("The files of the app are not here", again=False) from cause
    with scratch() as own:
        folder = own / "app"
        shutil.copytree(files, folder)
        yield folder


def environment(instance: Instance, job: Job, token: str, folder: Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a konnector or service is told of its instance and its job."""
    found = {
        "COZY_URL": instance.url("/"),
        "COZY_CREDENTIALS": token,
        "COZY_LANGUAGE": str(manifest.get("language") or "node"),
        "COZY_LOCALE": str(instance.doc.get("locale", "en")),
        "COZY_TIME_LIMIT": str(int(job.seconds_left()) + MORE_TIME),
        "COZY_JOB_ID": f"{job.worker}/0/{job.id}",
        "NODE_OPTIONS": MEMORY,
        "NODE_ENV": "production",
    }
    if job.trigger_id:
        found["COZY_TRIGGER_ID"] = job.trigger_id
    if job.payload is not None:
        found["COZY_PAYLOAD"] = job.payload.decode("utf-8", "replace")
        if len(job.payload) > LARGEST_PAYLOAD or b"\0" in job.payload:  # which no environment can hold
            (folder / "cozy_payload.json").write_bytes(job.payload)
            found["COZY_PAYLOAD"] = "@cozy_payload.json"
    return found


def follow(instance: Instance, job: Job, file: Path, environ: Mapping[str, str], *, told: bool) -> tuple[Outcome, Line | None]:
    """Run a program of Node; how it ended, and the line that says why it failed: the last critical one, else the last error.

    :param told: whether its lines are events, for those who watch.
    """
    last: dict[str, Line] = {}

    def tell(line: Line) -> None:
        last[line.type] = line
        forward(instance, job, line.type, line.message)
        if told:
            made = Stored(Ref(EVENTS, ""), "", jsons.dump({"type": line.type, "message": line.message}))
            instance.docs.tell([Change("CREATED", made)])

    outcome = run_program(["node", str(file)], file.parent, environ, max(1.0, job.seconds_left()), tell)
    return outcome, last.get("critical") or last.get("error")


def failure(outcome: Outcome, line: Line | None) -> JobFailed | None:
    """The error of a program that ended badly; None: it ended well."""
    if outcome.timed_out:
        return JobFailed(line.message if line else OUT_OF_TIME)
    if outcome.status == 0:
        return None
    if line is not None:
        return of_line(line)
    if outcome.status == 127 or b"No such file or directory: 'node'" in outcome.stderr or b"FileNotFoundError" in outcome.stderr:
        return JobFailed("Node is not installed here", again=False)
    said = outcome.stderr.decode("utf-8", "replace").strip().splitlines()
    how = f"signal {-outcome.status}" if outcome.status < 0 else f"status {outcome.status}"
    return JobFailed(f"The program ended with {how}" + (f": {said[-1][:500]}" if said else ""))


def of_line(line: Line) -> JobFailed:
    """The error that a line tells; those that she has to mend are not tried again."""
    return JobFailed(line.message, again=not (line.no_retry or line.message.startswith(FINAL)))
