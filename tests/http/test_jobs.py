"""`/jobs` as clients use it: what the recorded exchanges do not show (docs/http/jobs.md)."""

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.auth.sets import PERMISSIONS
from cozyd.instance import Instance
from cozyd.jobs.job import JOBS
from cozyd.jobs.worker import Limit, Worker
from cozyd.stack import Stack
from tests.support.inside import Inside
from tests.support.stack import Clock, open_stack
from tests.support.workshop import claimed, noted

ALL = "io.cozy.jobs io.cozy.triggers io.cozy.support"


class House:
    """alice's services over workers of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        table = {
            "note": noted(),
            "sendmail": noted(),
            "client": noted(None),
            "konnector": noted(),
            "server": Worker(noted().run, reserved=True),
            "few": Worker(noted().run, limit=Limit(1)),
        }
        self.stack: Stack = open_stack(folder, self.clock, table)
        self.alice: Instance = self.stack.create("alice.localhost")
        self.stack.modify(self.alice.domain, onboarding_finished=True)
        self.web = Inside(self.stack, self.alice, ALL)

    def app(self, scope: str) -> str:
        return self.alice.auth.app_token("store", scope)

    def konnector(self, slug: str, rules: Any) -> str:
        """A konnector's token."""
        body = {"type": "konnector", "source_id": f"io.cozy.konnectors/{slug}", "permissions": rules}
        self.alice.docs.put(PERMISSIONS, body)
        return self.alice.auth.konnector_token(slug)

    def trigger(self, **attributes: Any) -> Any:
        made = self.web.send("POST", "/jobs/triggers", **{"type": "@daily", "worker": "note", "message": {}} | attributes)
        assert made.status_code == 201, made.data
        return made.json["data"]

    def run(self, id: str) -> None:
        """Do a job."""
        with claimed(self.alice.jobs, id) as job:
            assert job is not None
            self.alice.jobs.finish(job)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "data")
    yield made
    made.stack.close()


def test_a_push_s_timeout_comes_in_seconds_and_lies_in_nanoseconds(house: House):
    made = house.web.send("POST", "/jobs/queue/note", arguments=[1, "x"], manual=True, options={"timeout": 42, "max_exec_count": 2})
    assert made.status_code == 202
    attributes = made.json["data"]["attributes"]
    assert attributes["options"] == {"timeout": 42_000_000_000, "max_exec_count": 2}
    assert (attributes["message"], attributes["manual_execution"]) == ([1, "x"], True)
    assert attributes["event"] is None
    assert attributes["finished_at"] == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "options", [5, [], {"timeout": "1s"}, {"timeout": -1}, {"max_exec_count": 1.5}, {"timeout": True}, {"timeout": 10**30}]
)
def test_options_that_are_none_are_refused(house: House, options: Any):
    assert house.web.send("POST", "/jobs/queue/note", options=options).status_code == 422


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"data":[]}', b'{"data":{"attributes":3}}', b'"x"', b"\xff"])
def test_a_body_that_is_no_resource_is_a_bad_request(house: House, body: bytes):
    for path in ("/jobs/queue/note", "/jobs/triggers", "/jobs/support"):
        assert house.web.ask("POST", path, body).status_code == 400


def test_what_is_the_server_s_own_is_refused_to_all_but_the_command_line(house: House):
    app = house.app("io.cozy.jobs io.cozy.triggers")
    assert house.web.send("POST", "/jobs/queue/server", token=app).status_code == 403
    assert house.web.send("POST", "/jobs/queue/note", token=app, forward_logs=True).status_code == 403
    assert house.web.send("POST", "/jobs/queue/share-track", token=app).status_code == 403, "kept to itself by the reference"
    assert house.web.send("POST", "/jobs/triggers", token=app, type="@daily", worker="server").status_code == 403
    assert house.web.send("POST", "/jobs/queue/server", forward_logs=True).json["data"]["attributes"]["forward_logs"] is True


def test_more_than_an_instance_may_push_is_refused(house: House):
    assert house.web.send("POST", "/jobs/queue/few").status_code == 202
    refused = house.web.send("POST", "/jobs/queue/few")
    assert (refused.status_code, refused.json["errors"][0]["detail"]) == (400, "Rate limit reached")
    assert house.web.send("POST", "/jobs/queue/note").status_code == 202


