"""`/settings`: what the owner, apps, clients and the command line read and change there."""

import base64
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from werkzeug.test import TestResponse

from cozyd.documents.store import Ref
from cozyd.files.tree import TRASH_DIR
from cozyd.permissions import ROOT_DIR
from cozyd.settings import INSTANCE
from cozyd.settings.flags import DEFAULTS, ratios_of
from tests.support.files import write
from tests.support.inprocess import Place, Tenant

CLIENTS = "io.cozy.oauth.clients"
CONTEXTS = {
    "default": {"support_address": "help@example.org"},
    "firm": {
        "default_redirection": "drive/#/folder",
        "legal_notice_url": "https://example.org/legal",
        "signup_url": "https://signup.example.org",
        "manager_url": "https://manager.example.org",
        "features": {"firm.flag": 7},
        "logos": {"home": {"light": [{"src": "/logos/own.svg", "type": "main"}]}},
    },
    "bank": {"logos": {"home": {"light": [{"src": "/logos/main.svg", "type": "main"}, {"src": "/logos/bank.svg", "type": "secondary"}]}}},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("settings") / "data", contexts=CONTEXTS, oidc=PROVIDERS)
    yield place
    place.stack.close()


@pytest.fixture
def alice(place: Place) -> Tenant:
    return place.tenant(email="alice@example.org", public_name="Alice")


PROVIDERS = {"firm": {"issuer": "https://id.example.org", "client_id": "c", "logout_url": "https://id.example.org/out"}}


