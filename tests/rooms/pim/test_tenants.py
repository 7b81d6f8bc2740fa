"""Address books and calendars of two people who share a server and its locks."""

from pathlib import Path

from tests.support.stack import Clock, open_stack

CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:u\r\nFN:Ada\r\nN:Byron;Ada;;;\r\nEND:VCARD\r\n"


def test_a_collection_of_one_person_is_not_held_up_by_the_same_one_of_another(tmp_path: Path):
    stack = open_stack(tmp_path / "data", Clock())
    try:
        alice, bob = (stack.create(name, passphrase="x").pim for name in ("alice.example.org", "bob.example.org"))
        with alice._hold("contacts"):
            bob.put(bob.collection("contacts"), "u.vcf", CARD, match=None)
        assert not alice.rows(alice.collection("contacts"), hrefs=["u.vcf"])
    finally:
        stack.close()
