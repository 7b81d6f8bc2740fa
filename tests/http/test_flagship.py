"""Session codes and the flagship's log-in, as applications of the phone use them."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from cozyd.auth.passwords import ITERATIONS, derive
from cozyd.auth.values import Kdf
from tests.support.client import Answer
from tests.support.oauth import Application
from tests.support.serving import PASSPHRASE, Served
from tests.support.visitor import Visitor

DERIVED = derive(PASSPHRASE, Kdf("me@alice.localhost", ITERATIONS))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of its own: attempts to log in are counted."""
    with Served(tmp_path_factory.mktemp("flagship") / "data").add_alice() as server:
        yield server


@pytest.fixture(scope="module")
def app(served: Served) -> Application:
    return Application(Visitor(served))


def post(visitor: Visitor, path: str, body: Any, **headers: str) -> Answer:
    return visitor.ask("POST", path, json.dumps(body).encode(), Content_Type="application/json", Accept="application/json", **headers)


def code(served: Served) -> str:
    answer = post(Visitor(served), "/auth/session_code", {"passphrase": DERIVED})
    assert answer.status == 201, answer.body
    return str(answer.json["session_code"])


def test_a_session_code_opens_the_page_once(served: Served, app: Application):
    browser, given = Visitor(served), code(served)
    path = f"/auth/authorize?{urlencode(app.request() | {'session_code': given})}"
    answer = browser.get(path)
    assert (answer.status, "session_code" in answer.headers["Location"]) == (303, False)
    assert answer.headers["Location"].startswith("/auth/authorize?")
    assert b"csrf_token" in browser.get(answer.headers["Location"]).body
    again = Visitor(served).get(path)
    assert "/auth/login?" in again.headers["Location"]


def test_a_code_is_used_up_by_who_is_logged_in_too(served: Served, app: Application):
    given = code(served)
    path = f"/auth/authorize?{urlencode(app.request() | {'session_code': given})}"
    assert Visitor(served).log_in().get(path).status == 200
    assert "/auth/login?" in Visitor(served).get(path).headers["Location"]


@pytest.mark.parametrize("body", [{}, {"passphrase": ""}, {"passphrase": PASSPHRASE}, {"passphrase": None}])
def test_a_session_code_needs_the_passphrase_as_clients_send_it(served: Served, body: dict[str, Any]):
    answer = post(Visitor(served), "/auth/session_code", body)
    assert (answer.status, answer.json) == (401, {"error": "Not authorized"})


def test_a_token_that_has_not_everything_gets_no_session_code(served: Served):
    answer = post(Visitor(served), "/auth/session_code", {}, Authorization=f"Bearer {served.token('io.cozy.files')}")
    assert answer.status == 401


def test_a_client_that_is_not_certified_is_sent_to_the_page(served: Served, app: Application):
    given = {"client_id": app.id, "client_secret": app.secret, "passphrase": DERIVED}
    answer = post(Visitor(served), "/auth/login/flagship", given)
    assert (answer.status, set(answer.json)) == (202, {"session_code"})


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"passphrase": "wrong"}, 401, "The credentials you entered are incorrect, please try again."),
        ({"client_id": "nobody"}, 400, "the client must be registered"),
        ({"client_secret": "wrong"}, 400, "invalid client_secret"),
        ({"client_id": 7}, 400, "client_id must be a text"),
    ],
)
def test_the_flagship_shows_its_secret_and_the_passphrase(
    served: Served, app: Application, change: dict[str, Any], status: int, sentence: str
):
    given = {"client_id": app.id, "client_secret": app.secret, "passphrase": DERIVED}
    answer = post(Visitor(served), "/auth/login/flagship", given | change)
    assert (answer.status, answer.json) == (status, {"error": sentence})


def test_guessing_the_passphrase_by_session_codes_is_slowed_down(fresh: Served):
    statuses = [post(Visitor(fresh), "/auth/session_code", {"passphrase": f"guess {number}"}).status for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
