"""Contacts through the room: what only JSON says outlives a phone, and what each form of a property means."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Ref
from cozyd.errors import QuotaExceeded
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.stack import Clock, open_stack

CONTACTS = "io.cozy.contacts"
GIF = "R0lGODlh" + "AAAA" * 40


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = open_stack(Path(tmp_path_factory.mktemp("contacts")) / "data", Clock())
    yield stack
    stack.close()


@pytest.fixture(scope="module")
def alice(stack: Stack) -> Instance:
    return stack.create("alice.example.org", passphrase=None)


def card(uid: str, *lines: str, version: str = "3.0") -> bytes:
    return "\r\n".join(["BEGIN:VCARD", f"VERSION:{version}", f"UID:{uid}", f"FN:{uid}", f"N:{uid};;;;", *lines, "END:VCARD", ""]).encode()


def put(alice: Instance, uid: str, *lines: str, version: str = "3.0") -> Ref:
    raw = card(uid, *lines, version=version)
    row = alice.pim.put(alice.pim.collection("contacts"), f"{uid}.vcf", raw, match=None)
    assert served(alice, uid) == raw.decode()
    return row.ref


def served(alice: Instance, uid: str) -> str:
    rows = alice.pim.rows(alice.pim.collection("contacts"), hrefs=[f"{uid}.vcf"])
    return alice.pim.texts(rows)[f"{uid}.vcf"].decode()


def lines(alice: Instance, uid: str, *names: str) -> list[str]:
    return [line for line in served(alice, uid).split("\r\n") if line.partition(":")[0].partition(";")[0] in names]


def doc(alice: Instance, ref: Ref) -> dict[str, Any]:
    return dict(alice.docs.get(ref).doc)


def change(alice: Instance, ref: Ref, **fields: Any) -> None:
    alice.docs.put(CONTACTS, doc(alice, ref) | fields)


# -- names --------------------------------------------------------------------------------------------------------------


def test_the_name_as_shown_is_the_app_s_own_only_where_it_is_not_made_of_the_parts(alice: Instance):
    ref = put(alice, "house", "NOTE:1")
    change(alice, ref, fullname="House, Gregory")
    assert lines(alice, "house", "FN") == ["FN:House\\, Gregory"]
    change(alice, ref, fullname="house")  # as the contacts' service writes it
    assert lines(alice, "house", "FN") == ["FN:house"]
    change(alice, ref, name={"givenName": "Greg", "familyName": "House"})  # the service has not run yet
    assert lines(alice, "house", "FN", "N") == ["FN:Greg House", "N:House;Greg;;;"]


# -- addresses ----------------------------------------------------------------------------------------------------------


def test_the_pieces_of_an_address_outlive_a_phone_that_changes_another_one(alice: Instance):
    ref = put(alice, "moving", "ADR;TYPE=HOME:;;1 Rue;Paris;;75000;France", "ADR;TYPE=WORK:;;2 Rue;Lyon;;69000;France")
    home, work = doc(alice, ref)["address"]
    pieces = {"number": "1", "street": "Rue", "id": "a1", "geo": {"geo": [2.3, 48.8]}}
    change(alice, ref, address=[home | pieces, work])
    put(alice, "moving", "ADR;TYPE=HOME:;;1 Rue;Paris;;75000;France", "ADR;TYPE=WORK:;;3 Quai;Lyon;;69000;France")
    home, work = doc(alice, ref)["address"]
    assert {key: home[key] for key in pieces} == pieces
    assert work["street"] == "3 Quai"
    put(alice, "moving", "ADR;TYPE=HOME:;;9 Rue;Paris;;75000;France")
    assert not doc(alice, ref)["address"][0].keys() & {"number", "id", "geo"}  # it is another place now


@pytest.mark.parametrize(
    ("version", "before", "after"),
    [
        (
            "3.0",
            ["ADR;TYPE=HOME:;;1 Rue;Paris;;;", "LABEL;TYPE=HOME:Ada\\n1 Rue"],
            ["ADR;TYPE=HOME:;;1 Rue;Paris;;;", "LABEL;TYPE=HOME:Bob"],
        ),
        ("4.0", ["ADR;TYPE=home;LABEL=Ada^n1 Rue:;;1 Rue;Paris;;;"], ["ADR;TYPE=home;LABEL=Bob:;;1 Rue;Paris;;;"]),
    ],
)
def test_how_an_address_is_printed_goes_both_ways(alice: Instance, version: str, before: list[str], after: list[str]):
    uid = f"printed{version}"
    ref = put(alice, uid, *before, version=version)
    address = doc(alice, ref)["address"]
    assert address[0]["formattedAddress"] == "Ada\n1 Rue"
    change(alice, ref, address=[address[0] | {"formattedAddress": "Bob"}])
    assert lines(alice, uid, "ADR", "LABEL") == after
    put(alice, uid, *after, version=version)
    change(alice, ref, address=[doc(alice, ref)["address"][0] | {"formattedAddress": "1 Rue, Paris"}])
    assert not [line for line in lines(alice, uid, "ADR", "LABEL") if "LABEL" in line]  # that is what the parts say


def test_an_address_of_an_app_brings_its_label_into_the_card(alice: Instance):
    home = {"street": "Rue", "city": "Paris", "label": "home", "formattedAddress": "By the river", "primary": True}
    made = alice.docs.put(CONTACTS, {"name": {"givenName": "Eve"}, "address": [home]}).ref
    assert lines(alice, made.id, "ADR", "LABEL") == ["ADR;TYPE=HOME:;;Rue;Paris;;;", "LABEL;TYPE=HOME:By the river"]


# -- chats, Cozys, origins ----------------------------------------------------------------------------------------------


def test_chats_of_old_cards_are_chats(alice: Instance):
    ref = put(alice, "chatty", "X-JABBER;TYPE=HOME:ada@jabber.org", "IMPP;X-SERVICE-TYPE=Matrix:matrix:@ada:x.org", "X-SKYPE:ada.l")
    jabber, matrix, skype = doc(alice, ref)["impp"]
    assert [(one["protocol"], one["uri"]) for one in (jabber, matrix, skype)] == [
        ("jabber", "ada@jabber.org"),
        ("matrix", "matrix:@ada:x.org"),
        ("skype", "ada.l"),
    ]
    change(alice, ref, impp=[jabber | {"uri": "a@new.org"}, skype | {"protocol": "xmpp"}])
    assert lines(alice, "chatty", "X-JABBER", "X-SKYPE", "IMPP") == ["X-JABBER;TYPE=HOME:a@new.org", "IMPP:xmpp:ada.l"]


def test_a_cozy_that_a_phone_sends_without_its_label_is_still_one(alice: Instance):
    cozy = [{"url": "https://ada.cozy.example", "primary": True}]
    made = alice.docs.put(CONTACTS, {"name": {"givenName": "Ada"}, "cozy": cozy}).ref
    assert "Cozy" in served(alice, made.id)
    put(alice, made.id, "URL:https://ada.cozy.example/", "URL:https://ada.example")
    found = doc(alice, made)
    assert [one["url"] for one in found["cozy"]] == ["https://ada.cozy.example/"]
    assert [one["url"] for one in found["metadata"]["card"]["urls"]] == ["https://ada.example"]
    change(alice, made, cozy=[found["cozy"][0] | {"url": "https://new.cozy.example"}])
    assert sorted(line.rpartition("URL:")[2] for line in served(alice, made.id).split("\r\n") if "URL:" in line) == [
        "https://ada.example",
        "https://new.cozy.example",
    ]
    assert "X-ABLabel:Cozy" in served(alice, made.id)


@pytest.mark.parametrize(("version", "name"), [("3.0", "X-BIRTHPLACE"), ("4.0", "BIRTHPLACE")])
def test_where_somebody_was_born(alice: Instance, version: str, name: str):
    uid = f"born{version}"
    ref = put(alice, uid, f"{name};X-A=1:Lyon", version=version)
    assert doc(alice, ref)["birthplace"] == "Lyon"
    change(alice, ref, birthplace="Paris")
    assert lines(alice, uid, name) == [f"{name};X-A=1:Paris"]
    change(alice, ref, birthplace="")
    assert lines(alice, uid, name) == []
    change(alice, ref, birthplace="Lille")
    assert lines(alice, uid, name) == [f"{name};X-A=1:Lille"]


# -- people -------------------------------------------------------------------------------------------------------------


def people(alice: Instance, ref: Ref) -> dict[str, list[str]]:
    data = doc(alice, ref).get("relationships", {}).get("related", {}).get("data", [])
    return {one["_id"]: one["metadata"]["relationTypes"] for one in data}


def test_people_of_a_card_are_related_and_back(alice: Instance):
    ada, bob, eve = (put(alice, f"{name}-r", version="4.0") for name in ("ada", "bob", "eve"))
    nobody = "RELATED;TYPE=friend:urn:uuid:nobody-here"
    put(alice, "ada-r", "RELATED;TYPE=co-worker,x-odd;PREF=1:urn:uuid:bob-r", nobody, "RELATED;VALUE=text:Aunt", version="4.0")
    assert people(alice, ada) == {bob.id: ["coWorker", "related"]}
    more = [{"_id": eve.id, "_type": CONTACTS, "metadata": {"relationTypes": ["child", "helper"]}}]
    data = doc(alice, ada)["relationships"]["related"]["data"]
    change(alice, ada, relationships={"related": {"data": data + more}})
    assert lines(alice, "ada-r", "RELATED") == [
        "RELATED;TYPE=co-worker,x-odd;PREF=1:urn:uuid:bob-r",
        nobody,
        "RELATED;VALUE=text:Aunt",
        "RELATED;TYPE=child:urn:uuid:eve-r",
    ]
    put(alice, "ada-r", *lines(alice, "ada-r", "RELATED"), "NOTE:edited", version="4.0")
    assert people(alice, ada) == {bob.id: ["coWorker", "related"], eve.id: ["child", "helper"]}
    change(alice, ada, relationships={"related": {"data": more}})
    assert lines(alice, "ada-r", "RELATED") == [nobody, "RELATED;VALUE=text:Aunt", "RELATED;TYPE=child:urn:uuid:eve-r"]
    put(alice, "ada-r", "RELATED;TYPE=spouse:urn:uuid:eve-r", version="4.0")
    assert people(alice, ada) == {eve.id: ["spouse"]}
    put(alice, "ada-r", version="4.0")
    assert people(alice, ada) == {}


def test_people_stay_where_a_card_cannot_name_them(alice: Instance):
    ada, bob = put(alice, "ada-3"), put(alice, "bob-3")
    related = {"related": {"data": [{"_id": bob.id, "_type": CONTACTS, "metadata": {"relationTypes": ["friend"]}}]}}
    change(alice, ada, relationships=related)
    assert lines(alice, "ada-3", "RELATED") == []
    put(alice, "ada-3", "NOTE:edited")
    assert people(alice, ada) == {bob.id: ["friend"]}


# -- photos -------------------------------------------------------------------------------------------------------------


def test_photos_count_in_the_quota_and_what_does_not_fit_is_refused(stack: Stack):
    bob = stack.create("bob.example.org", passphrase=None, quota=300)
    ref = put(bob, "pictured", f"PHOTO;ENCODING=b;TYPE=GIF:{GIF}")
    size = bob.files.usage()[0]
    assert size == doc(bob, ref)["metadata"]["card"]["photo"]["size"] > 100
    change(bob, ref, metadata={"version": 1, "card": {"photo": {"size": 10**9}}})  # an app cannot count for others
    assert bob.files.usage()[0] == size
    other = put(bob, "unpictured")
    for uid, count in (("pictured", 4), ("unpictured", 2)):
        with pytest.raises(QuotaExceeded):
            put(bob, uid, f"PHOTO;ENCODING=b;TYPE=GIF:{GIF * count}")
    with pytest.raises(QuotaExceeded):
        bob.pim.photos.put(other.id, b"GIF89a" + bytes(300))
    assert "PHOTO" not in served(bob, "unpictured")
    for fits in (ref, other):
        bob.pim.photos.put(fits.id, b"GIF89a")
    assert bob.files.usage()[0] == 12
    bob.pim.delete(bob.pim.collection("contacts"), "pictured.vcf", match=None)
    bob.pim.photos.remove(other.id)
    assert bob.files.usage()[0] == 0