def test_a_rule_for_a_worker_reaches_its_jobs_and_no_others(house: House):
    token = house.app("io.cozy.jobs:ALL:note:worker")
    job = house.web.send("POST", "/jobs/queue/note", token=token).json["data"]["id"]
    other = house.web.send("POST", "/jobs/queue/sendmail").json["data"]["id"]
    statuses = [
        house.web.ask("GET", path, token=token).status_code
        for path in (f"/jobs/{job}", "/jobs/queue/note", f"/jobs/{other}", "/jobs/queue/sendmail", "/jobs/unknown")
    ]
    assert statuses == [200, 200, 403, 403, 403]
    assert house.web.send("POST", "/jobs/queue/sendmail", token=token).status_code == 403
    assert house.web.ask("POST", "/jobs/clean", token=token).status_code == 403
    assert house.web.ask("DELETE", "/jobs/purge", token=token).status_code == 403


def test_a_queue_lists_what_is_open_longest_queued_first(house: House):
    ids = []
    for _ in range(3):
        ids.append(house.web.send("POST", "/jobs/queue/note").json["data"]["id"])
        house.clock.passes(seconds=1)
    house.run(ids[1])
    with claimed(house.alice.jobs, ids[2]):
        listed = house.web.ask("GET", "/jobs/queue/note").json
    assert [(one["id"], one["attributes"]["state"]) for one in listed["data"]] == [(ids[0], "queued"), (ids[2], "running")]
    assert listed["meta"] == {"count": 2}
    assert house.web.ask("GET", "/jobs/queue/nonsense").json == {"data": [], "meta": {"count": 0}}


def test_a_long_queue_shows_the_two_hundred_that_wait_longest(house: House):
    ids = []
    for _ in range(205):
        ids.append(house.alice.jobs.push("note", None).id)
        house.clock.passes(seconds=1)
    assert [one["id"] for one in house.web.ask("GET", "/jobs/queue/note").json["data"]] == ids[:200]


def test_a_client_ends_its_own_jobs_and_no_others(house: House):
    job = house.web.send("POST", "/jobs/queue/client", arguments={"konnector": "x"}).json["data"]["id"]
    assert house.web.send("PATCH", f"/jobs/{job}", state="running").status_code == 422
    ended = house.web.send("PATCH", f"/jobs/{job}", state="errored", error="LOGIN_FAILED").json["data"]["attributes"]
    assert (ended["state"], ended["error"]) == ("errored", "LOGIN_FAILED")
    other = house.web.send("POST", "/jobs/queue/note").json["data"]["id"]
    assert house.web.send("PATCH", f"/jobs/{other}", state="done").status_code == 403
    assert house.web.send("PATCH", "/jobs/unknown", state="done").status_code == 404


def test_the_options_of_a_job_are_both_there_as_soon_as_one_is(house: House):
    for given, known in (({}, (0, 0)), ({"max_exec_count": 2}, (2, 0)), ({"timeout": 1, "priority": 3}, (0, 10**9))):
        job = house.web.send("POST", "/jobs/queue/note", options=given).json["data"]["attributes"]
        assert job["options"] == {"max_exec_count": known[0], "timeout": known[1]}
    assert "options" not in house.web.send("POST", "/jobs/queue/note").json["data"]["attributes"]


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"data":null}', b'{"data":[]}', b'{"data":{"attributes":3}}'])
def test_a_push_without_a_resource_is_malformed(house: House, body: bytes):
    assert house.web.ask("POST", "/jobs/queue/note", body).status_code == 400
    assert house.web.ask("POST", "/jobs/queue/note", {"data": {"attributes": None}}).status_code == 202


def test_who_listens_hears_of_each_state_with_the_whole_job(house: House):
    told: list[tuple[str, str]] = []
    tenant = house.stack.instance("alice.localhost").prefix
    stop = house.stack.hub.subscribe(
        tenant, lambda changes: told.extend((one.verb, one.new.doc["state"]) for one in changes if one.new.ref.doctype == JOBS)
    )
    house.run(house.web.send("POST", "/jobs/queue/note").json["data"]["id"])
    stop()
    assert told == [("CREATED", "queued"), ("UPDATED", "running"), ("UPDATED", "done")]


