"""Rules and principals: verb x doctype x document."""

from typing import Any

import pytest

from cozyd.documents.store import Ref, Stored
from cozyd.errors import BadRequest, Forbidden
from cozyd.permissions import (
    ACTIONS,
    Principal,
    Rule,
    check_readable,
    check_writable,
    parse_scope,
    parse_set,
    write_actions,
    write_set,
)


def asks(scope: str) -> Principal:
    return Principal("cli", "", parse_scope(scope))


def allowed(principal: Principal, *asked, **more) -> bool:
    try:
        principal.check(*asked, **more)
    except Forbidden:
        return False
    return True


def test_a_whole_type_rule_allows_the_type_and_its_documents():
    one = asks("io.cozy.contacts")
    assert allowed(one, "GET", "io.cozy.contacts")
    assert allowed(one, "DELETE", "io.cozy.contacts", {"_id": "x"})
    assert not allowed(one, "GET", "io.cozy.contacts.groups")
    assert not allowed(one, "GET", "io.cozy.files")


def test_verbs_limit_a_rule():
    one = asks("io.cozy.contacts:GET,POST")
    assert allowed(one, "POST", "io.cozy.contacts")
    assert not allowed(one, "PUT", "io.cozy.contacts")
    assert allowed(asks("io.cozy.contacts:ALL"), "PUT", "io.cozy.contacts")


def test_values_name_documents_and_never_the_whole_type():
    one = asks("io.cozy.contacts:GET:ada,bob")
    assert allowed(one, "GET", "io.cozy.contacts", {"_id": "ada"})
    assert not allowed(one, "GET", "io.cozy.contacts", {"_id": "eve"})
    assert not allowed(one, "GET", "io.cozy.contacts")


def test_a_selector_looks_into_the_document():
    one = asks("io.cozy.jobs:POST:sendmail:worker")
    assert allowed(one, "POST", "io.cozy.jobs", {"worker": "sendmail"})
    assert not allowed(one, "POST", "io.cozy.jobs", {"worker": "konnector"})
    assert not allowed(one, "POST", "io.cozy.jobs", {})


def test_a_selector_compares_values_as_json_writes_them():
    one = asks("io.cozy.files:GET:true:trashed io.cozy.files:GET:3:level")
    assert allowed(one, "GET", "io.cozy.files", {"trashed": True})
    assert allowed(one, "GET", "io.cozy.files", {"level": 3})
    assert not allowed(one, "GET", "io.cozy.files", {"trashed": False, "level": 4})


def test_a_wildcard_covers_what_is_below_and_needs_three_dots():
    one = asks("io.cozy.bank.*")
    assert allowed(one, "GET", "io.cozy.bank")
    assert allowed(one, "GET", "io.cozy.bank.accounts")
    assert not allowed(one, "GET", "io.cozy.banking")
    for scope in ("io.cozy.*", "io.*", "*", "io.cozy.", "IO.cozy.x", "", "a:NOPE", "a:GET:1:sel:more"):
        with pytest.raises(BadRequest):
            parse_scope(scope)


def test_a_dotted_prefix_opens_nothing():
    for scope in ("io", "io.cozy"):
        assert not allowed(asks(scope), "GET", "io.cozy.files")


def folder(id: str, **fields) -> Stored:
    import json

    return Stored(Ref("io.cozy.files", id), "1-a", json.dumps({"type": "directory", **fields}).encode())


def test_a_rule_on_a_folder_covers_what_is_below():
    one = asks("io.cozy.files:GET:photos")
    node = {"_id": "img", "type": "file", "dir_id": "trip"}
    assert allowed(one, "GET", "io.cozy.files", node, above=[folder("trip"), folder("photos")])
    assert allowed(one, "GET", "io.cozy.files", {"_id": "img", "dir_id": "photos"})
    assert not allowed(one, "GET", "io.cozy.files", node, above=[folder("other")])
    assert not allowed(one, "PUT", "io.cozy.files", node, above=[folder("photos")])


