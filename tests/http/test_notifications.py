"""`/notifications`: who may send, what is kept, what leaves the house and how (docs/http/notifications.md)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from blueprints.admin import create_admin_app
from cozyd.auth.clients import CLIENTS
from cozyd.auth.sets import PERMISSIONS
from cozyd.config import Config, Outbound, Storage
from cozyd.documents.store import Ref
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from cozyd.jobs.worker import Limit, Worker
from cozyd.notifications import MUTED, NOTIFICATIONS
from cozyd.stack import Stack
from tests.support.inside import Inside
from tests.support.pushservice import PushService
from tests.support.stack import Clock
from tests.support.workshop import noted
from workers import push

DAY = 86_400 * 10**9
CATEGORIES = {
    "plain": {"description": "anything"},
    "balance": {"stateful": True, "collapsible": True},
    "rare": {"min_interval": DAY},
    "once": {"min_interval": 1e300},
}


class House:
    """alice with an app, a konnector and clients that may notify."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        table = {"sendmail": noted(), "push": Worker(push.run, tries=1, limit=Limit(30)), "client": noted(None)}
        config = Config(storage=Storage(path=folder), outbound=Outbound(allow="127.0.0.1"))
        self.stack = Stack(config, table, now=self.clock)
        self.alice: Instance = self.stack.create("alice.localhost")
        self.stack.modify(self.alice.domain, onboarding_finished=True)
        self.web = Inside(self.stack, self.alice, "io.cozy.notifications")
        self.alice.docs.put("io.cozy.apps", {"_id": "io.cozy.apps/bank", "slug": "bank", "notifications": CATEGORIES})
        self.alice.docs.put("io.cozy.apps", {"_id": "io.cozy.apps/mute", "slug": "mute"})
        self.alice.docs.put("io.cozy.konnectors", {"_id": "io.cozy.konnectors/sncf", "slug": "sncf", "notifications": CATEGORIES})

    def send(self, *, token: str | None = None, **attributes: Any) -> Any:
        shown = self.alice.auth.app_token("bank", "io.cozy.bills") if token is None else token
        return self.web.send(
            "POST", "/notifications", token=shown, **{"category": "plain", "title": "Hello", "content": "text"} | attributes
        )

    def jobs(self, worker: str = "sendmail") -> list[Job]:
        return list(self.alice.jobs.queue(worker))

    def run(self, job: Job) -> Job:
        """Do a job, as its thread would."""
        self.stack.runner.run("alice.localhost", job.id)
        return self.alice.jobs.get(job.id)

    def kept(self) -> list[Any]:
        return [stored.doc for stored in self.alice.docs.all(NOTIFICATIONS).rows if "title" in stored.doc]

    def client(self, **members: Any) -> str:
        """A client that the owner let in; its token."""
        doc = {"client_name": "phone", "redirect_uris": ["app://x"], "client_secret": "s", **members}
        id = self.alice.docs.put(CLIENTS, doc).ref.id
        return self.alice.auth._sign("access", id, scope="io.cozy.bills")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "data")
    yield made
    made.stack.close()


def test_a_notification_is_kept_told_and_mailed(house: House):
    told: list[Any] = []
    stop = house.stack.hub.subscribe(
        house.stack.instance("alice.localhost").prefix, lambda changes: told.extend(one.new for one in changes)
    )
    made = house.send(category_id="1", message="short", content_html="<p>text</p>", data={"a": 1}, at=None, slug="liar", originator="liar")
    stop()
    assert made.status_code == 201
    data = made.json["data"]
    kept = data["attributes"]
    assert (data["type"], data["links"]["self"]) == ("io.cozy.notifications", f"/notifications/{data['id']}")
    assert kept == house.kept()[0]
    assert {name: value for name, value in kept.items() if not name.startswith("_")} == {
        "source_id": "cozy/app/bank/plain/1",
        "originator": "app",
        "slug": "bank",
        "category": "plain",
        "category_id": "1",
        "title": "Hello",
        "message": "short",
        "data": {"a": 1},
        "content": "text",
        "content_html": "<p>text</p>",
        "created_at": "2026-11-24T12:00:00Z",
        "last_sent": "2026-11-24T12:00:00Z",
    }
    assert any(stored.ref == Ref(NOTIFICATIONS, data["id"]) for stored in told)
    (job,) = house.jobs()
    assert job.message == {
        "mode": "noreply",
        "subject": "Hello",
        "parts": [{"type": "text/plain", "body": "text"}, {"type": "text/html", "body": "<p>text</p>"}],
    }