def test_mails_to_support_and_to_herself_are_jobs(house: House):
    assert house.web.send("POST", "/jobs/support", arguments={"subject": "Help", "body": "It burns"}).status_code == 204
    parts = [{"type": "text/plain", "body": "Hello"}]
    assert house.web.send("POST", "/jobs/campaign-emails", arguments={"subject": "News", "parts": parts}).status_code == 204
    assert house.web.send("POST", "/jobs/campaign-emails", arguments={"subject": "News"}).status_code == 400
    assert house.web.send("POST", "/jobs/campaign-emails", arguments={"parts": parts}).status_code == 400
    messages = [one["attributes"]["message"] for one in house.web.ask("GET", "/jobs/queue/sendmail").json["data"]]
    assert [message["mode"] for message in messages] == ["support", "campaign"]
    assert messages[0]["template_values"] == {"subject": "Help", "body": "It burns"}
    for scope, status in (
        ("io.cozy.support:POST", 204),
        ("io.cozy.jobs:POST:sendmail:worker", 204),
        ("io.cozy.jobs:POST:note:worker", 403),
    ):
        token = house.app(scope)
        assert house.web.send("POST", "/jobs/support", token=token, arguments={"subject": "x", "body": "y"}).status_code == status


# -- triggers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"type": "@cron", "arguments": "nope"}, 400),
        ({"type": "@cron", "arguments": 5}, 400),
        ({"type": "@event", "arguments": "io.cozy.foos:CREATED:a:b:c"}, 400),
        ({"type": "@event", "arguments": "Not A Doctype"}, 400),
        ({"type": "@nope"}, 422),
        ({"type": None}, 422),
        ({"type": ["@cron"]}, 422),
        ({"type": "@daily", "debounce": "soon"}, 422),
        ({"type": "@daily", "debounce": 5}, 422),
        ({"type": "@daily", "options": []}, 422),
        ({"type": "@daily", "options": {"timeout": "1s"}}, 422),
        ({"type": "@hourly", "arguments": "on mon"}, 400),
        ({"type": "@daily", "worker": "nonsense"}, 404),
        ({"type": "@daily", "worker": {"a": 1}}, 400),
        ({"type": "@at", "arguments": "2026-02-30T00:00:00Z"}, 400),
    ],
)
def test_a_trigger_that_cannot_be_is_refused(house: House, attributes: Any, status: int):
    assert house.web.send("POST", "/jobs/triggers", **{"worker": "note", "message": {}} | attributes).status_code == status


def test_a_trigger_keeps_what_it_was_made_of(house: House):
    made = house.web.send(
        "POST",
        "/jobs/triggers",
        token=house.app(f"{ALL} io.cozy.bills"),
        type="@event",
        arguments="io.cozy.bills",
        worker="note",
        worker_arguments={"old": "name"},
    )
    attributes = made.json["data"]["attributes"]
    assert attributes["message"] == {"old": "name"}
    assert attributes["cozyMetadata"]["createdByApp"] == "store"
    assert made.json["data"]["meta"] == {}
    options = house.trigger(options={"timeout": 5_000_000_000, "max_exec_count": 1})["attributes"]["options"]
    assert options == {"timeout": 5_000_000_000, "max_exec_count": 1}
    assert house.trigger(options={"max_exec_count": 1})["attributes"]["options"] == {"timeout": 0, "max_exec_count": 1}


@pytest.mark.parametrize(("type", "arguments"), [("@hourly", ""), ("@hourly", "between 8am and 10am"), ("@daily", "before 5am")])
def test_hours_are_taken_by_all_that_come_at_a_moment_of_their_own(house: House, type: str, arguments: str):
    assert house.trigger(type=type, arguments=arguments)["attributes"]["arguments"] == arguments


def test_a_client_s_trigger_is_of_the_worker_client_whatever_was_sent(house: House):
    for worker in ("konnector", "client", ""):
        made = house.web.send("POST", "/jobs/triggers", token=house.app(ALL), type="@client", worker=worker, message={"konnector": "x"})
        assert (made.status_code, made.json["data"]["attributes"]["worker"]) == (201, "client")
    launched = house.web.ask("POST", f"/jobs/triggers/{made.json['data']['id']}/launch")
    assert launched.status_code == 201
    assert launched.json["data"]["attributes"]["state"] == "running"
    job = launched.json["data"]["id"]
    assert house.web.send("PATCH", f"/jobs/{job}", state="done").json["data"]["attributes"]["state"] == "done"