def test_a_rule_on_the_root_covers_every_file():
    one = asks("io.cozy.files:GET:io.cozy.files.root-dir")
    assert allowed(one, "GET", "io.cozy.files", {"_id": "x", "dir_id": "y"})


def test_each_selector_rule_is_tried_on_each_ancestor_but_mime_and_class():
    tagged = folder("a", tags=["shared"])
    one = asks("io.cozy.files:GET:none:name io.cozy.files:GET:shared:tags")
    assert allowed(one, "GET", "io.cozy.files", {"_id": "x"}, above=[tagged])
    by_class = asks("io.cozy.files:GET:image:class")
    assert not allowed(by_class, "GET", "io.cozy.files", {"_id": "x"}, above=[folder("a", **{"class": "image"})])


def test_an_album_opens_the_files_it_references():
    one = asks("io.cozy.files:GET:io.cozy.photos.albums/1:referenced_by")
    file = {"_id": "x", "type": "file", "referenced_by": [{"type": "io.cozy.photos.albums", "id": "1"}]}
    assert allowed(one, "GET", "io.cozy.files", file)
    assert not allowed(one, "GET", "io.cozy.files", file | {"referenced_by": [{"type": "io.cozy.photos.albums", "id": "2"}]})


def test_nobody_s_rules_allow_nothing_and_everything_allows_all():
    assert not allowed(Principal("app", "x"), "GET", "io.cozy.contacts")
    assert allowed(Principal("owner", "", everything=True), "GET", "io.cozy.contacts")


def test_may_only_says_whether_some_document_could_be_allowed():
    one = Principal("app", "x", (Rule("r", "io.cozy.files", ACTIONS, None, ("id",)),))
    assert one.may("PUT", "io.cozy.files")
    assert not one.may("PUT", "io.cozy.contacts")
    assert asks("io.cozy.files:GET io.cozy.contacts").may("PUT", "io.cozy.contacts")
    assert not asks("io.cozy.files:GET io.cozy.contacts").may("PUT", "io.cozy.files")
    assert Rule("r", "io.cozy.files", ACTIONS).allows({})


@pytest.mark.parametrize(
    "doctype",
    ["io.cozy.sessions", "io.cozy.permissions", "io.cozy.devices", "io.cozy.dav.subscriptions", "instances", "com.bitwarden.profiles"],
)
def test_closed_doctypes_are_neither_read_nor_written(doctype):
    with pytest.raises(Forbidden, match="unreadable"):
        check_readable(doctype)
    with pytest.raises(Forbidden, match="unwritable"):
        check_writable(doctype)


def test_read_only_doctypes_are_read():
    check_readable("io.cozy.files")
    with pytest.raises(Forbidden, match="unwritable"):
        check_writable("io.cozy.files")


@pytest.mark.parametrize("name", ["BAD type", ".a", "a.", "a..b", "", "é"])
def test_names_that_are_no_doctypes_are_refused(name):
    with pytest.raises(Forbidden, match="not a valid doctype name"):
        check_readable(name)


