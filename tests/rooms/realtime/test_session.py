"""One client's conversation: who it is, what it watches, what it is told; time comes as argument."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozyd import jsons
from cozyd.documents.store import Change, Ref, Stored
from cozyd.errors import BadToken, CozyError
from cozyd.permissions import Principal, parse_scope
from cozyd.realtime.session import POLICY_VIOLATION, Session, event_text

OPENED = datetime(2026, 1, 1, tzinfo=UTC)
A, B = "io.cozy.a", "io.cozy.b"


class House:
    """A door that knows tokens by heart."""

    def __init__(self, **scopes: str) -> None:
        self.scopes = scopes

    def authenticate(self, token: str) -> Principal:
        if token not in self.scopes:
            raise BadToken
        return Principal("app", token, parse_scope(self.scopes[token]))

    def may_watch(self, principal: Principal, doctype: str, id: str | None) -> bool:
        try:
            principal.check("GET", doctype, None if id is None else {"_id": id})
        except CozyError:
            return False
        return True


def said(session: Session, method: str, payload: Any) -> list[Any]:
    return [json.loads(text)["payload"]["code"] for text in session.receive(json.dumps({"method": method, "payload": payload}))]


def begun(house: House, *payloads: dict[str, str]) -> Session:
    session = Session(house, OPENED)
    assert said(session, "AUTH", "token") == []
    for payload in payloads:
        assert said(session, "SUBSCRIBE", payload) == []
    return session


def change(doctype: str, id: str = "x", **fields: Any) -> Change:
    return Change("UPDATED", Stored(Ref(doctype, id), "1-a", jsons.dump(fields)))


def told(session: Session, *changes: Change) -> list[tuple[str, str]]:
    return [(one.new.ref.doctype, one.new.ref.id) for one in session.deliver(changes)]


def test_who_sends_no_token_in_ten_seconds_is_left():
    session = Session(House(), OPENED)
    session.tick(OPENED + timedelta(seconds=9))
    assert session.closing is None
    session.tick(OPENED + timedelta(seconds=11))
    assert session.closing == POLICY_VIOLATION


def test_who_sent_a_token_may_stay_silent():
    session = begun(House(token=A))
    session.tick(OPENED + timedelta(days=1))
    assert session.closing is None


def test_a_token_that_ended_is_told_and_hears_nothing_more():
    house = House(token=f"{A} {B}")
    session = begun(house, {"type": A}, {"type": B, "id": "x"})
    assert session.recheck() == ()
    assert told(session, change(A), change(B)) == [(A, "x"), (B, "x")]
    house.scopes.clear()
    (answer,) = session.recheck()
    assert json.loads(answer)["payload"]["code"] == "unauthorized"
    assert b'"token"' not in answer
    assert session.closing == POLICY_VIOLATION
    assert told(session, change(A), change(B)) == []


def test_a_right_that_ended_is_told_and_the_others_stay():
    house = House(token=f"{A} {B}")
    session = begun(house, {"type": A}, {"type": B}, {"type": A, "id": "x"})
    house.scopes["token"] = f"{B} {A}:GET:x"
    (answer,) = session.recheck()
    source = json.loads(answer)["payload"]["source"]
    assert source == {"method": "SUBSCRIBE", "payload": {"type": A, "id": ""}}
    assert told(session, change(A, "x"), change(A, "y"), change(B)) == [(A, "x"), (B, "x")]


def test_before_a_token_there_is_nothing_to_ask_again():
    session = Session(House(), OPENED)
    assert session.recheck() == ()
    assert session.closing is None


def test_some_events_need_no_right_as_their_ids_cannot_be_guessed():
    session = begun(House(token=A), {"type": "io.cozy.auth.confirmations", "id": "s"}, {"type": "io.cozy.sharings.initial_sync", "id": "s"})
    assert told(session, change("io.cozy.auth.confirmations", "s")) == [("io.cozy.auth.confirmations", "s")]


def test_an_index_that_an_app_makes_is_no_change_of_its_data():
    session = begun(House(token=A), {"type": A})
    assert told(session, change(A, "_design/by_name"), change(A, "x")) == [(A, "x")]


def test_the_passphrase_s_event_needs_the_right_on_the_instance_s_settings():
    payload = {"type": "io.cozy.settings", "id": "io.cozy.settings.passphrase"}
    begun(House(token="io.cozy.settings:GET:io.cozy.settings.instance"), payload)
    session = begun(House(token="io.cozy.settings:GET:io.cozy.settings.passphrase"))
    assert said(session, "SUBSCRIBE", payload) == ["forbidden"]


_payloads = st.fixed_dictionaries({"type": st.sampled_from([A, B])}, optional={"id": st.sampled_from(["x", "y"])})


@given(st.lists(st.tuples(st.sampled_from(["SUBSCRIBE", "unsubscribe"]), _payloads)))
def test_what_is_told_is_what_is_watched_each_once(steps: list[tuple[str, dict[str, str]]]):
    session, watched = begun(House(token=f"{A} {B}")), set[tuple[str, str | None]]()
    for method, payload in steps:
        said(session, method, payload)
        doctype, id = payload["type"], payload.get("id")
        if method == "SUBSCRIBE":
            watched.add((doctype, id))
        elif id is None:
            watched = {one for one in watched if one[0] != doctype}
        else:
            watched.discard((doctype, id))
    refs = [(doctype, id) for doctype in (A, B) for id in ("x", "y", "z")]
    expected = [ref for ref in refs if ref in watched or (ref[0], None) in watched]
    assert told(session, *(change(*ref) for ref in refs)) == expected


@given(st.text())
def test_no_message_makes_it_fail(message: str):
    session = begun(House(token=A), {"type": A})
    for answer in session.receive(message):
        assert json.loads(answer)["event"] == "error"
    first = Session(House(token=A), OPENED)
    (answer,) = first.receive(message)
    assert json.loads(answer)["event"] == "error"
    assert first.closing is not None


_names = st.text(min_size=1).filter(lambda name: not name.startswith("_"))


@given(st.dictionaries(_names, st.recursive(st.none() | st.booleans() | st.text(), st.lists)), st.text(min_size=1))
def test_an_event_carries_the_document_and_no_private_data(fields: dict[str, Any], id: str):
    stored = Stored(Ref(A, id), "1-a", jsons.dump(fields), private=b'{"text":"kept apart"}')
    event = event_text(Change("CREATED", stored))
    expected = {"event": "CREATED", "payload": {"type": A, "id": id, "doc": fields | {"_id": id, "_rev": "1-a"}}}
    assert json.loads(event) == expected
    assert event.endswith(b"}\n")


@pytest.mark.parametrize("fields", [{}, {"n": 1}])
def test_an_event_that_is_not_stored_has_no_revision(fields: dict[str, Any]):
    event = json.loads(event_text(Change("NOTIFIED", Stored(Ref(A, "x"), "", jsons.dump(fields)))))
    assert event["payload"]["doc"] == fields | {"_id": "x"}
