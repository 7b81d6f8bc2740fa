"""Which changes an `@event` trigger fires for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozyd import jsons
from cozyd.documents.store import Change, Ref, Stored, Verb
from cozyd.errors import BadRequest
from cozyd.jobs.events import rules_of


def change(
    verb: Verb = "UPDATED", new: Any = None, old: Any = None, *, doctype: str = "io.cozy.foos", id: str = "a", above: tuple[str, ...] = ()
) -> Change:
    made = [None if doc is None else Stored(Ref(doctype, id), rev, jsons.dump(doc)) for rev, doc in (("2-b", new or {}), ("1-a", old))]
    assert made[0] is not None
    return Change(verb, made[0], made[1], {"above": above}, "1-x")


def fires(arguments: str, one: Change) -> bool:
    return any(rule.doctype == one.new.ref.doctype and rule.matches(one) for rule in rules_of(arguments))


FILE = "io.cozy.files"


@pytest.mark.parametrize(
    ("arguments", "one", "wanted"),
    [
        ("io.cozy.foos", change("CREATED"), True),
        ("io.cozy.foos", change("DELETED"), True),
        ("io.cozy.foos", change("NOTIFIED"), False),
        ("io.cozy.foos", change("CREATED", doctype="io.cozy.bars"), False),
        ("io.cozy.foos:CREATED,UPDATED", change("UPDATED"), True),
        ("io.cozy.foos:CREATED,UPDATED", change("DELETED"), False),
        ("io.cozy.bars io.cozy.foos:DELETED", change("DELETED"), True),
        ("io.cozy.foos::v:f", change("UPDATED", {"f": "v"}), False),
        ("io.cozy.foos:ALL", change("UPDATED"), False),
        ("io.cozy.foos.*", change("UPDATED", doctype="io.cozy.foos.bar"), False),
        ("io.cozy.foos:UPDATED:a,b", change("UPDATED", id="b"), True),
        ("io.cozy.foos:UPDATED:a,b", change("UPDATED", id="c"), False),
        ("io.cozy.foos:UPDATED:v:f", change("UPDATED", {"f": "v"}), True),
        ("io.cozy.foos:UPDATED:v:f", change("UPDATED", {"f": "w"}, {"f": "v"}), True),
        ("io.cozy.foos:UPDATED:v:f", change("UPDATED", {"f": "w"}, {"f": "w"}), False),
        ("io.cozy.foos:UPDATED:true:f", change("UPDATED", {"f": True}), True),
        ("io.cozy.foos:UPDATED:3:f", change("UPDATED", {"f": 3}), True),
        ("io.cozy.foos:UPDATED:v:f", change("UPDATED", {}), False),
        ("io.cozy.foos:UPDATED:!=:f", change("UPDATED", {"f": 1}, {"f": 2}), True),
        ("io.cozy.foos:UPDATED:!=:f", change("UPDATED", {"f": 1, "g": 1}, {"f": 1, "g": 2}), False),
        ("io.cozy.foos:UPDATED:!=:f", change("UPDATED", {"f": 1}), False),
        ("io.cozy.foos:CREATED:!=:f", change("CREATED", {}), True),
        ("io.cozy.foos:DELETED:!=:f", change("DELETED", {}), True),
        (f"{FILE}:UPDATED:image/jpeg:mime", change("UPDATED", {"mime": "image/jpeg"}, doctype=FILE), True),
        (f"{FILE}:UPDATED:blue:tags", change("UPDATED", {"tags": ["red", "blue"]}, doctype=FILE), True),
        (f"{FILE}:UPDATED:x:referenced_by", change("UPDATED", {"referenced_by": [{"type": "t", "id": "x"}]}, doctype=FILE), True),
        (f"{FILE}:UPDATED:t/x:referenced_by", change("UPDATED", {"referenced_by": [{"type": "t", "id": "x"}]}, doctype=FILE), True),
        (f"{FILE}:CREATED:folder", change("CREATED", {"type": "file"}, doctype=FILE, above=("sub", "folder", "root")), True),
        (f"{FILE}:UPDATED:folder", change("UPDATED", {"type": "file"}, doctype=FILE, above=("elsewhere", "root")), False),
        (f"{FILE}:CREATED:folder", change("CREATED", {"trashed": True}, doctype=FILE, above=("folder",)), False),
        ("io.cozy.foos:CREATED:folder", change("CREATED", above=("folder",)), False),
    ],
)
def test_a_change_is_meant_or_not(arguments: str, one: Change, wanted: bool):
    assert fires(arguments, one) is wanted


@pytest.mark.parametrize("arguments", ["", "  ", "io.cozy.foos:CREATED:a:b:c", "IO.COZY", "foo.*", ":CREATED", "io.cozy.foos " * 200])
def test_what_is_no_pattern_is_refused(arguments: str):
    with pytest.raises(BadRequest):
        rules_of(arguments)


@given(arguments=st.text(max_size=200))
def test_hostile_patterns_are_refused_or_read(arguments: str):
    try:
        rules = rules_of(arguments)
    except BadRequest:
        return
    assert all(isinstance(rule.matches(change("UPDATED", {"a": [1, {}, None]}, {"a": None})), bool) for rule in rules)