def test_a_list_of_one_worker_needs_the_rule_for_it(house: House):
    house.trigger()
    house.trigger(worker="konnector", type="@weekly")
    token = house.app("io.cozy.triggers:GET:konnector:worker")
    assert [one["attributes"]["worker"] for one in house.web.ask("GET", "/jobs/triggers?Worker=konnector", token=token).json["data"]] == [
        "konnector"
    ]
    for path in ("/jobs/triggers", "/jobs/triggers?Worker=note", "/jobs/triggers?Worker=konnector,note"):
        assert house.web.ask("GET", path, token=token).status_code == 403
    assert len(house.web.ask("GET", "/jobs/triggers?Worker=konnector,note").json["data"]) == 2
    listed = house.web.ask("GET", "/jobs/triggers?Type=@weekly,@cron").json
    assert [one["attributes"]["type"] for one in listed["data"]] == ["@weekly"]
    assert "current_state" in listed["data"][0]["attributes"]


def test_a_konnector_reaches_its_own_trigger_alone(house: House):
    own = house.trigger(worker="konnector", message={"konnector": "bank", "account": "a"})["id"]
    other = house.trigger(worker="konnector", message={"konnector": "shop"})["id"]
    token = house.konnector("bank", {"bills": {"type": "io.cozy.bills"}})
    asked = [("GET", ""), ("GET", "/state"), ("GET", "/jobs"), ("POST", "/launch")]
    assert [house.web.ask(method, f"/jobs/triggers/{own}{path}", token=token).status_code for method, path in asked] == [200, 200, 403, 403]
    assert [house.web.ask(method, f"/jobs/triggers/{other}{path}", token=token).status_code for method, path in asked] == [403] * 4
    assert house.web.send("PATCH", f"/jobs/triggers/{own}", token=token, message={"konnector": "bank", "account": "b"}).status_code == 200
    assert house.web.send("PATCH", f"/jobs/triggers/{other}", token=token, message={}).status_code == 403
    assert house.web.ask("DELETE", f"/jobs/triggers/{other}", token=token).status_code == 403
    assert house.web.ask("DELETE", f"/jobs/triggers/{own}", token=token).status_code == 204


def test_a_patch_changes_times_of_cron_and_messages_of_all(house: House):
    cron, daily = house.trigger(type="@cron", arguments="0 0 3 * * *")["id"], house.trigger()["id"]
    changed = house.web.send("PATCH", f"/jobs/triggers/{cron}", arguments="0 0 4 * * *", message={"a": 1}, worker="sendmail").json["data"][
        "attributes"
    ]
    assert (changed["arguments"], changed["message"], changed["worker"]) == ("0 0 4 * * *", {"a": 1}, "note")
    assert house.web.send("PATCH", f"/jobs/triggers/{daily}", message={"b": 2}).status_code == 200
    assert house.web.send("PATCH", f"/jobs/triggers/{daily}", message=None).json["data"]["attributes"]["message"] is None
    assert house.web.send("PATCH", f"/jobs/triggers/{daily}", arguments="0 0 4 * * *").status_code == 422
    assert house.web.send("PATCH", f"/jobs/triggers/{cron}", arguments="nope").status_code == 400
    assert house.web.send("PATCH", f"/jobs/triggers/{cron}", debounce="1m").status_code == 400
    assert house.web.send("PATCH", "/jobs/triggers/unknown", message={}).status_code == 404


def test_the_jobs_of_a_trigger_come_newest_first_and_not_more_than_asked_for(house: House):
    trigger = house.trigger()["id"]
    ids = []
    for _ in range(3):
        ids.append(house.web.ask("POST", f"/jobs/triggers/{trigger}/launch").json["data"]["id"])
        house.clock.passes(minutes=1)
    listed = house.web.ask("GET", f"/jobs/triggers/{trigger}/jobs?Limit=2").json["data"]
    assert [one["id"] for one in listed] == [ids[2], ids[1]]
    assert len(house.web.ask("GET", f"/jobs/triggers/{trigger}/jobs").json["data"]) == 3
    assert len(house.web.ask("GET", f"/jobs/triggers/{trigger}/jobs?Limit=-1").json["data"]) == 3
    assert house.web.ask("GET", f"/jobs/triggers/{trigger}/jobs?Limit=x").status_code == 400
    state = house.web.ask("GET", f"/jobs/triggers/{trigger}/state").json["data"]
    assert (state["type"], state["id"], state["attributes"]["status"]) == ("io.cozy.triggers.state", trigger, "queued")


# -- webhooks -----------------------------------------------------------------------------------------------------------