@pytest.mark.parametrize(
    "attributes",
    [
        {"title": None},
        {"title": ""},
        {"title": 5},
        {"category": 5},
        {"content": {"a": 1}},
        {"preferred_channels": "mail"},
        {"preferred_channels": [5]},
        {"data": []},
        {"at": "tomorrow"},
    ],
)
def test_what_cannot_be_one_is_refused_and_nothing_is_kept(house: House, attributes: Any):
    assert house.send(**attributes).status_code == 400
    assert house.kept() == []


def test_only_what_was_declared_may_be_sent(house: House):
    assert house.send(category="unknown").json["errors"][0]["detail"] == "Notification category does not exist"
    mute = house.send(token=house.alice.auth.app_token("mute", "io.cozy.bills"))
    assert (mute.status_code, mute.json["errors"][0]["detail"]) == (403, "No category for this app")
    assert house.send(token=house.alice.auth.app_token("absent", "io.cozy.bills")).status_code == 404
    assert house.send(token=house.alice.auth.cli_token("io.cozy.notifications")).status_code == 403
    assert house.send(token="").status_code == 401
    assert house.kept() == []


def test_konnectors_and_clients_send_under_their_own_name(house: House):
    house.alice.docs.put(
        PERMISSIONS, {"type": "konnector", "source_id": "io.cozy.konnectors/sncf", "permissions": {"b": {"type": "io.cozy.bills"}}}
    )
    tokens = [
        house.alice.auth.konnector_token("sncf"),
        house.client(software_id="registry://bank"),
        house.client(software_id="x", notifications=CATEGORIES),
    ]
    found = [house.send(token=token).json["data"]["attributes"] for token in tokens]
    assert [one["source_id"] for one in found] == ["cozy/konnector/sncf/plain/", "cozy/oauth/bank/plain/", "cozy/oauth//plain/"]
    assert "slug" not in found[2]
    assert house.send(token=house.client(software_id="x")).status_code == 403


def test_an_equal_state_is_neither_kept_nor_sent_and_false_arms_again(house: House):
    for state, kept, mails in ((True, 1, 1), (True, 1, 1), ({"a": 1}, 2, 2), ({"a": 1}, 2, 2), (False, 3, 2), (True, 4, 3)):
        answered = house.send(category="balance", state=state)
        assert answered.status_code == 201
        house.clock.passes(seconds=1)
        assert (len(house.kept()), len(house.jobs())) == (kept, mails)
    silent = house.send(category="balance", state=True).json["data"]
    assert (silent["id"], silent["meta"], silent["attributes"]["created_at"]) == ("", {}, "0001-01-01T00:00:00Z")
    assert silent["attributes"]["source_id"] == ""


def test_states_of_other_categories_and_ids_are_their_own(house: House):
    for id in ("1", "2"):
        house.send(category="balance", category_id=id, state=True)
    assert len(house.jobs()) == 2


def test_not_again_before_its_interval_is_over(house: House):
    sent = []
    for hours in (0, 10, 13, 2, 23):
        house.clock.passes(hours=hours)
        made = house.send(category="rare").json["data"]["attributes"]
        sent.append((len(house.jobs()), made["last_sent"]))
    assert [count for count, _ in sent] == [1, 1, 1, 2, 2]
    assert sent[0][1] == sent[1][1] == sent[2][1]
    assert len(house.kept()) == 5


def test_an_interval_beyond_all_time_is_one(house: House):
    assert [house.send(category="once").status_code for _ in range(2)] == [201, 201]
    assert (len(house.kept()), len(house.jobs())) == (2, 1)


@pytest.mark.parametrize(
    ("title", "subject"), [("Two\r\nlines", "Two lines"), ("=?utf-8?q?a=0ab?=", "= ?utf-8?q?a=0ab?="), ("x" * 5000, "x" * 1000)]
)
def test_any_title_makes_a_subject_that_leaves(house: House, title: str, subject: str):
    assert house.send(title=title).status_code == 201
    assert house.kept()[0]["title"] == title
    assert house.jobs()[0].message["subject"] == subject


def test_what_she_does_not_want_is_kept_and_not_sent(house: House):
    house.alice.docs.put(MUTED.doctype, {"_id": MUTED.id, "muted": ["cozy/app/bank/plain/"]})
    assert house.send().status_code == 201
    assert (len(house.kept()), house.jobs()) == (1, [])
    house.send(category="balance")
    assert len(house.jobs()) == 1