def attributes(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 200, answer.data
    assert answer.mimetype == "application/vnd.api+json"
    found: dict[str, Any] = answer.get_json(force=True)["data"]["attributes"]
    return found


def rev(alice: Tenant) -> str:
    return str(alice.cli("GET", "/settings/instance").get_json(force=True)["data"]["meta"]["rev"])


def body(given: dict[str, Any], rev: str = "") -> dict[str, Any]:
    meta = {"rev": rev} if rev else {}
    return {"data": {"type": "io.cozy.settings", "id": INSTANCE.id, "attributes": given, "meta": meta}}


def put(alice: Tenant, by: str = "cli", **given: Any) -> TestResponse:
    ask = alice.cli if by == "cli" else alice.app
    return ask("PUT", "/settings/instance", body(given, rev(alice)))


# -- the instance settings ----------------------------------------------------------------------------------------------


def test_what_she_reads_and_sends_back_changes_nothing(alice: Tenant):
    before = alice.cli("GET", "/settings/instance").get_json(force=True)
    stored = alice.instance.docs.get(INSTANCE)
    answer = alice.app("PUT", "/settings/instance", before)
    assert answer.get_json(force=True) == before
    assert alice.instance.docs.get(INSTANCE).rev == stored.rev


def test_any_token_reads_the_instance_settings(alice: Tenant):
    found = attributes(alice.cli("GET", "/settings/instance", scope="io.cozy.nothings"))
    assert (found["email"], found["public_name"], found["auth_mode"], found["default_redirection"]) == (
        "alice@example.org",
        "Alice",
        "basic",
        "home/",
    )
    assert (found["password_defined"], found["onboarding_finished"], found["auto_update"]) == (True, True, True)
    assert not {"passphrase_hash", "session_secret", "prefix"} & set(found)


def test_whether_there_is_a_password_may_be_unknown(alice: Tenant):
    alice.instance.amend(password_defined=None)
    assert "password_defined" not in attributes(alice.cli("GET", "/settings/instance"))


def test_the_whole_document_is_replaced_and_unknown_members_stay(alice: Tenant):
    assert put(alice, public_name="A", email="new@example.org", odd={"deep": [1]}).status_code == 200
    stored = alice.instance.docs.get(INSTANCE).doc
    assert {name: value for name, value in stored.items() if not name.startswith("_")} == {
        "public_name": "A",
        "email": "new@example.org",
        "odd": {"deep": [1]},
    }


def test_members_of_the_record_go_there(alice: Tenant):
    given = {"locale": "de", "auto_update": "false", "uuid": "u-1", "context": "firm", "oidc_id": "o", "auth_mode": "two_factor_mail"}
    assert put(alice, **given).status_code == 200
    record = alice.instance.doc
    assert (record["locale"], record["no_auto_update"], record["uuid"], record["context"]) == ("de", True, "u-1", "firm")
    assert (record["oidc_id"], record["auth_mode"]) == ("o", 1)
    assert not set(given) & set(alice.instance.docs.get(INSTANCE).doc)
    shown = attributes(alice.cli("GET", "/settings/instance"))
    assert (shown["auto_update"], shown["auth_mode"], shown["default_redirection"]) == (False, "two_factor_mail", "drive/#/folder")
    assert shown["legal_notice_url"] == "https://example.org/legal"
    assert put(alice, auto_update=True, email="alice@example.org").status_code == 200
    assert "no_auto_update" not in alice.instance.doc


@pytest.mark.parametrize("name", ["auth_mode", "tos", "tos_latest", "uuid", "context", "sponsorships", "oidc_id"])
def test_what_is_the_hosts_is_ignored_from_an_app(alice: Tenant, name: str):
    before = dict(alice.instance.doc)
    assert put(alice, "app", **{name: "two_factor_mail", "public_name": "B"}).status_code == 200
    after = dict(alice.instance.doc)
    assert after == before
    assert alice.instance.docs.get(INSTANCE).doc["public_name"] == "B"


def test_an_app_cannot_change_or_erase_the_address(alice: Tenant):
    assert put(alice, "app", email="thief@example.org", pending_email="thief@example.org").status_code == 200
    document = alice.instance.docs.get(INSTANCE).doc
    assert (document["email"], "pending_email" in document) == ("alice@example.org", False)
    assert put(alice, "app", public_name="B").status_code == 200
    assert alice.instance.email() == "alice@example.org"


def test_where_a_signup_service_keeps_them_phone_and_second_address_stay_too(alice: Tenant):
    assert put(alice, phone="1", email="alice@example.org", context="firm").status_code == 200
    assert put(alice, "app", phone="2", recovery_email="x@example.org").status_code == 200
    document = alice.instance.docs.get(INSTANCE).doc
    assert (document["phone"], "recovery_email" in document) == ("1", False)


@pytest.mark.parametrize(("revision", "status"), [("1-" + "a" * 32, 409), ("", 422), ("nonsense", 409)], ids=["stale", "none", "not one"])
def test_a_change_needs_the_current_revision(alice: Tenant, revision: str, status: int):
    before = alice.instance.docs.get(INSTANCE).rev
    answer = alice.cli("PUT", "/settings/instance", body({"public_name": "B"}, revision))
    assert (answer.status_code, answer.mimetype) == (status, "application/vnd.api+json")
    assert answer.get_json(force=True)["errors"][0]["title"] == {409: "conflict", 422: "Invalid Attribute"}[status]
    assert alice.instance.docs.get(INSTANCE).rev == before


def test_without_a_change_any_revision_will_do(alice: Tenant):
    same = {"public_name": "Alice", "email": "alice@example.org", "locale": "fr"}
    assert alice.cli("PUT", "/settings/instance", body(same, "1-" + "a" * 32)).status_code == 200
    assert alice.instance.doc["locale"] == "fr"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"locale": 1}, 422),
        ({"locale": "../x"}, 422),
        ({"auto_update": "perhaps"}, 422),
        ({"onboarding_finished": 1}, 422),
        ({"sponsorships": "x"}, 422),
        ({"uuid": []}, 422),
        ({"auth_mode": "magic"}, 400),
        ({"tos_latest": "2.0.0"}, 400),
    ],
)
def test_a_member_of_the_wrong_type_is_named(alice: Tenant, given: dict[str, Any], status: int):
    answer = put(alice, **given)
    assert answer.status_code == status
    assert next(iter(given)).split("_")[0] in answer.get_data(as_text=True)


@pytest.mark.parametrize("sent", [b"", b"{", b"null", b"[]", b"{}", b'{"data":1}', b'{"data":{"attributes":[]}}', b'{"data":{}}'])
def test_a_body_that_is_none_is_told_so(alice: Tenant, sent: bytes):
    assert alice.cli("PUT", "/settings/instance", sent).status_code == 400


def test_a_right_on_that_one_document_is_enough_to_write_it(alice: Tenant):
    scope = "io.cozy.settings:PUT:io.cozy.settings.instance"
    answer = alice.cli("PUT", "/settings/instance", body({"public_name": "B", "email": "alice@example.org"}, rev(alice)), scope=scope)
    assert attributes(answer)["public_name"] == "B"
    for scope in ("io.cozy.settings:GET", "io.cozy.settings:PUT:io.cozy.settings.other"):
        assert alice.cli("PUT", "/settings/instance", body({}), scope=scope).status_code == 403


