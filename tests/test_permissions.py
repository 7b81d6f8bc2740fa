"""Rules and principals: verb x doctype x document."""

import pytest

from cozyd.documents.store import Ref, Stored
from cozyd.errors import BadRequest, Forbidden
from cozyd.permissions import ACTIONS, Principal, Rule, check_readable, check_writable, parse_scope


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