def test_a_later_one_waits_for_its_moment(house: House):
    house.send(at="2026-11-25T08:00:00Z")
    assert house.jobs() == []
    house.clock.passes(days=1)
    house.stack.scheduler.plan("alice.localhost")
    house.stack.scheduler.step()
    assert [job.message["subject"] for job in house.jobs()] == ["Hello"]


def test_without_content_nothing_is_mailed_and_it_counts_as_sent(house: House):
    assert house.send(content=None).status_code == 201
    assert house.jobs() == []


def test_channels_are_tried_in_order_and_mail_is_the_last(house: House):
    assert house.send(preferred_channels=["mobile", "sms", "pigeon"]).status_code == 201
    assert len(house.jobs()) == 1
    assert house.jobs("push") == []


def test_an_app_that_went_leaves_its_notifications_and_sends_no_more(house: House):
    house.send()
    app = house.alice.docs.get(Ref("io.cozy.apps", "io.cozy.apps/bank"))
    token = house.alice.auth.app_token("bank", "io.cozy.bills")
    house.alice.docs.delete(app.ref, app.rev)
    assert house.send(token=token).status_code in (401, 404)
    assert [doc["title"] for doc in house.kept()] == ["Hello"]


def test_apps_read_and_do_not_write_them_through_data(house: House):
    house.send()
    assert house.web.ask("POST", "/data/io.cozy.notifications/", {"title": "x"}).status_code == 403
    found = house.web.ask(
        "POST", "/data/io.cozy.notifications/_find", {"selector": {"source_id": "cozy/app/bank/plain/", "created_at": {"$gt": None}}}
    )
    assert len(found.json["docs"]) == 1


# -- devices ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[PushService]:
    with PushService() as running:
        yield running


def subscribe(house: House, service: PushService, path: str, **more: Any) -> None:
    """A client whose browser has a subscription."""
    keys = {"p256dh": service.device.p256dh, "auth": service.device.secret}
    token = json.dumps({"endpoint": service.origin + path, "keys": keys})
    house.client(notification_platform="webpush", notification_device_token=token, **more)


def test_a_subscribed_device_is_told_in_place_of_a_mail(house: House, service: PushService):
    subscribe(house, service, "/phone")
    house.send(category="balance", state=True, preferred_channels=["mobile"], message="low", data={"route": "x"}, priority="high")
    assert house.jobs() == []
    (job,) = house.jobs("push")
    assert house.run(job).state == "done"
    (message,) = service.messages
    told = json.loads(message.text)
    assert (told["title"], told["body"], told["route"]) == ("Hello", "low", "x")
    assert 0 < told["notId"] < 2**31
    assert message.headers["urgency"] == "high"
    assert message.key == house.web.ask("GET", "/notifications/key").json["public_key"]
    assert house.jobs() == []


def test_dedicated_clients_are_told_first_and_the_flagship_app_with_the_app_s_name(house: House, service: PushService):
    subscribe(house, service, "/flagship", flagship=True)
    house.send(preferred_channels=["mobile"])
    house.run(house.jobs("push")[0])
    subscribe(house, service, "/one")
    subscribe(house, service, "/two")
    house.send(preferred_channels=["mobile"])
    house.run(house.jobs("push")[0])
    first, *others = (message.path for message in service.messages)
    assert (first, sorted(others)) == ("/flagship", ["/one", "/two"])
    assert [json.loads(message.text)["title"] for message in service.messages[:2]] == ["bank - Hello", "Hello"]


def test_a_device_that_is_gone_is_forgotten_and_the_mail_leaves(house: House, service: PushService):
    subscribe(house, service, "/gone")
    service.status = 410
    house.send(preferred_channels=["mobile"])
    house.run(house.jobs("push")[0])
    assert [job.message["subject"] for job in house.jobs()] == ["Hello"]
    assert house.alice.notifications.devices.all() == []
    assert len(house.alice.auth.clients.all()) == 1


def test_the_ten_newest_devices_are_told_each_once(house: House, service: PushService):
    for number in range(12):
        subscribe(house, service, f"/device{number:02}")
    subscribe(house, service, "/device11")
    house.send(preferred_channels=["mobile"])
    assert house.run(house.jobs("push")[0]).state == "done"
    assert sorted(message.path for message in service.messages) == [f"/device{number:02}" for number in range(2, 12)]


