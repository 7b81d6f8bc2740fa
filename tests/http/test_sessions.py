"""Where the owner is logged in: listed, ended one by one and together, and how her log-ins are remembered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.auth import LOGINS, SESSIONS, Credentials
from cozyd.auth.sessions import MOST_LOGINS
from cozyd.auth.trail import EVENTS, MOST_EVENTS
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.client import Client
from tests.support.serving import Served
from tests.support.stack import Clock, open_stack
from tests.support.visitor import Visitor

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of its own: its sessions are counted."""
    with Served(tmp_path_factory.mktemp("sessions") / "data").add_alice() as server:
        yield server


@pytest.fixture(scope="module")
def script(served: Served) -> Client:
    return Client(served, scope=(SESSIONS, LOGINS, EVENTS))


def ids(script: Client) -> set[str]:
    answer = script.api("GET", "/settings/sessions", Accept="application/vnd.api+json")
    assert answer.status == 200, answer.body
    assert answer.json["meta"]["count"] == len(answer.json["data"])
    return {one["id"] for one in answer.json["data"]}


def mine(visitor: Visitor) -> str:
    answer = visitor.get("/settings/sessions/current")
    assert answer.status == 200, answer.body
    return str(answer.json["data"]["id"])


def test_each_browser_s_session_is_listed_and_the_own_one_is_known(served: Served, script: Client):
    one, other = Visitor(served).log_in(), Visitor(served).log_in()
    assert {mine(one), mine(other)} <= ids(script)
    assert mine(one) != mine(other)
    assert Visitor(served).get("/settings/sessions/current", Accept="application/vnd.api+json").status == 404
    attributes = one.get("/settings/sessions/current").json["data"]["attributes"]
    assert set(attributes) == {"_id", "_rev", "created_at", "last_seen", "long_run", "short_run"}


def test_one_session_is_ended_and_no_longer_listed(served: Served, script: Client):
    one, other = Visitor(served).log_in(), Visitor(served).log_in()
    gone = mine(one)
    assert script.api("DELETE", f"/settings/sessions/{gone}").status == 204
    assert one.get("/sync/").status == 303
    assert other.get("/sync/").status == 200
    assert gone not in ids(script)
    assert script.api("DELETE", f"/settings/sessions/{gone}").status == 404


def test_an_app_ends_all_sessions_but_its_own(served: Served, script: Client):
    one, others = Visitor(served).log_in(), [Visitor(served).log_in() for _ in range(2)]
    app = f"Bearer {served.token('io.cozy.files', '--app', 'drive')}"
    refused = one.ask("DELETE", "/auth/login/others", None)
    assert (refused.status, set(refused.json)) == (401, {"error"})
    assert Visitor(served).ask("DELETE", "/auth/login/others", None, Authorization=app).status == 401
    kept = mine(one)
    done = one.ask("DELETE", "/auth/login/others", None, Authorization=app, Origin=f"http://drive.{served.domain}")
    assert (done.status, done.headers["Access-Control-Allow-Credentials"]) == (204, "true")
    assert ids(script) == {kept}
    assert [other.get("/sync/").status for other in others] == [303, 303]
    assert one.get("/sync/").status == 200


def test_a_token_without_the_whole_type_lists_no_sessions(served: Served, script: Client):
    token = served.token("io.cozy.sessions:GET:one")
    assert script.api("GET", "/settings/sessions", Authorization=f"Bearer {token}").status == 403
    reader = served.token("io.cozy.sessions:GET")
    assert script.api("DELETE", "/settings/sessions/x", Authorization=f"Bearer {reader}").status == 403


def test_each_log_in_is_remembered_with_browser_system_and_address(served: Served, script: Client):
    visitor = Visitor(served)
    visitor.agent = FIREFOX
    visitor.log_in()
    logins = [row["doc"] for row in script.api("GET", f"/data/{LOGINS}/_all_docs?include_docs=true").json["rows"]]
    (login,) = [one for one in logins if one["session_id"] == mine(visitor)]
    assert {name: login[name] for name in ("ip", "browser", "os", "user_agent", "client_registration")} == {
        "ip": "127.0.0.1",
        "browser": "Firefox",
        "os": "Linux",
        "user_agent": FIREFOX,
        "client_registration": False,
    }
    assert script.api("PUT", f"/data/{LOGINS}/x", {"a": 1}).status == 403


def test_the_owner_s_trail_is_a_doctype_that_nobody_writes(served: Served, script: Client):
    visitor = Visitor(served).log_in()
    visitor.post("/sync/logout", {"csrf_token": visitor.csrf("/sync/")})
    lines = [row["doc"] for row in script.api("GET", f"/data/{EVENTS}/_all_docs?include_docs=true").json["rows"]]
    assert [line["what"] for line in lines][-2:] == ["logged_in", "logged_out"]
    assert lines[-2]["detail"] == "passphrase"
    assert script.api("PUT", f"/data/{EVENTS}/x", {"a": 1}).status == 403


# -- with a clock of its own ----------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alice(tmp_path: Path, clock: Clock) -> Iterator[Instance]:
    stack: Stack = open_stack(tmp_path / "data", clock)
    yield stack.create("alice.localhost:8080", passphrase="p")
    stack.close()


def open_one(alice: Instance, *, short: bool = False) -> str:
    return alice.auth.sessions.id_of(alice.auth.open_session(Credentials(), long_run=False, short_run=short))


def test_a_session_nobody_used_for_thirty_days_is_not_listed_and_goes(alice: Instance, clock: Clock):
    old, short = open_one(alice), open_one(alice, short=True)
    clock.passes(minutes=6)
    assert [one.ref.id for one in alice.auth.sessions.all()] == [old]
    assert {one.ref.id for one in alice.docs.all(SESSIONS).rows} == {old, short}
    clock.passes(days=31)
    new = open_one(alice)
    assert [one.ref.id for one in alice.auth.sessions.all()] == [new]
    assert [one.ref.id for one in alice.docs.all(SESSIONS).rows] == [new]


def test_a_new_passphrase_ends_and_removes_every_session(alice: Instance):
    from cozyd.auth.passphrase import NewPassphrase

    open_one(alice)
    alice.auth.replace_passphrase(NewPassphrase("another", iterations=650_000))
    assert (alice.auth.sessions.all(), list(alice.docs.all(SESSIONS).rows)) == ([], [])


def test_history_and_trail_keep_the_latest_thousand(alice: Instance):
    for _ in range(60):
        alice.auth.trail.note("logged_in")
    from cozyd.auth.lists import thin_out

    last = alice.docs.all(EVENTS, descending=True, limit=1).rows[0].ref.id
    thin_out(alice.docs, EVENTS, 5)
    assert [one.ref.id for one in alice.docs.all(EVENTS).rows][-1] == last
    assert alice.docs.info(EVENTS).count == 5
    assert (MOST_LOGINS, MOST_EVENTS) == (1000, 1000)
