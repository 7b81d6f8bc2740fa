"""OAuth clients register, read, change and remove themselves."""

import re
from typing import Any

import pytest

from tests.support.oauth import NOTES, REDIRECT, Application
from tests.support.serving import Served
from tests.support.visitor import Visitor


def test_a_client_gets_an_id_a_secret_and_a_token_for_its_registration(app: Application):
    made = app.registration
    assert re.fullmatch("[0-9a-f]{32}", made["client_id"])
    assert len(made["client_secret"]) == 32
    assert (made["client_secret_expires_at"], made["pending"]) == (0, True)
    assert made["grant_types"] == ["authorization_code", "refresh_token"]
    assert "_id" not in made
    assert "_rev" not in made


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://client.example/cb"}, "invalid_redirect_uri"),
        ({"redirect_uris": [7]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://client.example/cb#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["no address"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://[::1"]}, "invalid_redirect_uri"),
        ({"client_name": ""}, "invalid_client_metadata"),
        ({"client_name": "  "}, "invalid_client_metadata"),
        ({"client_name": {"en": "x"}}, "invalid_client_metadata"),
        ({"software_id": None}, "invalid_client_metadata"),
        ({"client_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"notification_platform": "pager"}, "invalid_client_metadata"),
        ({"notifications": []}, None),
        ({"software_id": "registry://store"}, "unapproved_software_id"),
        ({"software_id": "registry://settings"}, "unapproved_software_id"),
        ({"software_id": "registry://nobody-has-it"}, "unapproved_software_id"),
    ],
)
def test_wrong_metadata_is_refused_with_its_name(app: Application, metadata: dict[str, object], error: str | None):
    given = {"redirect_uris": [REDIRECT], "client_name": "N", "software_id": "x"} | metadata
    answer = app.post_json("/auth/register", given)
    assert (answer.status, answer.json.get("error")) == (400 if error else 201, error)


@pytest.mark.parametrize(
    ("headers", "error"),
    [({"Accept": "text/html"}, "bad_accept_header"), ({"Content_Type": "text/plain"}, "bad_content_type")],
)
def test_registration_speaks_json(app: Application, headers: dict[str, str], error: str):
    answer = app.post_json("/auth/register", {"redirect_uris": [REDIRECT], "client_name": "N", "software_id": "x"}, **headers)
    assert (answer.status, answer.json["error"]) == (400, error)


@pytest.mark.parametrize("body", [b"", b"{oops", b"null", b"[]", b'"x"', b"[" * 2000])
def test_a_broken_registration_is_a_bad_request(app: Application, body: bytes):
    answer = Visitor(app.served).ask("POST", "/auth/register", body, Content_Type="application/json", Accept="application/json")
    assert answer.status == 400


def test_two_clients_of_one_name_are_told_apart(owner: Visitor):
    names = [Application(owner, client_name="Twin").registration["client_name"] for _ in range(3)]
    assert names == ["Twin", "Twin-2", "Twin-3"]


def test_a_number_that_was_free_again_is_not_given_twice(owner: Visitor):
    made = [Application(owner, client_name="Triplet") for _ in range(3)]
    gone = made[1]
    assert owner.ask("DELETE", f"/auth/register/{gone.id}", None, Authorization=f"Bearer {gone.registration_token}").status == 204
    assert Application(owner, client_name="Triplet").registration["client_name"] == "Triplet-4"


@pytest.mark.parametrize(
    "metadata", [{"client_uri": "notes.example"}, {"logo_uri": "/logo.svg"}, {"policy_uri": "mailto:me@notes.example"}]
)
def test_an_address_that_runs_nothing_is_kept_as_it_is(owner: Visitor, metadata: dict[str, Any]):
    assert metadata.items() <= Application(owner, **metadata).registration.items()


def test_a_client_reads_changes_and_removes_its_registration(owner: Visitor):
    app = Application(owner, policy_uri="https://client.example/policy")
    mine = {"Authorization": f"Bearer {app.registration_token}", "Accept": "application/json"}
    path = f"/auth/register/{app.id}"
    shown = owner.get(path, **mine)
    assert (shown.status, shown.json["client_secret"]) == (200, app.secret)
    assert "registration_access_token" not in shown.json
    changed = {"client_id": app.id, "redirect_uris": ["cozynotes://back"], "client_name": "New name", "software_id": "x"}
    answer = app.post_json(path, changed, "PUT", **mine)
    assert (answer.status, answer.json["client_name"], answer.json["client_secret"]) == (200, "New name", app.secret)
    assert "policy_uri" not in answer.json
    rotated = app.post_json(path, changed | {"client_secret": app.secret}, "PUT", **mine).json["client_secret"]
    assert rotated != app.secret
    assert owner.ask("DELETE", path, None, **mine).status == 204
    assert owner.ask("DELETE", path, None, **mine).status == 204
    gone = owner.get(path, **mine)
    assert (gone.status, gone.json) == (404, {"error": "Client not found"})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": "other"}, "invalid_client_id"),
        ({"client_id": None}, "invalid_client_id"),
        ({"client_secret": "x"}, "invalid_client_secret"),
    ],
)
def test_an_update_repeats_the_id_and_knows_the_secret(app: Application, change: dict[str, object], error: str):
    given = {"client_id": app.id, "redirect_uris": [REDIRECT], "client_name": "N", "software_id": "x"} | change
    answer = app.post_json(f"/auth/register/{app.id}", given, "PUT", Authorization=f"Bearer {app.registration_token}")
    assert (answer.status, answer.json["error"]) == (400, error)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_registration_is_its_clients_own(owner: Visitor, app: Application, method: str):
    other = Application(owner)
    for token in ("", "nonsense", other.registration_token, other.tokens()["access_token"]):
        answer = app.post_json(f"/auth/register/{app.id}", {"client_id": app.id}, method, Authorization=f"Bearer {token}")
        assert (answer.status, answer.json) == (401, {"error": "invalid_token"})


def test_only_the_operator_makes_a_client_that_asks_nobody(served: Served, app: Application):
    given = {"redirect_uris": [REDIRECT], "client_name": "N", "software_id": "x", "allow_login_scope": True}
    assert app.post_json("/auth/register", given).status == 401
    assert app.post_json("/auth/register", given, Authorization=f"Bearer {app.tokens()['access_token']}").status == 401
    made = app.post_json("/auth/register", given, Authorization=f"Bearer {served.token(NOTES)}")
    assert (made.status, made.json["allow_login_scope"]) == (201, True)


def test_after_fifty_registrations_in_an_hour_the_route_is_gone_for_new_ones(tmp_path_factory: pytest.TempPathFactory):
    with Served(tmp_path_factory.mktemp("many") / "data").add_alice() as server:
        owner = Visitor(server)
        apps = [Application(owner) for _ in range(50)]
        refused = apps[0].post_json("/auth/register", {"redirect_uris": [REDIRECT], "client_name": "N", "software_id": "x"})
        assert (refused.status, refused.json) == (404, {"error": "Not found"})
        shown = owner.get(f"/auth/register/{apps[0].id}", Authorization=f"Bearer {apps[0].registration_token}", Accept="*/*")
        assert shown.status == 200
