"""Whom an instance answers: old domains, blocked ones, those that are being deleted, and terms that wait."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.inprocess import Place, Tenant

CONTEXTS = {
    "default": {"support_address": "help@example.org"},
    "firm": {"manager_url": "https://manager.example.org"},
}
THINGS = "/data/io.cozy.things/_all_docs"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("served") / "data", contexts=CONTEXTS)
    yield place
    place.stack.close()


@pytest.fixture
def alice(place: Place) -> Tenant:
    alice = place.tenant(email="alice@example.org")
    alice.instance.docs.put("io.cozy.things", {"_id": "one"})
    return alice


def block(alice: Tenant, reason: str = "", **more: Any) -> str:
    """Block her; a token of an app with which she asks meanwhile."""
    token = alice.access(alice.connected("phone"), "io.cozy.things io.cozy.settings")
    alice.instance.amend(blocked=True, blocking_reason=reason or None, **more)
    return token


@pytest.mark.parametrize("accept", ["application/json", "application/vnd.api+json"])
@pytest.mark.parametrize(("reason", "status"), [("", 503), ("UNKNOWN", 503), ("PAYMENT_FAILED", 402)])
def test_a_blocked_instance_tells_programs_in_a_bare_list(alice: Tenant, accept: str, reason: str, status: int):
    token = block(alice, reason)
    answer = alice.ask("GET", THINGS, token=token, Accept=accept)
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    (error,) = answer.get_json()
    assert (error["status"], error["title"], error["code"], error["source"]) == (str(status), "Blocked", "UNKNOWN", {})
    assert error["detail"]


@pytest.mark.parametrize(
    ("reason", "status", "text"),
    [("", 503, "Nothing is lost"), ("PAYMENT_FAILED", 402, "not been paid"), ("LOGIN_FAILED", 503, "too many attempts")],
)
def test_a_blocked_instance_tells_people_why_and_whom_to_ask(alice: Tenant, reason: str, status: int, text: str):
    block(alice, reason)
    answer = alice.ask("GET", "/auth/login", Accept="text/html")
    page = answer.get_data(as_text=True)
    assert (answer.status_code, text in page, "help@example.org" in page) == (status, True, True)
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_too_many_logins_are_told_on_a_page_to_programs_too(alice: Tenant):
    token = block(alice, "LOGIN_FAILED")
    assert alice.ask("GET", THINGS, token=token).mimetype == "text/html"


@pytest.mark.parametrize("reason", ["IMPORTING", "MOVING"])
def test_an_instance_that_moves_sends_browsers_to_the_page_about_it(alice: Tenant, reason: str):
    token = block(alice, reason)
    answer = alice.ask("GET", "/", Accept="text/html")
    assert (answer.status_code, answer.location) == (302, f"http://{alice.instance.domain}/move/importing")
    answer = alice.ask("GET", THINGS, token=token)
    assert (answer.status_code, list(answer.get_json())) == (503, ["error"])
    assert alice.ask("GET", "/move/importing").status_code == 404  # asked, not blocked


def test_settings_assets_and_the_operator_are_served_while_it_is_blocked(alice: Tenant):
    token = block(alice)
    assert alice.ask("GET", "/settings/capabilities", token=token).status_code == 200
    assert alice.ask("GET", "/robots.txt").status_code == 200
    assert alice.ask("GET", "/assets/styles/page.css").status_code == 200
    assert alice.cli("GET", THINGS, scope="io.cozy.things").status_code == 200
    assert alice.ask("GET", THINGS, token="nonsense").status_code == 503
    alice.instance.amend(blocked=None)
    assert alice.ask("GET", THINGS, token=token).status_code == 200


def test_dav_is_blocked_too(alice: Tenant):
    block(alice, "PAYMENT_FAILED")
    assert alice.ask("PROPFIND", "/sync/dav/me/").status_code == 402


def test_an_owner_who_is_blocked_by_her_host_is_sent_there(alice: Tenant):
    cookie = alice.session()
    block(alice, "PAYMENT_FAILED", context="firm", uuid="u")
    answer = alice.ask("GET", "/", cookie=cookie, Accept="text/html")
    assert (answer.status_code, answer.location) == (302, "https://manager.example.org/cozy/instances/u/blocked")
    assert alice.ask("GET", "/", Accept="text/html").status_code == 402


def test_an_instance_that_is_being_deleted_is_not_there(alice: Tenant):
    alice.instance.amend(deleting=True)
    for path in ("/", THINGS, "/settings/instance", "/sync/dav/me/"):
        assert alice.ask("GET", path).status_code == 404


@pytest.mark.parametrize("path", ["/a%2Fb/%C3%A9%25?x=1&y=%20&", "/data/io.cozy.things/one?revs=true", "/", "/?a=b?c"])
def test_an_old_domain_leads_to_the_new_one_with_path_and_query(alice: Tenant, path: str):
    alice.instance.amend(old_domain=f"old-{alice.instance.domain}")
    answer = alice.ask("GET", path, host=f"old-{alice.instance.domain}")
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"http://{alice.instance.domain}{path}"


def test_terms_that_have_to_be_signed_stop_everybody_but_the_operator(alice: Tenant):
    token = alice.access(alice.connected("phone"), "io.cozy.things")
    alice.instance.amend(tos_latest="2.0.0-20260101", context="firm", uuid="u")
    answer = alice.ask("GET", THINGS, token=token)
    assert (answer.status_code, answer.get_json()[0]["code"]) == (402, "tos-updated")
    answer = alice.ask("GET", "/auth/login", Accept="text/html")
    assert (answer.status_code, answer.location) == (302, "https://manager.example.org/cozy/instances/u/tos")
    assert alice.cli("GET", THINGS, scope="io.cozy.things").status_code == 200
    assert alice.ask("PUT", "/settings/instance/sign_tos", token=token).status_code == 204
    assert alice.ask("GET", THINGS, token=token).status_code == 200


@pytest.mark.parametrize("record", [{"tos_latest": "2.0.0-20270301"}, {"uuid": None}, {"context": None}, {"onboarding_finished": None}])
def test_terms_stop_nobody_before_their_day_or_without_a_place_to_sign_them(alice: Tenant, record: dict[str, Any]):
    alice.instance.amend(**({"tos_latest": "2.0.0-20260101", "context": "firm", "uuid": "u"} | record))
    token = alice.access(alice.connected("phone"), "io.cozy.things")
    assert alice.ask("GET", THINGS, token=token).status_code == 200