def test_an_address_that_was_stored_as_redirection_is_repaired_when_read(alice: Tenant):
    put(alice, default_redirection="https://drive.alice.localhost/", email="alice@example.org")
    assert attributes(alice.cli("GET", "/settings/instance"))["default_redirection"] == "home/"
    put(alice, default_redirection="drive/#/", email="alice@example.org")
    assert attributes(alice.cli("GET", "/settings/instance"))["default_redirection"] == "drive/#/"


# -- what clients ask ---------------------------------------------------------------------------------------------------


def test_disk_usage_is_text_and_counts_versions_and_trash(alice: Tenant):
    files = alice.instance.files
    file = write(files, files.dir(ROOT_DIR), "a.txt", b"12345")
    alice.clock.passes(hours=1)
    file = write(files, files.dir(ROOT_DIR), "a.txt", b"123", over=file)
    assert attributes(alice.cli("GET", "/settings/disk-usage")) == {"used": "8", "files": "3", "versions": "5"}
    files.trash(file)
    alice.instance.amend(disk_quota="1000")
    found = attributes(alice.cli("GET", "/settings/disk-usage?include=trash"))
    assert found == {"used": "8", "quota": "1000", "files": "3", "trash": "3", "versions": "5"}
    assert files.dir(TRASH_DIR)


def test_who_may_add_files_or_shows_the_bar_of_an_app_sees_the_disk_usage(alice: Tenant):
    path = "/settings/disk-usage"
    assert alice.cli("GET", path, scope="io.cozy.files:POST").status_code == 200
    assert alice.cli("GET", path, scope="io.cozy.settings:GET:io.cozy.settings.disk-usage").status_code == 200
    assert alice.app("GET", path, scope="io.cozy.contacts").status_code == 200
    service = alice.instance.auth.app_token("x", "io.cozy.contacts")
    assert alice.ask("GET", path, token=service).status_code == 403
    for scope in ("io.cozy.files:GET", "io.cozy.settings:PUT", "io.cozy.contacts"):
        assert alice.cli("GET", path, scope=scope).status_code == 403
    assert alice.ask("GET", path).status_code == 401


def test_devices_that_are_connected_are_counted_against_the_limit(alice: Tenant):
    path = "/settings/clients-usage"
    assert attributes(alice.cli("GET", path)) == {"count": 0, "limitReached": False, "limitExceeded": False}
    alice.connected("one")
    alice.connected("no kind", kind="")
    alice.instance.amend(feature_flags={"cozy.oauthclients.max": 1})
    assert attributes(alice.cli("GET", path)) == {"limit": 1, "count": 1, "limitReached": True, "limitExceeded": False}
    alice.connected("two")
    assert attributes(alice.cli("GET", path)) == {"limit": 1, "count": 2, "limitReached": True, "limitExceeded": True}
    alice.instance.amend(feature_flags={"cozy.oauthclients.max": -1})
    assert "limit" not in attributes(alice.cli("GET", path))


def test_capabilities_say_how_she_logs_in(alice: Tenant):
    found = attributes(alice.cli("GET", "/settings/capabilities", scope="io.cozy.nothings"))
    assert found == {
        "file_versioning": True,
        "flat_subdomains": False,
        "can_auth_with_password": True,
        "can_auth_with_magic_links": False,
        "can_auth_with_oidc": False,
    }
    alice.instance.amend(magic_link=True)
    found = attributes(alice.cli("GET", "/settings/capabilities"))
    assert (found["can_auth_with_password"], found["can_auth_with_magic_links"]) == (False, True)


def test_the_context_is_told_to_every_app(alice: Tenant):
    assert attributes(alice.cli("GET", "/settings/context", scope="io.cozy.nothings"))["support_address"] == "help@example.org"
    alice.instance.amend(context="firm")
    assert attributes(alice.cli("GET", "/settings/context"))["manager_url"] == "https://manager.example.org"
    alice.instance.amend(context="unknown")
    found = attributes(alice.cli("GET", "/settings/context"))
    assert (found["support_address"], found["antivirus"]["enabled"]) == ("help@example.org", False)


def test_a_provider_is_among_what_she_logs_in_with(alice: Tenant):
    alice.instance.amend(context="firm")
    assert attributes(alice.cli("GET", "/settings/capabilities"))["can_auth_with_oidc"] is True
    assert attributes(alice.cli("GET", "/settings/instance"))["oidc_logout_url"] == "https://id.example.org/out"
    assert alice.ask("GET", "/public/prelogin").get_json()["OIDC"] is True


