"""What konnectors bring: a calendar for each account, to be read on phones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Ref
from cozyd.errors import Forbidden
from cozyd.instance import Instance
from tests.support.stack import Clock, open_stack

EVENTS, CALENDARS = "io.cozy.calendar.events", "io.cozy.calendar.calendars"


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Instance]:
    stack = open_stack(tmp_path / "data", Clock())
    yield stack.create("alice.example.org", passphrase=None)
    stack.close()


def lesson(account: str, label: str, **more: Any) -> dict[str, Any]:
    metadata = {"createdByApp": "pronote", "sourceAccount": account, "sourceAccountIdentifier": f"{account}@school"}
    return {"label": label, "start": "2026-03-02T08:00:00+01:00", "timezone": "Europe/Paris", "cozyMetadata": metadata, **more}


def labels(alice: Instance, id: str) -> list[str]:
    texts = alice.pim.texts(alice.pim.rows(alice.pim.collection(id))).values()
    return sorted(line.removeprefix("SUMMARY:") for text in texts for line in text.decode().split("\r\n") if line.startswith("SUMMARY"))


def test_events_of_an_account_are_in_a_calendar_of_their_own_that_is_only_read(alice: Instance):
    alice.docs.put(EVENTS, lesson("a1", "Maths"))
    alice.docs.put(EVENTS, lesson("a1", "Latin"))
    alice.docs.put(EVENTS, lesson("b2", "Sports"))
    alice.docs.put(EVENTS, {"label": "Mine", "start": "2026-03-02"})
    alice.docs.graft(EVENTS, [{"_id": "r", "_rev": "1-abc", **lesson("c3", "Brought by a replica")}])
    assert [labels(alice, id) for id in ("konnector-a1", "konnector-b2", "konnector-c3", "calendar")] == [
        ["Latin", "Maths"],
        ["Sports"],
        ["Brought by a replica"],
        ["Mine"],
    ]
    calendar = alice.pim.collection("konnector-a1")
    assert (calendar.read_only, calendar.props["name"]) == (True, "pronote (a1@school)")
    assert alice.docs.get(Ref(CALENDARS, "konnector-a1")).doc["source"] == {"type": "konnector", "account": "a1"}
    with pytest.raises(Forbidden):
        alice.pim.delete(calendar, alice.pim.rows(calendar)[0].key[1], match=None)


def test_a_calendar_that_the_konnector_names_is_its_own_choice_and_a_name_that_was_given_stays(alice: Instance):
    alice.docs.put(EVENTS, lesson("a1", "Maths"))
    alice.pim.change(alice.pim.collection("konnector-a1"), {"name": "School"})
    chosen = {"relationships": {"calendar": {"data": {"_id": "calendar", "_type": CALENDARS}}}}
    alice.docs.put(EVENTS, lesson("a1", "Exam", **chosen))
    alice.docs.put(EVENTS, lesson("a1", "Latin"))
    assert (labels(alice, "konnector-a1"), labels(alice, "calendar")) == (["Latin", "Maths"], ["Exam"])
    assert alice.pim.collection("konnector-a1").props["name"] == "School"


def test_what_was_moved_in_without_its_calendar_has_one_too(alice: Instance):
    for account in ("a1", "b2"):
        alice.docs.put(EVENTS, lesson(account, f"of {account}"))
        alice.docs.delete(Ref(CALENDARS, f"konnector-{account}"), alice.docs.get(Ref(CALENDARS, f"konnector-{account}")).rev)
    found = {
        one.id: (one.props["name"], one.read_only) for one in alice.pim.collections() if one.kind == "calendar" and one.id != "calendar"
    }
    assert found == {"konnector-a1": ("pronote (a1@school)", True), "konnector-b2": ("pronote (b2@school)", True)}
    assert labels(alice, "konnector-b2") == ["of b2"]
    alice.pim.change(alice.pim.collection("konnector-b2"), {"name": "Sports", "color": "#ff0000"})
    renamed = alice.docs.get(Ref(CALENDARS, "konnector-b2")).doc
    assert (renamed["name"], renamed["readOnly"], renamed["source"]) == ("Sports", True, {"type": "konnector", "account": "b2"})
    assert not alice.pim.has("konnector-nobody")


def test_a_calendar_stays_while_there_is_something_of_the_konnector_in_it(alice: Instance):
    maths = alice.docs.put(EVENTS, lesson("a1", "Maths"))
    with pytest.raises(Forbidden):
        alice.pim.remove(alice.pim.collection("konnector-a1"))
    assert labels(alice, "konnector-a1") == ["Maths"]
    alice.docs.delete(maths.ref, maths.rev)
    alice.pim.remove(alice.pim.collection("konnector-a1"))
    assert not alice.pim.has("konnector-a1")
    alice.docs.put(EVENTS, lesson("a1", "Latin"))
    assert labels(alice, "konnector-a1") == ["Latin"]
