"""The operator's ways in, and flags: tokens, clients, codes, device passwords, as tools that drive a cozy-stack ask for them."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cozyd.auth import Credentials
from cozyd.config import Server
from cozyd.documents.store import Ref, Write
from cozyd.errors import BadToken, Gone
from cozyd.jobs.triggers import NewTrigger
from tests.support.inprocess import Place
from tests.support.operator import Operator

CONTEXTS: Mapping[str, Any] = {
    "firm": {"feature_sets": {"one": {"firm.flag": 1, "m": 1}, "two": {"m": 2}}, "features": {"firm.flag": True}},
}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    place = Place(tmp_path_factory.mktemp("access") / "data", contexts=CONTEXTS, server=Server(environment="test"))
    yield Operator(place)
    place.stack.close()


# -- access -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "kind"), [("cli", "cli"), ("app", "app"), ("webapp", "app"), ("access", "client"), ("access-token", "client")]
)
def test_a_token_of_each_kind_is_good(operator: Operator, audience: str, kind: str):
    instance = operator.made()
    client = operator.ask(
        "POST",
        "/instances/oauth_client",
        Domain=instance.domain,
        RedirectURI="app://x",
        ClientName="C",
        SoftwareID="soft",
        AllowLoginScope="true",
    ).get_json()
    subject = client["client_id"] if kind == "client" else "drive"
    answer = operator.ask("POST", "/instances/token", Domain=instance.domain, Audience=audience, Scope="io.cozy.files", Subject=subject)
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    assert instance.auth.identify(Credentials(bearer=answer.get_data(as_text=True))).kind == kind


def test_a_refresh_token_gives_access_and_a_client_is_found_by_its_software(operator: Operator):
    instance = operator.made()
    named = {"Domain": instance.domain, "RedirectURI": "app://x", "ClientName": "C", "SoftwareID": "soft"}
    client = operator.ask("POST", "/instances/oauth_client", **named).get_json()
    assert "pending" not in client
    found = operator.ask("GET", "/instances/oauth_client", domain=instance.domain, software_id="soft").get_json()
    assert found["client_id"] == client["client_id"]
    assert operator.ask("GET", "/instances/oauth_client", domain=instance.domain, software_id="x").status_code == 404
    asked = {"Domain": instance.domain, "Audience": "refresh", "Scope": "io.cozy.files", "Subject": client["client_id"]}
    token = operator.ask("POST", "/instances/token", **asked).get_data(as_text=True)
    form = {
        "grant_type": ["refresh_token"],
        "client_id": [client["client_id"]],
        "client_secret": [client["client_secret"]],
        "refresh_token": [token],
    }
    access = instance.auth.oauth("http://x").token(form)["access_token"]
    assert instance.auth.identify(Credentials(bearer=str(access))).kind == "client"


def test_a_token_lives_as_long_as_asked(operator: Operator):
    instance, clock = operator.made(), operator.place.clock
    asked = {"Domain": instance.domain, "Scope": "io.cozy.files"}
    long, short = (operator.ask("POST", "/instances/token", **asked, Expire=life).get_data(as_text=True) for life in ("1h30m", "90s"))
    clock.passes(minutes=80)
    assert instance.auth.identify(Credentials(bearer=long))
    with pytest.raises(BadToken):
        instance.auth.identify(Credentials(bearer=short))
    clock.passes(minutes=11)
    with pytest.raises(BadToken):
        instance.auth.identify(Credentials(bearer=long))


@pytest.mark.parametrize(
    "query",
    [
        {"Audience": "magic"},
        {"Audience": "app"},
        {"Scope": "*"},
        {"Scope": ""},
        {"Audience": "access", "Subject": "nobody", "Scope": "io.cozy.files"},
        {"Scope": "io.cozy.files", "Expire": "soon"},
        {"Scope": "io.cozy.files", "Expire": "1..2h"},
    ],
)
def test_a_token_that_cannot_be_is_refused(operator: Operator, query: dict[str, str]):
    instance = operator.made()
    assert operator.ask("POST", "/instances/token", Domain=instance.domain, **query).status_code in (400, 404)
    assert operator.ask("POST", "/instances/token", Domain="nobody.localhost", Scope="io.cozy.files").status_code == 404


def test_what_is_wrong_with_an_audience_or_a_client_is_a_line_of_text(operator: Operator):
    domain = operator.made().domain
    answer = operator.ask("POST", "/instances/token", Domain=domain, Audience="magic")
    assert (answer.status_code, answer.mimetype, answer.get_data(as_text=True)) == (400, "text/plain", "Unknown audience magic")
    answer = operator.ask("POST", "/instances/oauth_client", Domain=domain, RedirectURI="app://x", SoftwareID="s")
    assert (answer.status_code, answer.mimetype, answer.get_data(as_text=True)) == (400, "text/plain", "client_name is mandatory")


def test_a_session_code_is_good_once(operator: Operator):
    instance = operator.made()
    answer = operator.ask("POST", f"/instances/{instance.domain}/session_code")
    assert answer.status_code == 201
    checks = [operator.ask("POST", f"/instances/{instance.domain}/session_code/check", answer.get_json()) for _ in range(2)]
    assert [(check.status_code, check.get_json()) for check in checks] == [(200, {"valid": True}), (403, {"valid": False})]


def test_codes_that_log_in_are_made_only_where_they_are_used(operator: Operator):
    instance = operator.made()
    link, mailed = f"/instances/{instance.domain}/magic_link", f"/instances/{instance.domain}/email_verified_code"
    assert [operator.ask("POST", path).status_code for path in (link, mailed)] == [400, 400]
    instance.amend(magic_link=True, auth_mode=1)
    code = operator.ask("POST", link)
    assert (code.status_code, instance.auth.once.take("magic", code.get_json()["code"])) == (201, b"")
    code = operator.ask("POST", mailed)
    assert (code.status_code, instance.auth.once.take("mailed", code.get_json()["email_verified_code"])) == (201, b"")


def test_indexes_that_are_missing_are_made_again(operator: Operator):
    instance = operator.made()
    lost = instance.docs.get(Ref("io.cozy.contacts", "_design/by-me"))
    instance.docs.delete(lost.ref, lost.rev)
    for _ in range(2):
        assert operator.ask("POST", f"/instances/{instance.domain}/fixers/indexes").status_code == 204
    assert instance.docs.get(lost.ref)


def test_who_has_an_app_in_a_version_is_told(operator: Operator):
    assert operator.ask("GET", "/instances/with-app-version/drive/1.0.0").get_json() == {"instances": []}


def test_the_hosts_of_her_apps_lead_to_the_new_domain_too(operator: Operator):
    old = operator.made().domain
    operator.ask("PATCH", f"/instances/{old}", NewDomain="apps-moved.localhost")
    with pytest.raises(Gone) as gone:
        operator.stack.locate_app(f"drive.{old}")
    assert gone.value.location == "drive.apps-moved.localhost"


def test_the_way_to_log_in_is_chosen(operator: Operator):
    path = f"/instances/{operator.made().domain}/auth-mode"
    assert operator.ask("POST", path, {"auth_mode": "two_factor_mail"}).status_code == 204
    again = operator.ask("POST", path, {"auth_mode": "two_factor_mail"})
    assert (again.status_code, again.get_json()) == (200, "Instance has already two_factor_mail auth mode")
    assert [operator.ask("POST", path, body).status_code for body in ({"auth_mode": "x"}, {}, {"auth_mode": None})] == [400, 400, 400]


def test_sessions_are_ended_and_the_last_day_is_known(operator: Operator):
    instance = operator.made()
    path = f"/instances/{instance.domain}/last-activity"
    assert operator.ask("GET", path).get_json() == {"last-activity": "2018-01-01"}
    cookie = instance.auth.open_session(Credentials(), long_run=True)
    assert operator.ask("GET", path).get_json() == {"last-activity": operator.place.clock().strftime("%Y-%m-%d")}
    assert operator.ask("DELETE", f"/instances/{instance.domain}/sessions").status_code == 204
    assert operator.ask("DELETE", f"/instances/{instance.domain}/sessions").status_code == 204
    assert list(instance.auth.sessions.all()) == []
    with pytest.raises(Exception, match="session"):
        instance.auth.identify(Credentials(session=cookie))


def test_the_record_is_told_whether_there_is_a_passphrase(operator: Operator):
    instance = operator.made()
    for finished, known in ((None, False), (True, True)):
        instance.amend(password_defined=None, onboarding_finished=finished)
        for _ in range(2):
            assert operator.ask("POST", f"/instances/{instance.domain}/fixers/password-defined").status_code == 204
        assert instance.doc["password_defined"] is known


def test_prefix_and_contexts_are_told(operator: Operator):
    instance = operator.made()
    assert operator.ask("GET", f"/instances/{instance.domain}/prefix").get_json() == instance.prefix
    assert operator.ask("GET", "/instances/contexts").get_json()[0]["context"] == "firm"
    assert operator.ask("GET", "/instances/contexts/firm").get_json()["config"] == CONTEXTS["firm"]
    assert operator.ask("GET", "/instances/contexts/none").status_code == 404
    assert operator.ask("GET", "/version").get_json()["build_mode"]


# -- looking and mending ------------------------------------------------------------------------------------------------


def test_triggers_that_are_there_twice_or_have_no_worker_are_found(operator: Operator):
    instance = operator.made()
    checked = f"/instances/{instance.domain}/checks/triggers"
    assert operator.ask("POST", checked).get_json() == []
    triggers = instance.jobs.triggers
    first, second = (triggers.create(NewTrigger("@daily", worker="sendmail", message={"a": 1})) for _ in range(2))
    lost = triggers.create(NewTrigger("@daily", worker="sendmail", message={"a": 2}))
    stored = instance.docs.get(Ref("io.cozy.triggers", lost.id))
    instance.docs.commit([Write(stored.ref, patch={"worker": "gone"}, rev=stored.rev)])
    found = {one["_id"]: one for one in operator.ask("POST", checked).get_json()}
    twice = next(one for one in found.values() if one["type"] == "duplicate")
    assert {twice["_id"], twice["other_id"]} == {first.id, second.id}
    assert found[lost.id] == {"_id": lost.id, "type": "unknown worker", "worker": "gone"}


def test_services_get_the_triggers_that_they_lack(operator: Operator):
    instance = operator.made()
    services = {"remind": {"type": "node", "file": "remind.js", "trigger": "@daily", "trigger_id": "gone"}}
    app = {"_id": "io.cozy.apps/bank", "slug": "bank", "state": "ready", "services": services}
    instance.docs.put("io.cozy.apps", app)
    for _ in range(2):
        assert operator.ask("POST", f"/instances/{instance.domain}/fixers/service-triggers").status_code == 204
        (trigger,) = [one for one in instance.jobs.triggers.all() if one.worker == "service"]
        assert (trigger.type, trigger.message) == ("@daily", {"slug": "bank", "name": "remind"})
        assert instance.docs.get(Ref("io.cozy.apps", "io.cozy.apps/bank")).doc["services"]["remind"]["trigger_id"] == trigger.id


# -- flags --------------------------------------------------------------------------------------------------------------


def test_flags_are_set_and_removed_on_every_level(operator: Operator):
    instance = operator.made(ContextName="firm")
    own = f"/instances/{instance.domain}/feature/flags"
    assert operator.ask("GET", own).get_json() == {}
    assert operator.ask("PATCH", own, {"a": [1], "b": True}).get_json() == {"a": [1], "b": True}
    assert operator.ask("PATCH", own, {"b": None}).get_json() == {"a": [1]}
    assert operator.ask("PATCH", "/instances/feature/defaults", {"d": 1, "e": 2}).get_json() == {"d": 1, "e": 2}
    assert operator.ask("PATCH", "/instances/feature/defaults", {"e": None}).get_json() == {"d": 1}
    ratio = [{"ratio": 1, "value": "r"}]
    assert operator.ask("PATCH", "/instances/feature/contexts/firm", {"r": ratio, "s": ratio}).get_json() == {"r": ratio, "s": ratio}
    assert operator.ask("PATCH", "/instances/feature/contexts/firm", {"s": []}).get_json() == {"r": ratio}
    assert operator.ask("GET", "/instances/feature/contexts/other").get_json() == {}
    assert operator.ask("GET", "/instances/feature/config/firm").get_json() == {"firm.flag": True}
    assert instance.settings.flags().values == {"a": [1], "firm.flag": True, "r": "r", "d": 1}
    sets = f"/instances/{instance.domain}/feature/sets"
    assert operator.ask("PUT", sets, ["two", "one", "three"]).get_json() == operator.ask("GET", sets).get_json() == ["one", "three", "two"]
    assert instance.settings.flags().values == {"a": [1], "firm.flag": 1, "m": 1, "r": "r", "d": 1}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("feature/defaults", []),
        ("feature/defaults", {"_id": "x"}),
        ("feature/contexts/c", {"x": 1}),
        ("feature/contexts/c", {"x": [{"ratio": 2, "value": 1}]}),
        ("feature/contexts/c", {"x": [{"ratio": 0.6, "value": 1}, {"ratio": 0.6, "value": 2}]}),
        ("feature/contexts/c", {"x": [{"value": 1}]}),
    ],
)
def test_flags_that_cannot_be_are_refused(operator: Operator, path: str, body: Any):
    before = operator.ask("GET", f"/instances/{path}").get_json()
    assert operator.ask("PATCH", f"/instances/{path}", body).status_code == 400
    assert operator.ask("GET", f"/instances/{path}").get_json() == before
