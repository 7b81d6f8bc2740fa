"""Cards and contacts: the mapping, and edits that touch only their own lines."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cozyd import jsons
from cozyd.documents.store import Ref, Stored
from cozyd.pim import record, resource, vcard
from cozyd.pim.fields import tidy


def card(*lines: str) -> bytes:
    return "\r\n".join(("BEGIN:VCARD", "VERSION:3.0", "UID:u", *lines, "END:VCARD", "")).encode()


def doc_of(raw: bytes) -> dict[str, Any]:
    return vcard.apply(vcard.parse(raw), {})


def edited(raw: bytes, **changes) -> list[str]:
    """The text after an app has changed these top-level fields."""
    doc = doc_of(raw)
    private = record.new_record("VCARD", "x.vcf", "u", raw, vcard.read(vcard.parse(raw)), "")
    for key, value in changes.items():
        doc[key] = value
    stored = Stored(Ref("io.cozy.contacts", "id"), "2-a", jsons.dump(doc), private=jsons.dump({"dav": private}))
    return resource.text(stored).decode().split("\r\n")


def test_a_card_gives_the_official_fields():
    raw = card(
        "N:Lovelace;Ada;King,Noel;Dr.;PhD",
        "FN:Countess Ada",
        "ORG:Engines\\, Ltd;Research;Maths",
        "TITLE:Analyst",
        "NICKNAME:Enchantress",
        "EMAIL;TYPE=WORK:w@x.org",
        "EMAIL;TYPE=HOME,pref:h@x.org",
        "TEL;TYPE=FAX,WORK:123",
        "ADR;TYPE=HOME:;Apt 1;12 St James;London;;SW1;UK",
        "URL:https://ada.example",
        "item1.URL:https://ada.cozy.example",
        "item1.X-ABLabel:Cozy",
        "BDAY:18151210",
        "NOTE:One\\nTwo",
        "CATEGORIES:a\\,b,c",
        "X-GENDER:F",
    )
    doc = doc_of(raw)
    assert doc["name"] == {
        "familyName": "Lovelace",
        "givenName": "Ada",
        "additionalName": "King Noel",
        "namePrefix": "Dr.",
        "nameSuffix": "PhD",
    }
    assert doc["fullname"] == doc["displayName"] == "Dr. Ada King Noel Lovelace PhD"
    assert doc["email"] == [
        {"address": "h@x.org", "label": "home", "primary": True},
        {"address": "w@x.org", "label": "work", "primary": False},
    ]
    assert doc["phone"] == [{"number": "123", "type": "fax", "label": "work", "primary": True}]
    assert doc["address"][0]["city"] == "London"
    assert doc["address"][0]["extendedAddress"] == {"apartment": "Apt 1"}
    assert doc["cozy"] == [{"url": "https://ada.cozy.example", "type": "Cozy", "label": "home", "primary": True}]
    assert (doc["company"], doc["jobTitle"], doc["birthday"], doc["note"], doc["gender"]) == (
        "Engines, Ltd",
        "Analyst",
        "1815-12-10",
        "One\nTwo",
        "female",
    )
    extra = doc["metadata"]["card"]
    assert (extra["nickname"], extra["orgUnits"]) == ("Enchantress", ["Research", "Maths"])
    assert vcard.categories(vcard.parse(raw)) == ["a,b", "c"]
    assert extra["urls"][0]["url"] == "https://ada.example"
    assert doc["indexes"] == {"byFamilyNameGivenNameEmailCozyUrl": "lovelaceadah@x.orgada.cozy.example"}


@pytest.mark.parametrize(
    ("line", "birthday", "partial"),
    [
        ("BDAY:1985-04-15", "1985-04-15", None),
        ("BDAY:19850415T000000Z", "1985-04-15", None),
        ("BDAY:--0415", None, "--04-15"),
        ("BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-15", None, "--04-15"),
        ("BDAY:1985", None, "1985"),
    ],
)
def test_partial_birthdays_are_kept_apart(line: str, birthday: str | None, partial: str | None):
    doc = doc_of(card("FN:x", "N:x;;;;", line))
    assert doc.get("birthday") == birthday
    assert (doc.get("metadata", {}).get("card") or {}).get("birthday") == partial


def test_a_card_without_a_name_keeps_what_is_shown():
    raw = card("FN:House, Gregory", "N:;;;;")
    assert doc_of(raw)["name"] == {"givenName": "House, Gregory"}
    assert edited(raw, note="x").count("N:;;;;") == 1


def test_one_of_two_equal_phones_is_deleted():
    raw = card("FN:x", "N:x;;;;", "TEL;TYPE=CELL;X-A=1:555", "TEL;TYPE=HOME;X-A=2:555")
    left = edited(raw, phone=[doc_of(raw)["phone"][0]])
    assert [line for line in left if line.startswith("TEL")] == ["TEL;TYPE=CELL;X-A=1:555"]


def test_the_preferred_mark_moves_and_lines_stay_in_place():
    raw = card("FN:x", "N:x;;;;", "EMAIL;TYPE=HOME,PREF:a@x", "EMAIL;TYPE=WORK:b@x")
    mails = doc_of(raw)["email"]
    mails = [{**mails[1], "primary": True}, {**mails[0], "primary": False}]
    assert [line for line in edited(raw, email=mails) if line.startswith("EMAIL")] == ["EMAIL;TYPE=HOME:a@x", "EMAIL;TYPE=WORK,PREF:b@x"]


def test_a_custom_label_is_set_and_cleared():
    raw = card("FN:x", "N:x;;;;", "EMAIL:a@x")
    mail = doc_of(raw)["email"][0]
    named = edited(raw, email=[{**mail, "type": "Sailing"}])
    assert "item1.EMAIL:a@x" in named
    assert "item1.X-ABLabel:Sailing" in named
    cleared = edited("\r\n".join(named).encode(), email=[mail])
    assert not [line for line in cleared if "X-ABLabel" in line]


def test_an_address_keeps_its_split_while_it_is_equal():
    raw = card("FN:x", "N:x;;;;", "ADR;TYPE=HOME;X-ODD=1:;;12 St James;London;;SW1;UK")
    address = doc_of(raw)["address"][0]
    moved = edited(raw, address=[{**address, "city": "Bath"}])
    assert "ADR;TYPE=HOME;X-ODD=1:;;12 St James;Bath;;SW1;UK" in moved


def test_an_app_s_contact_becomes_a_card_and_reads_back():
    doc = {
        "name": {"givenName": "Zoé", "familyName": "Été; Cie"},
        "email": [{"address": "z@x", "type": "Perso", "primary": True}],
        "note": "a\nb",
    }
    raw = vcard.create(doc, "id1")
    assert all(len(line) <= 75 for line in raw.split(b"\r\n"))
    read = vcard.read(vcard.parse(raw))
    assert read["name"] == doc["name"]
    assert read["note"] == "a\nb"
    assert read["email"] == [{"address": "z@x", "type": "Perso", "label": "home", "primary": True}]


WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30).map(str.strip).filter(bool)
LINES = st.sampled_from(
    ['X-ODD;P="a:b":v,w', "item7.X-ABADR:us", "PHOTO;VALUE=uri:http://x/y,z", "TEL;TYPE=CELL:+1 2,3", "SOUND:x", "LANG:fr"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=5), WORDS, WORDS, st.sampled_from(["note", "jobTitle", "company"]))
def test_an_edit_changes_its_own_line_only(lines: list[str], before: str, after: str, field: str):
    raw = card("FN:x", "N:x;;;;", *lines, *vcard_line(field, before))
    found = edited(raw, **{field: after})
    assert vcard.read(vcard.parse("\r\n".join(found).encode()))[field] == after
    untouched = [line for line in raw.decode().split("\r\n") if not line.startswith(("NOTE", "TITLE", "ORG", " "))]
    assert [line for line in found if line in untouched] == untouched
    assert edited(raw) == raw.decode().split("\r\n")


def vcard_line(field: str, text: str) -> list[str]:
    from cozyd.pim.content import escape, make

    name = {"note": "NOTE", "jobTitle": "TITLE", "company": "ORG"}[field]
    return [make(name, escape(text)).raw.decode().removesuffix("\r\n")]


PEOPLE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "name": st.fixed_dictionaries({"givenName": WORDS, "familyName": WORDS}),
        "email": st.lists(
            st.fixed_dictionaries(
                {"address": WORDS.map(lambda word: word.replace(" ", "") + "@x"), "label": st.sampled_from(["home", "work"])}
            ),
            max_size=3,
            unique_by=lambda one: one["address"].lower(),
        ),
        "note": WORDS,
    }
)


@settings(max_examples=60, deadline=None)
@given(PEOPLE)
def test_what_an_app_writes_comes_back(person: dict[str, Any]):
    if person["email"]:
        person["email"][0]["primary"] = True
        for other in person["email"][1:]:
            other["primary"] = False
    read = vcard.read(vcard.parse(vcard.create(person, "id")))
    assert read["name"] == person["name"]
    assert read["note"] == person["note"]
    assert tidy(read["email"]) == tidy(person["email"])


def test_what_an_app_writes_and_no_card_says_leaves_the_lines_as_they_are():
    raw = card("N:B;Ada;;;", "FN:Ada B", "EMAIL;PREF=1\u00b2:a@x.fr", "TEL:1", "ORG:O;U", "NOTE:n", "BDAY:20000101", "TITLE:t")
    odd: list[dict[str, Any]] = [
        {"name": "Ada"},
        {"name": [1]},
        {"email": "b@x.fr"},
        {"phone": [5]},
        {"company": {"a": 1}},
        {"note": ["x"]},
    ]
    for changes in [*odd, {"birthday": {"year": 2001}}, {"jobTitle": True}]:
        assert edited(raw, **changes) == raw.decode().split("\r\n"), changes
    nothing: list[dict[str, Any]] = [{"email": []}, {"note": ""}, {"birthday": None}]
    for empty in nothing:
        assert len(edited(raw, **empty)) < len(raw.decode().split("\r\n")), empty