def test_more_than_devices_may_be_told_of_in_an_hour_is_mailed(house: House, service: PushService):
    subscribe(house, service, "/phone")
    for _ in range(31):
        assert house.send(preferred_channels=["mobile"]).status_code == 201
    assert (len(house.jobs("push")), len(house.jobs())) == (30, 1)


@pytest.mark.parametrize(
    ("mail", "error"),
    [
        ("text", "No device could be reached"),
        ([1], "No device could be reached"),
        ({"template_name": "two_factor"}, "The mail two_factor needs the value code"),
    ],
)
def test_a_push_whose_mail_is_none_is_one_failed_job(house: House, mail: Any, error: str):
    job = house.run(house.alice.jobs.push("push", {"title": "x", "mail_fallback": mail}))
    assert (job.state, job.doc["error"], house.jobs()) == ("errored", error, [])


def test_a_push_that_reaches_nobody_and_has_nothing_to_write_is_a_failed_job(house: House, service: PushService):
    subscribe(house, service, "/away")
    service.status = 500
    house.send(preferred_channels=["mobile"], content=None)
    assert house.run(house.jobs("push")[0]).doc["error"] == "No device could be reached"


# -- the server's own ---------------------------------------------------------------------------------------------------


def fill(house: House, size: int) -> None:
    with house.alice.files.new(size=size) as blob:
        blob.write(b"x" * size)
        house.alice.files.put(house.alice.files.dir("io.cozy.files.root-dir"), f"f{size}", blob.seal())


def test_who_has_used_nearly_all_her_space_is_told_once_and_again_when_it_was_less(house: House):
    house.stack.modify("alice.localhost", disk_quota="1000")
    notify = house.alice.notifications.look_at_quota
    notify()
    assert house.kept() == []
    fill(house, 950)
    for _ in range(3):
        notify()
    (kept,) = house.kept()
    assert (kept["source_id"], kept["state"]) == ("cozy/stack/settings/disk-quota/", True)
    (job,) = house.jobs()
    assert job.message["template_name"] == "notifications_diskquota"
    house.clock.passes(days=1)
    house.alice.files.erase(house.alice.files.at("/f950"))
    notify()
    assert [one["state"] for one in house.kept()] == [True, False]
    house.clock.passes(days=1)
    fill(house, 960)
    notify()
    assert (len(house.kept()), len(house.jobs())) == (3, 1)


def test_a_client_that_is_one_too_many_is_told_of(house: House):
    house.alice.notifications.tell_of_clients("Drive on a phone", 2)
    (kept,) = house.kept()
    assert kept["source_id"] == "cozy/stack/settings/oauth-clients/"
    (job,) = house.jobs()
    assert job.message["template_name"] == "notifications_oauthclients"
    assert "Drive on a phone" in kept["message"]
    assert "OffersLink" not in kept["data"]


def test_who_can_buy_more_is_told_where(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(house.alice.notifications, "_offers", lambda: "https://host.example/premium")
    house.alice.docs.put("io.cozy.settings", {**house.alice.settings.document(), "email": "alice@example.org"})
    house.alice.notifications.tell_of_clients("Drive on a phone", 2)
    assert house.kept()[0]["data"]["OffersLink"] == "https://host.example/premium"
    assert b"https://host.example/premium" in house.alice.mails.mailings(house.jobs()[0].message)[0].message.as_bytes()


def operator(house: House, body: Any, status: int = 201) -> Any:
    answer = Client(create_admin_app(house.stack)).post("/instances/alice.localhost/notifications", data=json.dumps(body))
    assert answer.status_code == status, answer.text
    return answer.json


def test_the_operator_sends_in_a_name_of_his_own(house: House):
    sent = {"title": "Maintenance", "category": "host", "slug": "settings", "content": "tonight", "state": 1}
    first = operator(house, {"properties": {"stateful": True}, "notification": sent})
    assert (first["source_id"], first["originator"]) == ("cozy/cli/settings/host/", "cli")
    assert [job.message["subject"] for job in house.jobs()] == ["Maintenance"]
    assert operator(house, {"properties": {"stateful": True}, "notification": sent})["_id"] == ""
    assert len(house.kept()) == 1


@pytest.mark.parametrize("body", [{}, {"notification": {}}, {"notification": []}, {"notification": {"title": "a", "slug": 1}}, []])
def test_what_the_operator_sends_is_checked(house: House, body: Any):
    operator(house, body, 400)
    assert house.kept() == []