def test_logos_of_sponsors_stand_behind_those_of_the_context(alice: Tenant):
    alice.instance.amend(context="firm", sponsorships=["bank", "unknown"])
    light = attributes(alice.cli("GET", "/settings/context"))["logos"]["home"]["light"]
    assert [logo["src"] for logo in light] == ["/logos/own.svg", "/ext/bank/logos/bank.svg"]
    assert CONTEXTS["firm"]["logos"]["home"]["light"] == [{"src": "/logos/own.svg", "type": "main"}]  # type: ignore[index]


@pytest.mark.parametrize("path", ["/settings/context", "/settings/flags"])
@pytest.mark.parametrize("token", ["", "nonsense"])
def test_context_and_flags_are_forbidden_to_nobody(alice: Tenant, path: str, token: str):
    assert alice.ask("GET", path, token=token).status_code == 403


def test_flags_come_from_four_places(alice: Tenant):
    common = alice.stack.drivers.common
    common.put(DEFAULTS.doctype, {"_id": DEFAULTS.id, "default.flag": 1, "firm.flag": 0})
    ratios = ratios_of("firm")
    common.put(ratios.doctype, {"_id": ratios.id, "ratio.flag": [{"ratio": 1, "value": "r"}]})
    alice.instance.amend(context="firm", feature_flags={"own.flag": [1]})
    answer = alice.cli("GET", "/settings/flags?include=source")
    assert attributes(answer) == {"own.flag": [1], "firm.flag": 7, "ratio.flag": "r", "default.flag": 1}
    included = answer.get_json(force=True)["included"]
    assert [one["id"].rpartition(".")[2] for one in included] == ["instance", "config", "context", "default"]
    assert included[3]["attributes"] == {"default.flag": 1, "firm.flag": 0}
    assert "included" not in alice.cli("GET", "/settings/flags").get_json(force=True)


def test_no_warning_is_404_with_an_empty_list(alice: Tenant):
    answer = alice.cli("GET", "/settings/warnings")
    assert (answer.status_code, answer.get_json(force=True)) == (404, {"errors": []})
    assert alice.ask("GET", "/settings/warnings").status_code == 401


def test_new_terms_and_a_move_are_warned_of(alice: Tenant):
    alice.instance.amend(tos_latest="2.0.0-20261201", uuid="u", context="firm")
    answer = alice.cli("GET", "/settings/warnings")
    errors = answer.get_json(force=True)["errors"]
    assert (answer.status_code, errors[0]["code"], errors[0]["status"]) == (402, "tos-updated", "402")
    assert errors[0]["links"] == {"self": "https://manager.example.org/cozy/instances/u/tos"}
    assert alice.app("PUT", "/settings/instance/sign_tos").status_code == 403
    client = alice.connected("phone")
    assert alice.ask("PUT", "/settings/instance/sign_tos", token=alice.access(client, "io.cozy.contacts")).status_code == 204
    assert (alice.instance.doc["tos"], "tos_latest" in alice.instance.doc) == ("2.0.0-20261201", False)
    alice.instance.settings.note(moved_to="https://new.example.org/")
    alice.instance.amend(moved=True)
    answer = alice.cli("GET", "/settings/warnings")
    error = answer.get_json(force=True)["errors"][0]
    assert (answer.status_code, error["code"], error["links"]["related"]) == (410, "moved", "https://new.example.org/")


def test_the_clients_of_an_instance_that_moved_are_told_where_it_is(alice: Tenant):
    client = alice.connected("phone")
    token = alice.access(client, "io.cozy.settings")
    alice.instance.settings.note(moved_to="https://new.example.org/")
    alice.instance.amend(moved=True)
    for path in ("/settings/instance", "/data/io.cozy.settings/_all_docs", "/files/io.cozy.files.root-dir"):
        answer = alice.ask("GET", path, token=token, Accept="application/json")
        error = answer.get_json(force=True)["errors"][0]
        assert (answer.status_code, error["code"], error["links"]) == (410, "moved", {"related": "https://new.example.org/"})
    assert alice.ask("GET", "/settings/warnings", token=token).status_code == 410
    assert alice.cli("GET", "/settings/instance").status_code == 200


