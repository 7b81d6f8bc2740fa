"""The operator's routes, as tools that drive a cozy-stack send them."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from blueprints.admin import create_admin_app
from cozyd.auth import Credentials
from cozyd.config import Server
from cozyd.documents.store import Ref
from cozyd.errors import BadToken, Gone, NotFound
from cozyd.instance import Instance
from cozyd.records import SECRETS
from cozyd.settings import INSTANCE
from tests.support.inprocess import Place

CONTEXTS: Mapping[str, Any] = {
    "firm": {
        "feature_sets": {"one": {"firm.flag": 1, "m": 1}, "two": {"m": 2}},
        "features": {"firm.flag": True},
        "init_administrative_folder": False,
        "init_photos_folder": False,
    },
}
TEMPLATES: Mapping[str, Any] = {
    "family": {"context": "firm", "locale": "de", "timezone": "Europe/Berlin", "disk_quota": "5GB", "features": {"a": 1, "b": 2}},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("admin") / "data", contexts=CONTEXTS, templates=TEMPLATES, server=Server(environment="test"))
    yield place
    place.stack.close()


class Operator:
    """Who may send everything."""

    def __init__(self, place: Place) -> None:
        self.stack = place.stack
        self.place = place
        self._client = Client(create_admin_app(place.stack))
        self._made = 0

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> TestResponse:
        return self._client.open(path, method=method, query_string=query or None, json=body, buffered=True)

    def made(self, **query: Any) -> Instance:
        """An instance of a name of its own."""
        self._made += 1
        answer = self.ask("POST", "/instances", Domain=f"one{self._made}.localhost", **query)
        assert answer.status_code == 201, answer.data
        return self.stack.instance(f"one{self._made}.localhost")


@pytest.fixture(scope="module")
def operator(place: Place) -> Operator:
    return Operator(place)


def shown(answer: TestResponse, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.data
    assert answer.mimetype == "application/vnd.api+json"
    found: dict[str, Any] = answer.get_json(force=True)["data"]["attributes"]
    assert not SECRETS - {"register_token"} & set(found)
    return found


def document(instance: Instance) -> dict[str, Any]:
    return {name: value for name, value in instance.docs.get(INSTANCE).doc.items() if not name.startswith("_")}


# -- making -------------------------------------------------------------------------------------------------------------


def test_an_instance_has_all_that_was_asked_for(operator: Operator):
    query = {
        "Locale": "fr",
        "Email": "a@example.org",
        "PublicName": "Ada",
        "Phone": "1",
        "Timezone": "Europe/Paris",
        "ContextName": "firm",
        "DiskQuota": "1000",
        "DomainAliases": "ada.localhost,ada2.localhost",
        "Settings": "offer:premium,tos:1.0.0,auto_update:false",
        "UUID": "u-1",
        "OIDCID": "o",
        "OrgDomain": "org.example",
        "OrgID": "org",
        "TOSLatest": "2.0.0-20270101",
        "AuthMode": "two_factor_mail",
        "sponsorships": "b,a",
        "feature_sets": "two,one",
        "MagicLink": "true",
        "OldDomain": "ada-was.localhost",
    }
    instance = operator.made(**query)
    record = instance.doc
    wanted = {
        "locale": "fr",
        "context": "firm",
        "disk_quota": "1000",
        "domain_aliases": ["ada.localhost", "ada2.localhost"],
        "tos": "1.0.0",
        "tos_latest": "2.0.0-20270101",
        "no_auto_update": True,
        "uuid": "u-1",
        "oidc_id": "o",
        "org_domain": "org.example",
        "org_id": "org",
        "auth_mode": 1,
        "sponsorships": ["b", "a"],
        "feature_sets": ["one", "two"],
        "magic_link": True,
        "old_domain": "ada-was.localhost",
    }
    assert {name: record.get(name) for name in wanted} == wanted
    assert document(instance) == {"public_name": "Ada", "tz": "Europe/Paris", "email": "a@example.org", "phone": "1", "offer": "premium"}


def test_a_new_instance_has_the_databases_the_contact_and_the_folders_in_order(operator: Operator):
    instance = operator.made(Email="a@example.org", PublicName="Ada", Locale="es")
    for doctype in ("io.cozy.files.versions", "io.cozy.nextcloud.migrations", "com.bitwarden.ciphers", "io.cozy.sessions.logins"):
        instance.docs.info(doctype)
    designs = [stored.ref.id for stored in instance.docs.all("io.cozy.contacts").rows if stored.ref.id.startswith("_design/")]
    assert {"_design/by-me", "_design/by-groups", "_design/contacts-by-email"} <= set(designs)
    (me,) = [stored.doc for stored in instance.docs.all("io.cozy.contacts").rows if stored.doc.get("me")]
    assert (me["fullname"], me["email"], me["cozy"]) == (
        "Ada",
        [{"address": "a@example.org", "primary": True}],
        [{"url": f"http://{instance.domain}", "primary": True}],
    )
    root = instance.files.dir("io.cozy.files.root-dir")
    assert [node.name for node in instance.files.children(root) if not node.name.startswith(".")] == ["Administrativo", "Fotos"]


def test_a_context_may_want_no_folders(operator: Operator):
    instance = operator.made(ContextName="firm")
    root = instance.files.dir("io.cozy.files.root-dir")
    assert [node.name for node in instance.files.children(root) if not node.name.startswith(".")] == []
    assert root.stored.doc["referenced_by"] == [{"type": "io.cozy.apps", "id": "io.cozy.apps/administrative"}]


def test_a_template_gives_what_is_not_asked_for(operator: Operator):
    instance = operator.made(Template="family", Locale="es")
    assert (instance.doc["locale"], instance.doc["context"], instance.doc["feature_flags"]) == ("es", "firm", {"a": 1, "b": 2})
    assert (instance.quota(), document(instance)["tz"]) == (5 << 30, "Europe/Berlin")
    assert operator.ask("POST", "/instances", Domain="x.localhost", Template="none").status_code == 422


def test_who_has_no_passphrase_is_invited_by_a_token(operator: Operator):
    answer = operator.ask("POST", "/instances", Domain="invited.localhost")
    token = base64.b64decode(shown(answer, 201)["register_token"]).hex()
    instance = operator.stack.instance("invited.localhost")
    assert instance.auth.register_principal(token).kind == "register"
    assert "register_token" in shown(operator.ask("GET", "/instances/invited.localhost"))
    assert "register_token" not in str(operator.ask("GET", "/instances").data)


def test_a_passphrase_is_hers_from_the_start_with_a_vault(operator: Operator):
    instance = operator.made(Passphrase="correct horse")
    assert "register_token" not in shown(operator.ask("GET", f"/instances/{instance.domain}"))
    instance.auth.log_in(instance.auth.passphrase.derive("correct horse"), Credentials())
    vault = instance.docs.get(Ref("io.cozy.settings", "io.cozy.settings.bitwarden")).doc
    assert {"key", "public_key", "private_key"} <= set(vault)
    assert instance.doc["password_defined"] is True


def test_a_passphrase_may_come_as_a_client_derived_it(operator: Operator):
    derived = "A" * 43 + "="
    instance = operator.made(Passphrase=derived, KdfIterations="100000", Key="0.a|b")
    instance.auth.log_in(derived, Credentials())
    assert instance.auth.passphrase.kdf().iterations == 100_000


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 422),
        ({"Domain": "a b"}, 422),
        ({"Domain": ".x"}, 422),
        ({"Domain": "x/y"}, 422),
        ({"Domain": "n.localhost", "KdfIterations": "10", "Passphrase": "x"}, 422),
        ({"Domain": "n.localhost", "KdfIterations": "9000000", "Passphrase": "x"}, 422),
        ({"Domain": "n.localhost", "KdfIterations": "x", "Passphrase": "x"}, 422),
        ({"Domain": "n.localhost", "Passphrase": ""}, 422),
        ({"Domain": "n.localhost", "DiskQuota": "much"}, 422),
        ({"Domain": "n.localhost", "Locale": "tlh"}, 422),
        ({"Domain": "n.localhost", "AuthMode": "x"}, 400),
        ({"Domain": "n.localhost", "AutoUpdate": "perhaps"}, 400),
        ({"Domain": "n.localhost", "TOSLatest": "x"}, 400),
        ({"Domain": "n.localhost", "OldDomain": "a b"}, 422),
        ({"Domain": "n.localhost", "DomainAliases": "a b"}, 422),
    ],
)
def test_what_cannot_be_is_refused_and_makes_nothing(operator: Operator, query: dict[str, str], status: int):
    answer = operator.ask("POST", "/instances", **query)
    assert (answer.status_code, "errors" in answer.get_json(force=True)) == (status, True)
    assert operator.ask("GET", "/instances/n.localhost").status_code == 404


def test_a_host_belongs_to_one_instance(operator: Operator):
    taken = operator.made(DomainAliases="taken.localhost", OldDomain="was.localhost")
    for query in ({"Domain": taken.domain}, {"Domain": "taken.localhost"}, {"Domain": "was.localhost"}):
        assert operator.ask("POST", "/instances", **query).status_code == 409
    assert operator.ask("POST", "/instances", Domain="n.localhost", DomainAliases="taken.localhost").status_code == 409
    other = operator.made()
    assert operator.ask("PATCH", f"/instances/{other.domain}", DomainAliases="taken.localhost").status_code == 409


# -- listing and changing -----------------------------------------------------------------------------------------------


def test_instances_are_listed_by_pages_and_counted(operator: Operator):
    for _ in range(3):
        operator.made()
    count = operator.ask("GET", "/instances/count").get_json()["count"]
    path, seen = "/instances?page[limit]=2", []
    while path:
        answer = operator.ask("GET", path).get_json(force=True)
        seen += [one["attributes"]["domain"] for one in answer["data"]]
        path = answer["links"].get("next", "")
    assert (len(seen), seen) == (count, sorted(seen))
    assert len(operator.ask("GET", "/instances").get_json(force=True)["data"]) == count
    skipped = operator.ask("GET", "/instances?page[limit]=2&page[skip]=1").get_json(force=True)["data"]
    assert skipped[0]["attributes"]["domain"] == seen[1]
    assert not SECRETS & set(skipped[0]["attributes"])


def test_what_is_not_named_stays(operator: Operator):
    instance = operator.made(Email="a@example.org", PublicName="Ada", DiskQuota="10", Locale="fr")
    found = shown(operator.ask("PATCH", f"/instances/{instance.domain}", PublicName="Eve", Settings="offer:x"))
    assert (found["locale"], found["disk_quota"]) == ("fr", "10")
    assert document(instance) == {"email": "a@example.org", "public_name": "Eve", "offer": "x"}
    found = shown(operator.ask("PATCH", f"/instances/{instance.domain}", DiskQuota="-1", ContextName="firm", OnboardingFinished="true"))
    assert ("disk_quota" in found, found["context"], found["onboarding_finished"]) == (False, "firm", True)
    assert operator.ask("PATCH", f"/instances/{instance.domain}").status_code == 400
    assert operator.ask("PATCH", "/instances/nobody.localhost", Locale="fr").status_code == 404


def test_terms_are_published_and_signed(operator: Operator):
    instance = operator.made()
    assert shown(operator.ask("PATCH", f"/instances/{instance.domain}", TOSLatest="20270101"))["tos_latest"] == "1.0.0-20270101"
    found = shown(operator.ask("PATCH", f"/instances/{instance.domain}", TOSSigned="1.0.0-20270101"))
    assert (found["tos"], "tos_latest" in found) == ("1.0.0-20270101", False)


def test_an_instance_is_blocked_and_served_again(operator: Operator):
    instance = operator.made()
    found = shown(operator.ask("PATCH", f"/instances/{instance.domain}", Blocked="true", BlockingReason="PAYMENT_FAILED"))
    assert (found["blocked"], found["blocking_reason"]) == (True, "PAYMENT_FAILED")
    found = shown(operator.ask("PATCH", f"/instances/{instance.domain}", Blocked="false"))
    assert not {"blocked", "blocking_reason"} & set(found)


# -- another domain -----------------------------------------------------------------------------------------------------


def test_a_renamed_instance_goes_on_under_both_names(operator: Operator):
    instance = operator.made(Passphrase="correct horse", Email="a@example.org")
    old = instance.domain
    derived = instance.auth.passphrase.derive("correct horse")
    token = instance.auth.cli_token("io.cozy.files")
    instance.docs.put("io.cozy.notes", {"_id": "n"})
    for new in ("first.localhost", "second.localhost"):
        assert shown(operator.ask("PATCH", f"/instances/{operator.stack.instance(old).domain}", NewDomain=new))["domain"] == new
    renamed = operator.stack.instance("second.localhost")
    for name in (old, "first.localhost"):
        with pytest.raises(Gone) as gone:
            operator.stack.locate(name)
        assert gone.value.location == "second.localhost"
    assert renamed.prefix == instance.prefix
    assert renamed.docs.get(Ref("io.cozy.notes", "n"))
    assert renamed.auth.identify(Credentials(bearer=token)).kind == "cli"
    renamed.auth.log_in(derived, Credentials())
    renamed.auth.log_in(renamed.auth.passphrase.derive("correct horse"), Credentials())
    (me,) = [stored.doc for stored in renamed.docs.all("io.cozy.contacts").rows if stored.doc.get("me")]
    assert me["cozy"][0]["url"] == "http://second.localhost"
    assert operator.ask("POST", "/instances", Domain=old).status_code == 409
    operator.ask("PATCH", "/instances/second.localhost", NewDomain=old)
    assert operator.stack.locate(old).auth.passphrase.kdf().salt == f"me@{old}"
    with pytest.raises(Gone):
        operator.stack.locate("first.localhost")


def test_a_name_of_somebody_else_or_of_nobody_is_no_new_domain(operator: Operator):
    instance, other = operator.made(), operator.made()
    assert operator.ask("PATCH", f"/instances/{instance.domain}", NewDomain=other.domain).status_code == 409
    assert operator.ask("PATCH", f"/instances/{instance.domain}", NewDomain="a b").status_code == 422
    assert shown(operator.ask("PATCH", f"/instances/{instance.domain}", NewDomain=instance.domain))["domain"] == instance.domain
    assert operator.stack.locate(instance.domain)


def test_a_token_of_a_stranger_is_nobody_after_a_rename(operator: Operator):
    instance, other = operator.made(), operator.made()
    token = other.auth.cli_token("io.cozy.files")
    operator.ask("PATCH", f"/instances/{instance.domain}", NewDomain="renamed.localhost")
    with pytest.raises(BadToken):
        operator.stack.instance("renamed.localhost").auth.identify(Credentials(bearer=token))


# -- the end ------------------------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_removed_instance(operator: Operator):
    instance = operator.made()
    with instance.files.new(size=3) as new:
        new.write(b"abc")
        instance.files.put(instance.files.dir("io.cozy.files.root-dir"), "a.txt", new.seal())
    instance.settings.avatar.put(b"\x89PNG\r\n\x1a\n")
    answer = operator.ask("DELETE", f"/instances/{instance.domain}", Progress="true")
    assert [line for line in answer.data.split() if b"record" in line] == [b'{"step":"record"}']
    assert list(operator.stack.blobs.list(instance.prefix)) == []
    with pytest.raises(NotFound):
        operator.stack.documents.open(instance.prefix)
    assert operator.ask("DELETE", f"/instances/{instance.domain}").status_code == 404


@pytest.mark.parametrize("stopped_at", ["closing", "documents", "contents", "record"])
def test_an_interrupted_removal_is_finished_by_the_next_wherever_it_stopped(operator: Operator, stopped_at: str):
    instance = operator.made()
    steps = operator.stack.tenancy.destroy(instance.domain)
    while next(steps) != stopped_at:
        continue
    steps.close()  # type: ignore[attr-defined]
    assert operator.ask("GET", "/instances").status_code == 200
    assert operator.ask("GET", f"/instances/{instance.domain}").status_code == 200
    assert operator.ask("DELETE", f"/instances/{instance.domain}").status_code == 204
    assert operator.ask("GET", f"/instances/{instance.domain}").status_code == 404


def test_a_removal_that_only_began_can_be_called_off(operator: Operator):
    instance = operator.made()
    instance.amend(deleting=True)
    assert "deleting" not in shown(operator.ask("PATCH", f"/instances/{instance.domain}", Deleting="false"))
    assert operator.stack.locate(instance.domain)


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


def test_on_flat_hosts_the_first_part_of_a_domain_has_no_dash(tmp_path: Path):
    flat = Operator(Place(tmp_path / "data", server=Server(subdomains="flat")))
    assert flat.ask("POST", "/instances", Domain="a-b.localhost").status_code == 422
    instance = flat.made()
    assert flat.ask("PATCH", f"/instances/{instance.domain}", NewDomain="a-b.localhost").status_code == 422
    assert instance.app_host("drive") == f"{instance.domain.partition('.')[0]}-drive.localhost"
    flat.stack.close()