# -- what may be passed on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("child", "parent", "is_within"),
    [
        ("io.cozy.contacts", "io.cozy.contacts", True),
        ("io.cozy.contacts", "io.cozy.files", False),
        ("io.cozy.contacts:GET", "io.cozy.contacts", True),
        ("io.cozy.contacts:GET", "io.cozy.contacts:GET,PUT", True),
        ("io.cozy.contacts:GET,PUT", "io.cozy.contacts:GET", False),
        ("io.cozy.contacts", "io.cozy.contacts:GET", False),
        ("io.cozy.contacts:ALL", "io.cozy.contacts:GET", False),
        ("io.cozy.files:GET:one", "io.cozy.files:GET", True),
        ("io.cozy.files:GET", "io.cozy.files:GET:one", False),
        ("io.cozy.files:GET:one", "io.cozy.files:GET:one", True),
        ("io.cozy.files:GET:one", "io.cozy.files:GET:one,two", True),
        ("io.cozy.files:GET:one,three", "io.cozy.files:GET:one,two", False),
        ("io.cozy.files:GET:one:tags", "io.cozy.files:GET:one", False),
        ("io.cozy.files:GET:one", "io.cozy.files:GET:one:tags", False),
        ("io.cozy.files:GET:one:tags", "io.cozy.files:GET:one,two:tags", True),
        ("io.cozy.files:GET:one:tags", "io.cozy.files:GET", True),
        ("io.cozy.bank.accounts", "io.cozy.bank.*", True),
        ("io.cozy.bank", "io.cozy.bank.*", True),
        ("io.cozy.banking", "io.cozy.bank.*", False),
        ("io.cozy.bank.*", "io.cozy.bank.*", True),
        ("io.cozy.bank.accounts.*", "io.cozy.bank.*", True),
        ("io.cozy.bank.*", "io.cozy.bank.accounts.*", False),
        ("io.cozy.bank.*", "io.cozy.bank", False),
        ("io.cozy.banking.*", "io.cozy.bank.*", False),
    ],
)
def test_a_rule_is_passed_on_within_another_that_allows_all_of_it(child, parent, is_within):
    (inner,), (outer,) = parse_scope(child), parse_scope(parent)
    assert inner.within(outer) is is_within
    assert asks(parent).holds([inner]) is is_within


def test_each_rule_needs_one_that_holds_it_alone():
    owner = asks("io.cozy.contacts:GET io.cozy.contacts:PUT io.cozy.files")
    assert owner.holds(parse_scope("io.cozy.contacts:GET io.cozy.files:DELETE:x"))
    assert not owner.holds(parse_scope("io.cozy.contacts:GET,PUT"))
    assert not owner.holds(parse_scope("io.cozy.files io.cozy.jobs"))
    assert owner.holds([])
    assert Principal("client", "flagship", everything=True).holds(parse_scope("io.cozy.jobs"))
    assert not Principal("app", "x").holds(parse_scope("io.cozy.jobs"))


def test_a_whole_type_is_asked_for_by_no_document():
    assert allowed(asks("io.cozy.contacts:GET"), "GET", "io.cozy.contacts")
    assert allowed(asks("io.cozy.contacts:GET:x io.cozy.contacts:GET"), "GET", "io.cozy.contacts", {"_id": "other"})
    one = asks("io.cozy.contacts:GET:x io.cozy.contacts:GET:y:name")
    assert not allowed(one, "GET", "io.cozy.contacts")
    assert allowed(one, "GET", "io.cozy.contacts", {"_id": "x"})
    assert allowed(one, "GET", "io.cozy.contacts", {"_id": "z", "name": "y"})
    assert not allowed(one, "GET", "io.cozy.contacts", {"_id": "y", "name": "x"})
    assert not allowed(one, "GET", "io.cozy.contacts", {})
    assert not allowed(asks("io.cozy.files"), "GET", "io.cozy.contacts", {"_id": "x"})
    assert Principal("owner", "", everything=True).may("GET", "io.cozy.contacts")
    with pytest.raises(Forbidden):
        one.check("PUT", "io.cozy.contacts", {"_id": "x"})


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        (7, ["7"]),
        (True, ["true"]),
        ([False, 1.5], ["false", "1.5"]),
        (None, []),
        ({"a": 1}, ["{'a': 1}"]),
    ],
)
def test_values_are_compared_as_scopes_write_them(value, texts):
    for text in ("a", "b", "7", "true", "false", "1.5", "None"):
        rule = Rule("r", "io.cozy.jobs", ACTIONS, "field", (text,))
        assert rule.allows({"field": value}) is (text in texts)


def test_a_folder_is_referenced_by_bare_ids_and_a_file_by_both():
    rules = {form: Rule("r", "io.cozy.files", ACTIONS, "referenced_by", (form,)) for form in ("1", "io.cozy.photos.albums/1")}
    refs = {"referenced_by": [{"type": "io.cozy.photos.albums", "id": "1"}, "broken"]}
    assert [rule.allows(refs | {"type": "directory"}) for rule in rules.values()] == [True, False]
    assert [rule.allows(refs | {"type": "file"}) for rule in rules.values()] == [True, True]


