"""`cozyd jobs`, `cozyd triggers`, `cozyd worker`."""

import json
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.serving import Served


@pytest.fixture(scope="module")
def client(served: Served) -> Client:
    return Client(served, scope=("io.cozy.jobs", "io.cozy.triggers"))


def test_a_job_is_run_listed_and_cancelled(served: Served):
    id = served.cli("jobs", "run", served.domain, "client", '{"hello": "world"}').strip()
    listed = json.loads(served.cli("jobs", "list", served.domain, "--worker", "client", "--json"))
    assert [one["message"] for one in listed if one["_id"] == id] == [{"hello": "world"}]
    assert id in served.cli("jobs", "list", served.domain)
    assert served.cli("jobs", "cancel", served.domain, id) == "It is errored.\n"
    assert id not in served.cli("jobs", "list", served.domain)


def test_what_failed_is_listed_with_its_error_and_shown(served: Served):
    id = served.cli("jobs", "run", served.domain, "client").strip()
    served.cli("jobs", "cancel", served.domain, id)
    first = served.cli("jobs", "list", served.domain, "--state", "done,errored").splitlines()[0]
    assert first.startswith(id)
    assert first.endswith("The job was cancelled")
    assert json.loads(served.cli("jobs", "show", served.domain, id))["state"] == "errored"
    assert id not in served.cli("jobs", "list", served.domain, "--worker", "log", "--state", "errored")
    with pytest.raises(RuntimeError, match="State is some of queued, running, done, errored"):
        served.cli("jobs", "list", served.domain, "--state", "lost")


def test_who_waits_is_told_how_it_ended(served: Served):
    with pytest.raises(RuntimeError, match="A mail is an object"):
        served.cli("jobs", "run", served.domain, "sendmail", '"no mail"', "--wait")
    with pytest.raises(RuntimeError, match="Message is no JSON"):
        served.cli("jobs", "run", served.domain, "sendmail", "{")
    with pytest.raises(RuntimeError, match="could not find worker"):
        served.cli("jobs", "run", served.domain, "nonsense")


def test_triggers_are_listed_launched_and_removed(served: Served, client: Client):
    attributes = {"type": "@cron", "arguments": "0 0 3 * * *", "worker": "client", "message": {"a": 1}}
    id = client.api("POST", "/jobs/triggers", {"data": {"attributes": attributes}}).json["data"]["id"]
    assert f"{id}  @cron" in served.cli("triggers", "list", served.domain)
    job = served.cli("triggers", "launch", served.domain, id).strip()
    assert client.api("GET", f"/jobs/{job}").json["data"]["attributes"]["trigger_id"] == id
    (listed,) = [one for one in json.loads(served.cli("triggers", "list", served.domain, "--json")) if one["_id"] == id]
    assert listed["current_state"]["status"] == "running"
    served.cli("triggers", "remove", served.domain, id)
    assert id not in served.cli("triggers", "list", served.domain)


def test_old_jobs_are_purged(served: Served):
    assert served.cli("jobs", "purge-old-jobs", served.domain, "--duration", "3W") == "0 jobs are removed.\n"
    with pytest.raises(RuntimeError, match="is no period"):
        served.cli("jobs", "purge-old-jobs", served.domain, "--duration", "soon")


def test_a_worker_needs_redis(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"set redis\.url"):
        Served(tmp_path / "data").cli("worker")


def test_a_job_that_is_pushed_while_nobody_serves_waits(tmp_path: Path):
    server = Served(tmp_path / "data").add_alice()
    id = server.cli("jobs", "run", server.domain, "client").strip()
    assert id in server.cli("jobs", "list", server.domain)
