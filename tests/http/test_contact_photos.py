"""Photos of contacts: what a phone sent is what an app gets, what an app sets is what phones get (docs/http/contacts.md)."""

import base64
import hashlib
import re
from itertools import count

import pytest

from tests.support.client import Answer, Client
from tests.support.serving import Served

BOOK = "/sync/dav/me/contacts/"
CONTACTS = "/data/io.cozy.contacts/"
JPEG, PNG, GIF = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20, b"\x89PNG\r\n\x1a\n" + b"p" * 99, b"GIF89a" + b"g" * 50
_numbers = count()


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}", scope=("io.cozy.contacts",))


def phone_card(alice: Client, *lines: str, version: str = "3.0") -> tuple[str, str, str]:
    """A card that a phone has sent: its path, its document's id, its text."""
    name = f"photo{next(_numbers)}"
    path = f"{BOOK}{name}.vcf"
    raw = "\r\n".join(["BEGIN:VCARD", f"VERSION:{version}", f"UID:{name}", f"FN:{name}", f"N:{name};;;;", *lines, "END:VCARD", ""])
    assert alice.dav("PUT", path, raw).status == 201
    rows = alice.api("GET", f"{CONTACTS}_all_docs?include_docs=true").json["rows"]
    return path, next(row["id"] for row in rows if row["doc"].get("fullname") == name), raw


def folded(line: str) -> str:
    return "\r\n ".join(line[start : start + 74] for start in range(0, len(line), 74))


def get(alice: Client, id: str, **headers: str) -> Answer:
    return alice.api("GET", f"/contacts/{id}/photo", **headers)


def served_photo(alice: Client, path: str) -> tuple[str, bytes]:
    """The head of PHOTO in a card, and its picture."""
    text = re.sub(r"\r\n ", "", alice.dav("GET", path).body.decode())
    line = next(line for line in text.split("\r\n") if line.startswith("PHOTO"))
    head, _, value = line.partition(":")
    return head, base64.b64decode(value.partition("base64,")[2] or value)


@pytest.mark.parametrize(
    ("picture", "version", "line"),
    [
        (JPEG, "3.0", "PHOTO;ENCODING=b;TYPE=JPEG:{}"),
        (PNG, "3.0", "PHOTO;X-ABCROP-RECTANGLE=ABClipRect_1&0&0&1&1&x==;ENCODING=BASE64;TYPE=PNG:{}"),
        (GIF, "4.0", "PHOTO:data:image/gif;base64,{}"),
    ],
)
def test_the_photo_of_a_phone_comes_back_as_bytes_and_its_card_as_sent(alice: Client, picture: bytes, version: str, line: str):
    path, id, raw = phone_card(alice, folded(line.format(base64.b64encode(picture).decode())), version=version)
    answer = get(alice, id)
    assert (answer.status, answer.body) == (200, picture)
    assert answer.headers["Content-Type"] in ("image/jpeg", "image/png", "image/gif")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert get(alice, id, If_None_Match=answer.headers["ETag"]).status == 304
    assert alice.dav("GET", path).body.decode() == raw
    card = alice.api("GET", f"{CONTACTS}{id}").json["metadata"]["card"]
    assert card["photo"] == {"md5": hashlib.md5(picture).hexdigest(), "mime": answer.headers["Content-Type"], "size": len(picture)}


@pytest.mark.parametrize(("version", "head"), [("3.0", "PHOTO;ENCODING=b;TYPE=PNG"), ("4.0", "PHOTO")])
def test_a_photo_that_an_app_sets_is_in_the_card_and_nothing_else_changes(alice: Client, version: str, head: str):
    path, id, raw = phone_card(alice, "X-ODD;A=b:c", "PHOTO;VALUE=URI:https://x.example/p.jpg", version=version)
    assert get(alice, id).status == 404  # an address is not followed
    before = alice.dav("GET", path).headers["ETag"]
    assert alice.api("PUT", f"/contacts/{id}/photo", PNG).status == 204
    assert served_photo(alice, path) == (head, PNG)
    answer = alice.dav("GET", path)
    assert answer.headers["ETag"] != before
    kept = [line for line in raw.split("\r\n") if not line.startswith(("PHOTO", "END"))]
    assert [line for line in answer.body.decode().split("\r\n") if line in kept and line] == [line for line in kept if line]
    doc = alice.api("GET", f"{CONTACTS}{id}").json
    assert doc["metadata"]["card"]["photo"]["mime"] == "image/png"
    assert alice.api("PUT", f"{CONTACTS}{id}", doc | {"note": "later"}).status == 200
    assert get(alice, id).body == PNG


def test_a_contact_of_an_app_has_its_photo_in_dav_too(alice: Client):
    id = alice.api("POST", CONTACTS, {"name": {"givenName": "App"}, "fullname": "App"}).json["id"]
    assert get(alice, id).status == 404
    assert alice.api("PUT", f"/contacts/{id}/photo", JPEG).status == 204
    assert served_photo(alice, f"{BOOK}{id}.vcf") == ("PHOTO;ENCODING=b;TYPE=JPEG", JPEG)
    raw = alice.dav("GET", f"{BOOK}{id}.vcf").body
    assert alice.dav("PUT", f"{BOOK}{id}.vcf", raw.replace(b"FN:App", b"FN:Phone")).status == 204
    assert get(alice, id).body == JPEG


def test_a_photo_is_taken_away_by_each_door(alice: Client):
    path, id, _ = phone_card(alice, folded("PHOTO;ENCODING=b;TYPE=GIF:" + base64.b64encode(GIF).decode()))
    assert alice.api("DELETE", f"/contacts/{id}/photo").status == 204
    assert b"PHOTO" not in alice.dav("GET", path).body
    assert get(alice, id).status == 404
    assert alice.api("DELETE", f"/contacts/{id}/photo").status == 404
    assert "photo" not in (alice.api("GET", f"{CONTACTS}{id}").json["metadata"].get("card") or {})
    assert alice.api("PUT", f"/contacts/{id}/photo", GIF).status == 204
    raw = re.sub(rb"PHOTO[^\r]*(\r\n [^\r]*)*\r\n", b"", alice.dav("GET", path).body)
    assert alice.dav("PUT", path, raw).status == 204
    assert get(alice, id).status == 404


@pytest.mark.parametrize(
    ("data", "status"), [(b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415), (b"", 415), (JPEG + bytes(1 << 20), 413)]
)
def test_what_is_no_photo_or_too_large_is_refused_and_the_old_one_stays(alice: Client, data: bytes, status: int):
    _, id, _ = phone_card(alice, folded("PHOTO;ENCODING=b;TYPE=GIF:" + base64.b64encode(GIF).decode()))
    assert alice.api("PUT", f"/contacts/{id}/photo", data).status == status
    assert get(alice, id).body == GIF


def test_what_a_phone_calls_a_photo_runs_nowhere(alice: Client):
    _, id, _ = phone_card(alice, folded("PHOTO;ENCODING=b;TYPE=HTML:" + base64.b64encode(b"<script>alert(1)</script>").decode()))
    answer = get(alice, id)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_nobody_gets_a_photo_without_a_right_to_the_contact(alice: Client, served: Served):
    _, id, _ = phone_card(alice, folded("PHOTO;ENCODING=b;TYPE=GIF:" + base64.b64encode(GIF).decode()))
    other = Client(served, host=f"localhost:{served.port}", scope=("io.cozy.files",))
    assert [get(other, id).status, other.ask("GET", f"/contacts/{id}/photo").status] == [403, 401]
    assert get(alice, "nobody").status == 404
