"""The operator's routes, as tools that drive a cozy-stack send them."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from cozyd.auth import Credentials
from cozyd.config import Server
from cozyd.documents.store import Ref
from cozyd.errors import BadToken, Gone, NotFound
from cozyd.instance import Instance
from cozyd.records import SECRETS
from cozyd.settings import INSTANCE
from tests.support.inprocess import Place
from tests.support.operator import Operator

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
    found = shown(operator.ask("GET", "/instances/invited.localhost"))
    assert ("register_token" in found, found["password_defined"]) == (True, False)
    assert "register_token" not in str(operator.ask("GET", "/instances").data)


def test_a_passphrase_is_hers_from_the_start_with_a_vault(operator: Operator):
    instance = operator.made(Passphrase="correct horse")
    assert "register_token" not in shown(operator.ask("GET", f"/instances/{instance.domain}"))
    instance.auth.log_in(instance.auth.passphrase.derive("correct horse"), Credentials())
    vault = instance.docs.get(Ref("io.cozy.settings", "io.cozy.settings.bitwarden")).doc
    assert {"key", "public_key", "private_key"} <= set(vault)
    assert instance.doc["password_defined"] is True


@pytest.mark.parametrize("way", [{"MagicLink": "true"}, {"FranceConnectID": "fc"}])
def test_who_logs_in_without_a_passphrase_begins_at_once_and_may_choose_one_by_force(operator: Operator, way: dict[str, str]):
    instance = operator.made(**way)
    record, settings = shown(operator.ask("GET", f"/instances/{instance.domain}")), instance.settings.instance()[0]
    assert (record["onboarding_finished"], record["password_defined"], settings["password_defined"]) == (True, False, False)
    assert instance.docs.get(Ref("io.cozy.settings", "io.cozy.settings.bitwarden")).doc["key"]
    assert (instance.auth.passphrase.exists, instance.auth.passphrase.is_defined) == (True, False)
    operator.stack.set_passphrase(instance.domain, "correct horse")
    assert operator.stack.instance(instance.domain).auth.passphrase.is_defined


def test_a_record_that_does_not_say_whether_there_is_a_passphrase_says_null(operator: Operator):
    instance = operator.made()
    instance.amend(password_defined=None)
    assert shown(operator.ask("GET", f"/instances/{instance.domain}"))["password_defined"] is None


def test_no_content_has_no_type_and_sizes_are_plain_json(operator: Operator):
    domain = operator.made().domain
    assert "Content-Type" not in operator.ask("DELETE", f"/instances/{domain}/sessions").headers
    assert operator.ask("GET", f"/instances/{domain}/disk-usage").mimetype == "application/json"


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
        ({"Domain": "n.localhost", "Passphrase": ""}, 400),
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


def test_on_flat_hosts_the_first_part_of_a_domain_has_no_dash(tmp_path: Path):
    flat = Operator(Place(tmp_path / "data", server=Server(subdomains="flat")))
    assert flat.ask("POST", "/instances", Domain="a-b.localhost").status_code == 422
    instance = flat.made()
    assert flat.ask("PATCH", f"/instances/{instance.domain}", NewDomain="a-b.localhost").status_code == 422
    assert instance.app_host("drive") == f"{instance.domain.partition('.')[0]}-drive.localhost"
    flat.stack.close()


def test_konnectors_in_maintenance_say_who_named_them(operator: Operator):
    options = {"data": {"attributes": {"flag_short_maintenance": True}}}
    assert operator.ask("PUT", "/konnectors/maintenance/bank", options).status_code == 204
    listed = operator.ask("GET", "/konnectors/maintenance").get_json(force=True)
    assert (listed["meta"], listed["data"][0]["type"]) == ({"count": 1}, "io.cozy.konnectors.maintenance")
    attributes = listed["data"][0]["attributes"]
    assert (attributes["slug"], attributes["level"], attributes["maintenance_activated"]) == ("bank", "stack", True)
    more = operator.ask("GET", "/konnectors/maintenance", Context="default").get_json(force=True)
    assert [one["attributes"]["level"] for one in more["data"]] == ["stack"], "the registry has none"
    assert operator.ask("DELETE", "/konnectors/maintenance/bank").status_code == 204