def test_who_is_invited_reads_the_instance_settings_and_nothing_else(alice: Tenant):
    alice.instance.amend(onboarding_finished=None)
    token = base64.b64decode(alice.instance.doc["register_token"]).hex()
    assert attributes(alice.ask("GET", f"/settings/instance?registerToken={token}"))["public_name"] == "Alice"
    for path in ("/settings/clients", "/data/io.cozy.settings/_all_docs"):
        assert alice.ask("GET", f"{path}?registerToken={token}").status_code == 403
    assert alice.ask("PUT", f"/settings/instance?registerToken={token}", body({})).status_code == 403
    assert alice.ask("GET", "/settings/instance?registerToken=00").status_code == 401


def test_she_may_forget_where_she_came_from(alice: Tenant):
    alice.instance.settings.note(moved_from="https://old.example.org/")
    assert alice.cli("DELETE", "/settings/instance/moved_from").status_code == 403
    assert alice.ask("DELETE", "/settings/instance/moved_from", cookie=alice.session()).status_code == 204
    assert "moved_from" not in alice.instance.docs.get(INSTANCE).doc
    assert alice.ask("DELETE", "/settings/instance/moved_from", cookie=alice.session()).status_code == 204


def test_premium_leads_to_who_manages_the_instance(alice: Tenant):
    cookie = alice.session()
    assert alice.ask("GET", "/settings/premium").status_code == 403
    assert alice.ask("GET", "/settings/premium", cookie=cookie).status_code == 404
    alice.instance.amend(context="firm", uuid="u/1")
    answer = alice.ask("GET", "/settings/premium", cookie=cookie)
    assert (answer.status_code, answer.location) == (301, "https://manager.example.org/cozy/instances/u%2F1/premium")


def test_nothing_outside_keeps_her(alice: Tenant):
    assert attributes(alice.app("GET", "/settings/external-ties", scope="io.cozy.contacts")) == {"has_blocking_subscription": False}
    assert attributes(alice.ask("GET", "/settings/external-ties", cookie=alice.session())) == {"has_blocking_subscription": False}
    assert alice.cli("GET", "/settings/external-ties").status_code == 403


def test_a_client_says_that_it_is_up_to_date(alice: Tenant):
    client = alice.connected("desktop")
    token = alice.access(client, "io.cozy.contacts")
    alice.clock.passes(minutes=1)
    assert alice.ask("POST", "/settings/synchronized", token=token).status_code == 204
    noted = alice.instance.docs.get(Ref(CLIENTS, client.id)).doc["synchronized_at"]
    assert datetime.fromisoformat(noted) == alice.clock()
    assert alice.cli("POST", "/settings/synchronized").status_code == 400
    assert alice.ask("POST", "/settings/synchronized").status_code == 400


# -- connected applications ---------------------------------------------------------------------------------------------


def test_clients_are_listed_by_pages_without_their_secrets(alice: Tenant):
    made = {alice.connected(f"client {number}").id for number in range(5)}
    path, seen = "/settings/clients?page[limit]=2", []
    while path:
        answer = alice.cli("GET", path, scope=CLIENTS).get_json(force=True)
        assert answer["meta"]["count"] == len(answer["data"]) <= 2
        seen += [one["id"] for one in answer["data"]]
        assert not {"client_secret", "_id"} & set(answer["data"][0]["attributes"])
        assert answer["data"][0]["attributes"]["client_id"] == answer["data"][0]["id"]
        path = answer["links"].get("next", "")
    assert sorted(made) == seen


@pytest.mark.parametrize("limit", ["", "0", "-1", "x", "1001", "9" * 30, "\u0663"])
def test_a_limit_that_is_none_is_a_hundred(alice: Tenant, limit: str):
    alice.connected("one")
    answer = alice.cli("GET", f"/settings/clients?page[limit]={limit}", scope=CLIENTS)
    assert (answer.status_code, len(answer.get_json(force=True)["data"])) == (200, 1)


def test_a_client_that_is_removed_is_nobody_from_the_next_request_on(alice: Tenant):
    client = alice.connected("desktop")
    token = alice.access(client, "io.cozy.contacts")
    assert alice.ask("GET", "/settings/capabilities", token=token).status_code == 200
    assert alice.cli("DELETE", f"/settings/clients/{client.id}", scope=f"{CLIENTS}:GET").status_code == 403
    assert alice.cli("DELETE", f"/settings/clients/{client.id}", scope=CLIENTS).status_code == 204
    assert alice.ask("GET", "/settings/capabilities", token=token).status_code == 400
    assert alice.cli("DELETE", f"/settings/clients/{client.id}", scope=CLIENTS).status_code == 404
