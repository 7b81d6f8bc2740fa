"""Groups both ways: an app's groups are CATEGORIES of cards, a phone's CATEGORIES are groups, a group's own card is one too."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Ref, Write
from cozyd.instance import Instance
from cozyd.pim.groups import ids_of
from tests.support.stack import Clock, open_stack

CONTACTS, GROUPS, BOOKS = "io.cozy.contacts", "io.cozy.contacts.groups", "io.cozy.contacts.books"


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Instance]:
    stack = open_stack(tmp_path / "data", Clock())
    yield stack.create("alice.example.org", passphrase=None)
    stack.close()


def card(uid: str, *lines: str) -> bytes:
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{uid}", f"N:{uid};;;;", *lines, "END:VCARD", ""]).encode()


def group_card(uid: str, name: str, *members: str, apple: bool = True) -> bytes:
    prefix = "X-ADDRESSBOOKSERVER-" if apple else ""
    lines = [f"{prefix}MEMBER:urn:uuid:{one}" for one in members]
    version = "3.0" if apple else "4.0"
    head = ["BEGIN:VCARD", f"VERSION:{version}", f"UID:{uid}", f"N:{name};;;;", f"FN:{name}", f"{prefix}KIND:group"]
    return "\r\n".join([*head, *lines, "END:VCARD", ""]).encode()


def put(alice: Instance, href: str, raw: bytes) -> None:
    alice.pim.put(alice.pim.collection("contacts"), href, raw, match=None)


def served(alice: Instance, href: str) -> str:
    rows = alice.pim.rows(alice.pim.collection("contacts"), hrefs=[href])
    return alice.pim.texts(rows)[href].decode()


def etag(alice: Instance, href: str) -> str:
    tag: str = alice.pim.rows(alice.pim.collection("contacts"), hrefs=[href])[0].value["etag"]
    return tag


def lines(alice: Instance, href: str, name: str) -> list[str]:
    return [line.partition(":")[2] for line in served(alice, href).splitlines() if line.startswith(name)]


def contact(alice: Instance, href: str) -> Mapping[str, Any]:
    row = alice.pim.rows(alice.pim.collection("contacts"), hrefs=[href])[0]
    return alice.docs.get(row.ref).doc


def groups(alice: Instance) -> dict[str, str]:
    """Name -> id."""
    return {one.doc["name"]: one.ref.id for one in alice.docs.all(GROUPS).rows}


def change(alice: Instance, ref: Ref, **fields: Any) -> None:
    doc = dict(alice.docs.get(ref).doc)
    alice.docs.put(ref.doctype, doc | fields)


def in_groups(*ids: str) -> dict[str, Any]:
    return {"relationships": {"groups": {"data": [{"_id": id, "_type": GROUPS} for id in ids]}}}


def test_a_group_that_a_phone_names_is_made_and_its_bytes_stay(alice: Instance):
    raw = card("ada", "CATEGORIES:Friends,Cafe\u0301", "CATEGORIES:a\\,b")
    put(alice, "ada.vcf", raw)
    assert served(alice, "ada.vcf").encode() == raw
    assert sorted(groups(alice)) == ["Café", "Friends", "a,b"]
    assert set(ids_of(contact(alice, "ada.vcf"))) == set(groups(alice).values())
    put(alice, "bob.vcf", card("bob", "CATEGORIES:Caf\u00e9"))
    assert ids_of(contact(alice, "bob.vcf")) == [groups(alice)["Café"]]
    assert len(groups(alice)) == 3


def test_a_name_that_a_phone_takes_out_is_left_and_other_groups_stay(alice: Instance):
    put(alice, "ada.vcf", card("ada", "CATEGORIES:Friends,Work"))
    put(alice, "ada.vcf", card("ada", "CATEGORIES:Work"))
    assert ids_of(contact(alice, "ada.vcf")) == [groups(alice)["Work"]]
    put(alice, "ada.vcf", card("ada"))
    assert ids_of(contact(alice, "ada.vcf")) == []
    assert sorted(groups(alice)) == ["Friends", "Work"]


def test_a_group_of_an_app_is_a_category_and_an_edit_changes_only_that(alice: Instance):
    raw = card("ada", "X-ODD;P=1:stays", "CATEGORIES:Old,Kept", "NOTE:n")
    put(alice, "ada.vcf", raw)
    before = etag(alice, "ada.vcf")
    family = alice.docs.put(GROUPS, {"name": "My; Family"}).ref
    ada = Ref(CONTACTS, contact(alice, "ada.vcf")["_id"])
    change(alice, ada, **in_groups(groups(alice)["Kept"], family.id))
    kept = [line for line in raw.decode().splitlines() if not line.startswith(("CATEGORIES", "END"))]
    assert [line for line in served(alice, "ada.vcf").splitlines() if line in kept] == kept
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["Kept,My\\; Family"]
    assert etag(alice, "ada.vcf") != before


def test_a_contact_made_by_an_app_has_its_groups_from_the_start(alice: Instance):
    family = alice.docs.put(GROUPS, {"name": "Family"}).ref
    made = alice.docs.put(CONTACTS, {"name": {"givenName": "Eve"}, **in_groups(family.id)})
    assert lines(alice, f"{made.ref.id}.vcf", "CATEGORIES") == ["Family"]
    assert made.rev.startswith("1-")  # the app's own revision is the current one
    assert alice.docs.get(made.ref).rev == made.rev


def test_a_renamed_group_is_renamed_in_its_members_cards_in_the_same_commit(alice: Instance):
    for name in ("ada", "bob"):
        put(alice, f"{name}.vcf", card(name, "CATEGORIES:Friends"))
    put(alice, "eve.vcf", card("eve", "CATEGORIES:Others"))
    book, before = alice.pim.collection("contacts"), etag(alice, "ada.vcf")
    group = Ref(GROUPS, groups(alice)["Friends"])
    change(alice, group, name="Best friends")
    changed = alice.pim.rows(book, since=book.token)
    assert sorted(row.key[1] for row in changed) == ["ada.vcf", "bob.vcf"]
    assert etag(alice, "ada.vcf") != before
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["Best friends"]
    put(alice, "ada.vcf", served(alice, "ada.vcf").encode())
    assert sorted(groups(alice)) == ["Best friends", "Others"]


def test_a_group_that_is_trashed_or_deleted_is_no_category_any_more_and_can_come_back(alice: Instance):
    put(alice, "ada.vcf", card("ada", "CATEGORIES:Friends,Work"))
    friends, work = (Ref(GROUPS, groups(alice)[name]) for name in ("Friends", "Work"))
    change(alice, friends, trashed=True)
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["Work"]
    put(alice, "ada.vcf", card("ada", "CATEGORIES:Work", "NOTE:edited by a phone meanwhile"))
    assert friends.id in ids_of(contact(alice, "ada.vcf"))
    change(alice, friends, trashed=False)
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["Work,Friends"]
    alice.docs.delete(work, alice.docs.get(work).rev)
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["Friends"]


def test_a_group_that_comes_after_its_members_is_named_then(alice: Instance):
    made = alice.docs.put(CONTACTS, {"name": {"givenName": "Eve"}, **in_groups("later")})
    assert lines(alice, f"{made.ref.id}.vcf", "CATEGORIES") == []
    alice.docs.put(GROUPS, {"_id": "later", "name": "Late"})
    assert lines(alice, f"{made.ref.id}.vcf", "CATEGORIES") == ["Late"]


def test_a_group_that_was_left_is_named_right_when_it_is_joined_again(alice: Instance):
    group = alice.docs.put(GROUPS, {"name": "One"}).ref
    eve = alice.docs.put(CONTACTS, {"name": {"givenName": "Eve"}, **in_groups(group.id)}).ref
    change(alice, eve, **in_groups())
    change(alice, group, name="Two")
    change(alice, eve, **in_groups(group.id))
    assert lines(alice, f"{eve.id}.vcf", "CATEGORIES") == ["Two"]


def test_what_a_replica_brings_is_named_too(alice: Instance):
    group = alice.docs.put(GROUPS, {"name": "Family"}).ref
    alice.docs.graft(CONTACTS, [{"_id": "r", "_rev": "1-abc", "name": {"givenName": "R"}, **in_groups(group.id)}])
    assert lines(alice, "r.vcf", "CATEGORIES") == ["Family"]
    assert alice.docs.get(Ref(CONTACTS, "r")).rev == "1-abc"  # the replica has the current revision


def test_two_groups_renamed_and_a_member_changed_in_one_commit(alice: Instance):
    put(alice, "ada.vcf", card("ada", "CATEGORIES:A,B"))
    stored = [alice.docs.get(Ref(GROUPS, groups(alice)[name])) for name in ("A", "B")]
    ada = alice.docs.get(Ref(CONTACTS, contact(alice, "ada.vcf")["_id"]))
    writes = [Write(one.ref, patch={"name": one.doc["name"] * 2}, rev=one.rev) for one in stored]
    alice.docs.commit([*writes, Write(ada.ref, patch={"note": "x"}, rev=ada.rev)])
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["AA,BB"]
    assert lines(alice, "ada.vcf", "NOTE") == ["x"]


def test_reading_writes_nothing(alice: Instance):
    put(alice, "ada.vcf", card("ada", "CATEGORIES:A"))
    seqs = [alice.docs.info(doctype).seq for doctype in (CONTACTS, GROUPS)]
    served(alice, "ada.vcf")
    assert [alice.docs.info(doctype).seq for doctype in (CONTACTS, GROUPS)] == seqs


@pytest.mark.parametrize("apple", [True, False])
def test_a_card_of_a_group_is_a_group_and_its_members_are_in_it(alice: Instance, apple: bool):
    for name in ("ada", "bob", "eve"):
        put(alice, f"{name}.vcf", card(name))
    raw = group_card("g", "Family", "ada", "bob", apple=apple)
    put(alice, "g.vcf", raw)
    assert served(alice, "g.vcf").encode() == raw
    id = groups(alice)["Family"]
    assert [name for name in ("ada", "bob", "eve") if id in ids_of(contact(alice, f"{name}.vcf"))] == ["ada", "bob"]
    put(alice, "g.vcf", group_card("g", "Family", "bob", "eve", apple=apple))
    assert [name for name in ("ada", "bob", "eve") if id in ids_of(contact(alice, f"{name}.vcf"))] == ["bob", "eve"]
    assert len(groups(alice)) == 1


@pytest.mark.parametrize("apple", [True, False])
def test_what_is_done_to_a_groups_card_is_seen_in_the_words_of_its_members_and_back(alice: Instance, apple: bool):
    member = "X-ADDRESSBOOKSERVER-MEMBER" if apple else "MEMBER"
    for name in ("ada", "bob", "eve"):
        put(alice, f"{name}.vcf", card(name))
    put(alice, "g.vcf", group_card("g", "Family", "ada", "bob", apple=apple))
    assert [lines(alice, f"{name}.vcf", "CATEGORIES") for name in ("ada", "bob", "eve")] == [["Family"], ["Family"], []]
    put(alice, "eve.vcf", card("eve", "CATEGORIES:Family"))
    assert lines(alice, "g.vcf", member) == ["urn:uuid:ada", "urn:uuid:bob", "urn:uuid:eve"]
    put(alice, "ada.vcf", card("ada", "CATEGORIES:Work"))
    assert lines(alice, "g.vcf", member) == ["urn:uuid:bob", "urn:uuid:eve"]
    put(alice, "g.vcf", group_card("g", "Kin", "bob", apple=apple))
    assert [lines(alice, f"{name}.vcf", "CATEGORIES") for name in ("ada", "bob", "eve")] == [["Work"], ["Kin"], []]
    change(alice, Ref(GROUPS, groups(alice)["Kin"]), name="Clan")
    assert lines(alice, "bob.vcf", "CATEGORIES") == lines(alice, "g.vcf", "FN") == ["Clan"]
    alice.pim.delete(alice.pim.collection("contacts"), "g.vcf", match=None)
    assert lines(alice, "bob.vcf", "CATEGORIES") == []


def test_an_app_changes_the_members_and_the_name_in_a_groups_card(alice: Instance):
    for name in ("ada", "bob"):
        put(alice, f"{name}.vcf", card(name))
    raw = group_card("g", "Family", "ada").replace(b"END:", b"X-ODD:stays\r\nEND:")
    put(alice, "g.vcf", raw)
    group, before = Ref(GROUPS, groups(alice)["Family"]), etag(alice, "g.vcf")
    change(alice, Ref(CONTACTS, contact(alice, "bob.vcf")["_id"]), **in_groups(group.id))
    assert lines(alice, "g.vcf", "X-ADDRESSBOOKSERVER-MEMBER") == ["urn:uuid:ada", "urn:uuid:bob"]
    assert etag(alice, "g.vcf") != before
    change(alice, group, name="Kin")
    assert (lines(alice, "g.vcf", "FN"), lines(alice, "g.vcf", "N:")) == (["Kin"], ["Kin;;;;"])
    assert lines(alice, "g.vcf", "X-ODD") == ["stays"]
    book = alice.pim.collection("contacts")
    alice.pim.delete(book, "ada.vcf", match=None)
    assert lines(alice, "g.vcf", "X-ADDRESSBOOKSERVER-MEMBER") == ["urn:uuid:bob"]


def test_a_member_that_comes_after_the_groups_card_is_in_it(alice: Instance):
    raw = group_card("g", "Family", "ada", "never")
    put(alice, "g.vcf", raw)
    put(alice, "ada.vcf", card("ada"))
    assert ids_of(contact(alice, "ada.vcf")) == [groups(alice)["Family"]]
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["Family"]
    assert served(alice, "g.vcf").encode() == raw


def test_a_groups_card_that_is_removed_leaves_its_members(alice: Instance):
    put(alice, "ada.vcf", card("ada"))
    put(alice, "g.vcf", group_card("g", "Family", "ada"))
    alice.pim.delete(alice.pim.collection("contacts"), "g.vcf", match=None)
    assert groups(alice) == {}
    assert ids_of(contact(alice, "ada.vcf")) == []


def test_a_phone_that_knows_no_categories_takes_nobody_out_of_a_groups_card(alice: Instance):
    put(alice, "ada.vcf", card("ada"))
    put(alice, "g.vcf", group_card("g", "Family", "ada"))
    put(alice, "ada.vcf", card("ada", "NOTE:edited"))
    assert ids_of(contact(alice, "ada.vcf")) == [groups(alice)["Family"]]
    assert (lines(alice, "ada.vcf", "CATEGORIES"), lines(alice, "ada.vcf", "NOTE")) == (["Family"], ["edited"])
    put(alice, "ada.vcf", card("ada", "CATEGORIES:Family"))  # the same name as a word: no second group
    assert list(groups(alice)) == ["Family"]
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["Family"]


def test_a_phone_takes_nobody_out_of_a_group_it_was_never_told_of(alice: Instance):
    """Documents of another store have no private data: of those that moved in by a store of its own nobody has named the groups."""
    group = alice.docs.put(GROUPS, {"name": "Family"}).ref
    made = alice.docs.put(CONTACTS, {"name": {"givenName": "Eve"}, **in_groups(group.id)})
    alice.docs.commit([Write(made.ref, patch={}, rev=made.rev, private={"groups": {group.id: None}})])
    put(alice, f"{made.ref.id}.vcf", served(alice, f"{made.ref.id}.vcf").replace("Eve", "Eva").encode())
    assert ids_of(contact(alice, f"{made.ref.id}.vcf")) == [group.id]
    assert lines(alice, f"{made.ref.id}.vcf", "CATEGORIES") == ["Family"]
    put(alice, f"{made.ref.id}.vcf", card(made.ref.id))
    assert ids_of(contact(alice, f"{made.ref.id}.vcf")) == []


def test_contacts_of_a_store_that_was_opened_in_place_name_their_groups_once_they_were_looked_after(tmp_path: Path):
    stack = open_stack(tmp_path / "other", Clock())
    alice = stack.create("alice.example.org", passphrase=None)
    store = stack.documents.open(alice.prefix)
    family = alice.docs.put(GROUPS, {"name": "Family"}).ref
    store.graft(CONTACTS, [{"_id": f"c{number}", "_rev": "1-a", "name": {"givenName": "x"}, **in_groups(family.id)} for number in range(3)])
    assert lines(alice, "c1.vcf", "CATEGORIES") == []
    alice.pim.name_groups()
    assert [lines(alice, f"c{number}.vcf", "CATEGORIES") for number in range(3)] == [["Family"]] * 3
    seq = alice.docs.info(CONTACTS).seq
    alice.pim.name_groups()
    assert alice.docs.info(CONTACTS).seq == seq
    stack.close()


def test_groups_of_apps_are_no_cards(alice: Instance):
    alice.docs.put(GROUPS, {"name": "Family"})
    assert not [row for row in alice.pim.rows(alice.pim.collection("contacts")) if row.ref.doctype == GROUPS]


def test_a_book_that_has_its_groups_as_cards_has_those_of_apps_too(alice: Instance):
    put(alice, "ada.vcf", card("ada", "CATEGORIES:Friends"))
    friends = groups(alice)["Friends"]
    made = alice.pim.collection("contacts").token
    alice.docs.put(BOOKS, {"_id": "contacts", "groups": "cards"})
    assert lines(alice, f"{friends}.vcf", "X-ADDRESSBOOKSERVER-") == ["group", "urn:uuid:ada"]
    assert lines(alice, f"{friends}.vcf", "FN") == ["Friends"]
    assert lines(alice, "ada.vcf", "CATEGORIES") == []
    changed = alice.pim.rows(alice.pim.collection("contacts"), since=made)
    assert sorted(row.key[1] for row in changed) == sorted(["ada.vcf", f"{friends}.vcf"])
    later = alice.docs.put(GROUPS, {"name": "Later"}).ref
    change(alice, Ref(CONTACTS, contact(alice, "ada.vcf")["_id"]), **in_groups(friends, later.id))
    assert lines(alice, f"{later.id}.vcf", "X-ADDRESSBOOKSERVER-MEMBER") == ["urn:uuid:ada"]
    put(alice, "ada.vcf", card("ada", "CATEGORIES:A word"))
    assert contact(alice, "ada.vcf")["metadata"]["card"]["categories"] == ["A word"]
    assert sorted(groups(alice)) == ["Friends", "Later"]
    assert ids_of(contact(alice, "ada.vcf")) == [friends, later.id]
    put(alice, f"{friends}.vcf", served(alice, f"{friends}.vcf").replace("Friends", "Mates").encode())
    assert alice.docs.get(Ref(GROUPS, friends)).doc["name"] == "Mates"


def test_a_groups_card_in_a_book_that_has_groups_as_cards_is_no_word(alice: Instance):
    put(alice, "ada.vcf", card("ada"))
    put(alice, "old.vcf", group_card("old", "Old", "ada"))
    alice.docs.put(BOOKS, {"_id": "contacts", "groups": "cards"})
    put(alice, "new.vcf", group_card("new", "New", "ada"))
    assert lines(alice, "ada.vcf", "CATEGORIES") == []
    raw = card("ada", "CATEGORIES:Old")
    put(alice, "ada.vcf", raw)
    assert served(alice, "ada.vcf").encode() == raw
    assert set(ids_of(contact(alice, "ada.vcf"))) == set(groups(alice).values())
    change(alice, Ref(BOOKS, "contacts"), groups="categories")
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["Old,New"]
    assert lines(alice, "old.vcf", "X-ADDRESSBOOKSERVER-MEMBER") == ["urn:uuid:ada"]


def test_a_book_that_has_them_as_cards_no_more_names_them_in_cards_again(alice: Instance):
    alice.docs.put(BOOKS, {"_id": "contacts", "groups": "cards"})
    family = alice.docs.put(GROUPS, {"name": "Family"}).ref
    put(alice, "ada.vcf", card("ada"))
    change(alice, Ref(CONTACTS, contact(alice, "ada.vcf")["_id"]), **in_groups(family.id))
    assert lines(alice, "ada.vcf", "CATEGORIES") == []
    change(alice, Ref(BOOKS, "contacts"), groups="categories")
    assert lines(alice, "ada.vcf", "CATEGORIES") == ["Family"]
    assert not [row for row in alice.pim.rows(alice.pim.collection("contacts")) if row.ref.doctype == GROUPS]
