"""Cards of vCard 2.1, as old phones and Outlook export them, come in as 3.0; those of other versions stay as they are."""

import base64
from pathlib import Path
from typing import Any

import pytest

from cozyd.errors import Invalid
from cozyd.pim import photo, vcard
from cozyd.pim.vcard21 import upgraded
from tests.support.stack import Clock, open_stack


def old(*lines: str | bytes) -> bytes:
    given = [line if isinstance(line, bytes) else line.encode() for line in ("BEGIN:VCARD", "VERSION:2.1", *lines, "END:VCARD")]
    return b"".join(line + b"\r\n" for line in given)


def read(*lines: str | bytes) -> dict[str, Any]:
    return vcard.apply(vcard.parse(upgraded(old(*lines))), {})


def test_names_are_read_whatever_they_are_written_in():
    lines = (
        "N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=B6rg;;Dr.;",
        "FN;CHARSET=UTF-8;QUOTED-PRINTABLE:J=C3=B6rg M=C3=BCller",
    )
    doc = read(*lines)
    assert doc["name"] == {"familyName": "Müller", "givenName": "Jörg", "namePrefix": "Dr."}
    assert doc["fullname"] == "Dr. Jörg Müller"
    assert read(b"N;CHARSET=ISO-8859-1:M\xfcller;J")["name"]["familyName"] == "Müller"
    assert read(b"N:M\xfcller;J")["name"]["familyName"] == "Müller"
    assert read("N:Müller;J")["name"]["familyName"] == "Müller"
    assert read("N;CHARSET=SHIFT_JIS;ENCODING=QUOTED-PRINTABLE:=8E=52=93=63;")["name"]["familyName"] == "山田"


def test_soft_breaks_and_folds_are_joined():
    doc = read("N:A;B", "NOTE;ENCODING=QUOTED-PRINTABLE:one=0D=0Atwo =\r\nand more=", "=21", "TITLE:a long\r\n  title")
    assert doc["note"] == "one\ntwo and more!"
    assert doc["jobTitle"] == "a long  title"


def test_bare_types_are_types():
    doc = read("N:A;B", "TEL;WORK;FAX:1", "TEL;CELL;PREF:2", "EMAIL;INTERNET;HOME:a@x.org", "ADR;WORK:;;1 Rue, X;Paris;;75000;France")
    assert [(one["number"], one["type"], one["label"]) for one in doc["phone"]] == [("2", "cell", "home"), ("1", "fax", "work")]
    assert doc["email"][0] == {"address": "a@x.org", "label": "home", "primary": True}
    assert (doc["address"][0]["street"], doc["address"][0]["label"]) == ("1 Rue, X", "work")


def test_semicolons_of_2_1_are_parts_and_commas_are_not():
    card = vcard.parse(upgraded(old("N:A\\;B;C", "ORG:X, Inc;Unit\\;1", "NOTE:a, b; c", "CATEGORIES:p,q")))
    doc = vcard.apply(card, {})
    assert doc["name"] == {"familyName": "A;B", "givenName": "C"}
    assert (doc["company"], doc["metadata"]["card"]["orgUnits"], doc["note"]) == ("X, Inc", ["Unit;1"], "a, b; c")
    assert vcard.categories(card) == ["p", "q"]


def test_a_photo_comes_along():
    picture = b"\xff\xd8\xff" + bytes(200)
    text = base64.b64encode(picture).decode()
    folded = "\r\n ".join(["PHOTO;JPEG;ENCODING=BASE64:", *(text[start : start + 70] for start in range(0, len(text), 70)), ""])
    assert photo.read(vcard.parse(upgraded(old("N:A;B", folded)))) == picture


def test_a_missing_full_name_is_made_of_the_name():
    assert b"FN:Jane Doe\r\n" in upgraded(old("N:Doe;Jane"))
    assert b"FN:?\r\n" in upgraded(old("TEL:1"))


def test_other_versions_stay_byte_for_byte():
    new = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:n\r\nFN:a;b=\r\nN:;;;;\r\nEND:VCARD\r\n"
    assert upgraded(new) == new
    assert upgraded(new + old("N:A;B") + new).count(new) == 2


def test_a_line_that_is_none_is_named():
    with pytest.raises(Invalid, match="no colon"):
        upgraded(old("N:A;B", "nothing"))


def test_a_file_of_old_cards_is_imported_and_a_put_of_one_refused(tmp_path: Path):
    stack = open_stack(tmp_path / "data", Clock())
    try:
        pim = stack.create("alice.example.org").pim
        book = pim.collection("contacts")
        done = pim.add_all(book, old("N:Doe;Jane") + old("N:Roe;Rick"))
        assert not [found for _, found in done if isinstance(found, Exception)]
        texts = pim.texts(pim.rows(book, hrefs=[href for href, _ in done])).values()
        assert sorted(vcard.read(vcard.parse(text))["name"]["familyName"] for text in texts) == ["Doe", "Roe"]
        with pytest.raises(Invalid) as refused:
            pim.put(book, "x.vcf", old("N:A;B"), match=None)
        assert refused.value.source == "valid-address-data"
    finally:
        stack.close()