def test_whoever_knows_a_webhook_may_call_it(house: House):
    made = house.trigger(type="@webhook")
    assert made["links"]["webhook"] == f"http://alice.localhost/jobs/webhooks/{made['id']}"
    for body in (b'{"x":1}', b"", b"\xff\x00 no json", b"a" * (1 << 20)):
        assert house.web.ask("POST", f"/jobs/webhooks/{made['id']}?Manual=true", body, token="").status_code == 204
    jobs = house.web.ask("GET", f"/jobs/triggers/{made['id']}/jobs").json["data"]
    assert sorted(len(b64decode(one["attributes"].get("payload", ""))) for one in jobs) == [0, 7, 10, 1 << 20]
    assert all(one["attributes"]["manual_execution"] for one in jobs)
    assert sum("payload" in one["attributes"] for one in jobs) == 3, "a call without a body has none"


def test_a_webhook_tells_nothing_to_those_who_do_not_know_it(house: House):
    daily = house.trigger()["id"]
    assert house.web.ask("POST", f"/jobs/webhooks/{daily}", b"{}", token="").status_code == 422
    assert house.web.ask("POST", "/jobs/webhooks/unknown", b"{}", token="").status_code == 404
    assert house.web.ask("POST", "/jobs/webhooks/bi?event=x", b"{}", token="").status_code == 404
    hook = house.trigger(type="@webhook")["id"]
    assert house.web.ask("POST", f"/jobs/webhooks/{hook}", b"a" * ((1 << 20) + 1), token="").status_code == 413
    statuses = [house.web.ask("POST", f"/jobs/webhooks/{hook}", b"{}", token="").status_code for _ in range(40)]
    assert (statuses[0], statuses[-1]) == (204, 404)


# -- upkeep -------------------------------------------------------------------------------------------------------------


def test_forgotten_jobs_are_called_done_and_those_that_run_are_not(house: House):
    push = lambda: house.web.send("POST", "/jobs/queue/note").json["data"]["id"]  # noqa: E731
    old, dead, alive = push(), push(), push()
    with claimed(house.alice.jobs, dead):
        pass
    with claimed(house.alice.jobs, alive):
        house.clock.passes(hours=2)
        fresh = push()
        assert house.web.ask("POST", "/jobs/clean").json == {"deleted": 2}
        states = [house.alice.jobs.get(id).state for id in (old, dead, alive, fresh)]
    assert states == ["done", "done", "running", "queued"]


def test_a_purge_keeps_the_newest_fifty_and_what_is_open(house: House):
    for number in range(60):
        job = house.alice.jobs.push("note", number)
        house.run(job.id)
        house.clock.passes(minutes=1)
    house.alice.jobs.push("note", "open")
    house.run(house.alice.jobs.push("sendmail", "other").id)
    house.clock.passes(days=20)
    assert house.web.ask("DELETE", "/jobs/purge?duration=3W").json == {"deleted": 0}
    assert house.web.ask("DELETE", "/jobs/purge?workers=sendmail").json == {"deleted": 0}
    assert house.web.ask("DELETE", "/jobs/purge").json == {"deleted": 10}
    left = {stored.doc["message"] for stored in house.alice.docs.all(JOBS).rows if "message" in stored.doc}
    assert left == {*range(10, 60), "open", "other"}
    assert house.web.ask("DELETE", "/jobs/purge?duration=2W1D").json == {"deleted": 0}
    for duration, status in (("soon", 400), ("1W2", 400), ("99999Y", 200)):
        assert house.web.ask("DELETE", f"/jobs/purge?duration={duration}").status_code == status


def test_jobs_and_triggers_are_read_and_not_written_through_data(house: House):
    house.trigger()
    house.web.send("POST", "/jobs/queue/note")
    for doctype, second in (("io.cozy.jobs", "state"), ("io.cozy.triggers", "type")):
        assert house.web.ask("POST", f"/data/{doctype}/", {"worker": "note"}).status_code == 403
        assert house.web.ask("POST", f"/data/{doctype}/_bulk_docs", {"docs": [{"worker": "note"}]}).status_code == 403
        found = house.web.ask("POST", f"/data/{doctype}/_find", {"selector": {"worker": "note", second: {"$gt": None}}}).json
        assert len(found["docs"]) == 1
        assert "current_state" not in found["docs"][0]
    assert house.web.ask("GET", "/data/io.cozy.triggers.pending/_all_docs").status_code == 403


def test_errors_about_who_asks_go_by_what_is_accepted(house: House):
    refused = house.web.ask("GET", "/jobs/triggers", token="")
    assert (refused.status_code, "error" in json.loads(refused.data)) == (401, True)
    plain = house.web.ask("GET", "/jobs/triggers", token=house.app("io.cozy.bills"), accept="text/plain")
    assert (plain.status_code, plain.mimetype) == (403, "text/plain")