def test_a_selector_never_inherits_the_root_and_an_id_of_elsewhere_inherits_nothing():
    by_name = asks("io.cozy.files:GET:io.cozy.files.root-dir:name")
    assert not allowed(by_name, "GET", "io.cozy.files", {"_id": "x", "dir_id": "io.cozy.files.root-dir"})
    assert not allowed(asks("io.cozy.things:GET:io.cozy.files.root-dir"), "GET", "io.cozy.things", {"_id": "x", "dir_id": "y"})
    assert not allowed(asks("io.cozy.files:GET:a:mime"), "GET", "io.cozy.files", {"_id": "x"}, above=[folder("d", mime="a")])


# -- sets as JSON -----------------------------------------------------------------------------------------------------------


def test_a_set_keeps_titles_order_and_what_it_says_and_leaves_out_what_means_all():
    given: dict[str, Any] = {
        "z": {"type": "io.cozy.files", "description": "d", "verbs": ["POST", "GET"], "selector": "tags", "values": ["a", "b"]},
        "a": {"type": "io.cozy.contacts", "verbs": ["ALL"]},
        "b": {"type": "io.cozy.bank.*", "verbs": [], "values": ["x"], "selector": None},
        "c": {"type": "io.cozy.bills", "verbs": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
    }
    rules = parse_set(given)
    assert rules[2].allows({"_id": "x"})
    written = write_set(rules)
    assert list(written) == ["z", "a", "b", "c"]
    assert written["c"] == given["c"]
    assert written["z"] == given["z"] | {"verbs": ["GET", "POST"]}
    assert written["a"] == {"type": "io.cozy.contacts"}
    assert written["b"] == {"type": "io.cozy.bank.*", "values": ["x"]}
    assert write_actions(["DELETE", "GET"]) == ["GET", "DELETE"]


@pytest.mark.parametrize(
    "rule",
    [
        [],
        None,
        {},
        {"type": ""},
        {"type": 7},
        {"type": "io.cozy.x", "verbs": "GET"},
        {"type": "io.cozy.x", "verbs": ["get"]},
        {"type": "io.cozy.x", "verbs": [1]},
        {"type": "io.cozy.x", "verbs": ["GET", "NOPE"]},
        {"type": "io.cozy.x", "values": "a"},
        {"type": "io.cozy.x", "values": [""]},
        {"type": "io.cozy.x", "values": [1]},
        {"type": "io.cozy.x", "selector": "name"},
        {"type": "io.cozy.x", "selector": 7, "values": ["a"]},
        {"type": "io.cozy.x", "description": 7},
    ],
    ids=str,
)
def test_a_rule_that_is_none_is_refused(rule):
    with pytest.raises(BadRequest):
        parse_set({"r": rule})


@pytest.mark.parametrize("name", ["io.cozy.*", "a.*", "*", "Io.cozy.x", "io..x", "io.cozy.x.", "io.cozy.*.x"])
def test_a_rule_of_a_type_that_is_none_is_forbidden(name):
    with pytest.raises(Forbidden):
        parse_set({"r": {"type": name}})


@pytest.mark.parametrize("given", [[], "x", None, 7])
def test_only_objects_are_sets(given):
    with pytest.raises(BadRequest):
        parse_set(given)


@pytest.mark.parametrize("scope", ["a:", "a::", "a:GET:", "a:GET:1,", "a:GET:,1", "a:GET::sel", ":GET", "a:GET:1:", "a:get"])
def test_a_scope_with_something_missing_is_refused(scope):
    with pytest.raises(BadRequest):
        parse_scope(scope)


def test_names_of_doctypes_are_checked_before_anything_else_is_said():
    check_writable("io.cozy.contacts")
    check_readable("io.cozy.contacts")
    with pytest.raises(Forbidden, match="not a valid doctype name"):
        check_writable("no such")
