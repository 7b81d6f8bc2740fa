"""What the owner changes herself: her picture, her address, the end of her cloud; and the pages of it."""

import io
import re
from collections.abc import Iterator
from functools import cache
from xml.etree import ElementTree

import pytest
from PIL import Image
from werkzeug.test import TestResponse

from cozyd.auth import Credentials, passwords
from cozyd.errors import NotFound
from cozyd.settings import INSTANCE, initials
from cozyd.settings.initials import initials_of
from tests.support.inprocess import Place, Tenant

CONTEXTS = {
    "firm": {"signup_url": "https://signup.example.org", "manager_url": "https://m.example.org", "enable_premium_links": True},
    "drive": {"onboarded_redirection": "drive/#/welcome"},
}
SETTINGS = "io.cozy.settings"
PHRASE, OTHER = "A" * 43 + "=", "B" * 43 + "="
"""As clients derive them: cheap to check."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("owner") / "data", contexts=CONTEXTS)
    yield place
    place.stack.close()


@pytest.fixture
def alice(place: Place) -> Tenant:
    return place.tenant(email="alice@example.org", public_name="Alice Wire")


@pytest.fixture
def known(place: Place) -> Tenant:
    """One who has a passphrase."""
    known = place.tenant(email="alice@example.org", public_name="Alice")
    known.instance.amend(passphrase_hash=kept_phrase())
    return known


@cache
def kept_phrase() -> str:
    return passwords.keep(PHRASE)


def picture(format: str = "PNG") -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(made, format)
    return made.getvalue()


def put(alice: Tenant, content: bytes, type: str = "image/png") -> int:
    return alice.cli("PUT", "/settings/avatar", content, Content_Type=type).status_code


# -- the picture --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_an_uploaded_picture_is_served_as_it_came_whatever_is_asked(alice: Tenant, format: str):
    content = picture(format)
    assert put(alice, content, "text/html") == 204
    for query in ("", "?fallback=404", "?fallback=nonsense&as=x"):
        answer = alice.ask("GET", f"/public/avatar{query}", Accept="*/*")
        assert (answer.status_code, answer.data, answer.mimetype) == (200, content, f"image/{format.lower()}")
    assert alice.ask("GET", "/public/avatar", If_None_Match=answer.headers["ETag"]).status_code == 304


@pytest.mark.parametrize(
    "content",
    [b"<html><script>alert(1)</script>", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', b"", b"GIF89", b"%PDF-1.4"],
)
def test_weakness_an_avatar_is_never_active_content(alice: Tenant, content: bytes):
    assert put(alice, content, "text/html") == 415
    answer = alice.ask("GET", "/public/avatar")
    assert answer.mimetype == "image/png"
    assert put(alice, picture("GIF") + b"<script>alert(1)</script>", "text/html") == 204
    answer = alice.ask("GET", "/public/avatar")
    assert (answer.mimetype, answer.headers["X-Content-Type-Options"]) == ("image/gif", "nosniff")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_a_picture_is_replaced_and_removed_and_takes_no_quota(alice: Tenant):
    assert put(alice, picture("PNG")) == 204
    assert put(alice, picture("GIF")) == 204
    assert len(list(alice.stack.blobs.list(alice.instance.prefix, "avatar/"))) == 1
    assert alice.instance.files.usage()[0] == 0
    assert [one for one in alice.instance.checkup.run() if getattr(one, "kind", "") == "content"] == []
    for _ in range(2):
        assert alice.cli("DELETE", "/settings/avatar").status_code == 204
    assert alice.ask("GET", "/public/avatar?fallback=404").status_code == 404
    assert list(alice.stack.blobs.list(alice.instance.prefix, "avatar/")) == []


def test_a_picture_over_20_megabytes_is_refused(alice: Tenant):
    assert put(alice, b"\x89PNG\r\n\x1a\n" + bytes(20_000_000)) == 413
    assert alice.ask("GET", "/public/avatar?fallback=404").status_code == 404


def test_only_who_may_write_settings_changes_the_picture(alice: Tenant):
    for method in ("PUT", "DELETE"):
        assert alice.cli(method, "/settings/avatar", picture(), scope=f"{SETTINGS}:GET").status_code == 403
        assert alice.ask(method, "/settings/avatar", picture()).status_code == 401


def size(answer: TestResponse) -> tuple[int, int]:
    assert answer.mimetype == "image/png"
    return Image.open(io.BytesIO(answer.data)).size


def test_without_a_picture_there_is_one_by_fallback(alice: Tenant):
    assert size(alice.ask("GET", "/public/avatar")) == (256, 256)
    assert size(alice.ask("GET", "/public/avatar?fallback=default")) == (256, 256)
    assert size(alice.ask("GET", "/public/avatar?fallback=initials&format=png&q=high")) == (512, 512)
    drawn = alice.ask("GET", "/public/avatar?fallback=initials")
    assert (drawn.mimetype, b">AW<" in drawn.data) == ("image/svg+xml", True)
    nobody = alice.ask("GET", "/public/avatar?fallback=anonymous&format=svg")
    assert b"<text" not in nobody.data
    assert ElementTree.fromstring(nobody.data).get("width") == "32"
    assert b"font/woff2" in alice.ask("GET", "/public/avatar?fallback=initials&q=high").data


def test_who_is_not_confirmed_is_grey_and_may_be_seen_through(alice: Tenant):
    grey = alice.ask("GET", "/public/avatar?fallback=initials&as=unconfirmed&fx=translucent")
    assert initials.GREY.encode() in grey.data
    assert b"opacity" in grey.data
    answer = alice.ask("GET", "/public/avatar?fallback=initials&fx=translucent&format=png")
    assert Image.open(io.BytesIO(answer.data)).getpixel((128, 8))[3] in range(120, 136)  # type: ignore[index]


@pytest.mark.parametrize("query", ["as=x", "fx=x", "format=gif", "fallback=x"])
def test_a_parameter_that_is_none_is_400(alice: Tenant, query: str):
    answer = alice.ask("GET", f"/public/avatar?{query}", Accept="*/*")
    assert (answer.status_code, answer.mimetype) == (400, "text/plain")


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Alice Wire", "AW"),
        ("alice", "A"),
        ("Zoë O'Neil Smith", "ZO"),
        ("李 明", "李明"),
        ("🙂 x", "X"),
        ("", ""),
        ("<b> &", "B"),
        ("7up", "7"),
    ],
)
def test_initials_are_the_first_letters_of_two_words(name: str, letters: str):
    assert initials_of(name) == letters


# -- the address --------------------------------------------------------------------------------------------------------


def change(alice: Tenant, email: str = "new@example.org", passphrase: str = PHRASE) -> TestResponse:
    return alice.cli("POST", "/settings/email", {"email": email, "passphrase": passphrase})


def link(alice: Tenant) -> str:
    """The path of the newest link."""
    found = re.search(r"(/settings/\S+token=[\w-]+)", alice.letters()[-1][1])
    assert found is not None
    return found[1]


def document(alice: Tenant) -> dict[str, object]:
    return alice.instance.docs.get(INSTANCE).doc


def test_an_address_is_changed_by_who_reads_the_new_one(known: Tenant):
    assert change(known).status_code == 204
    assert (document(known)["email"], document(known)["pending_email"]) == ("alice@example.org", "new@example.org")
    assert known.letters()[-1][0] == "new@example.org"
    path = link(known)
    anonymous = known.ask("GET", path)
    assert (anonymous.status_code, "/auth/login?redirect=http" in anonymous.location) == (303, True)
    answer = known.ask("GET", path, cookie=known.session())
    assert (answer.status_code, answer.location) == (307, f"http://settings.{known.instance.domain}/")
    assert (document(known)["email"], document(known)["pending_email"]) == ("new@example.org", None)


def test_weakness_the_link_of_an_address_works_once(known: Tenant):
    change(known)
    path, cookie = link(known), known.session()
    assert known.ask("GET", path, cookie=cookie).status_code == 307
    change(known, "third@example.org")
    again = known.ask("GET", path, cookie=cookie, Accept="text/html")
    assert (again.status_code, again.mimetype) == (400, "text/html")
    assert document(known)["email"] == "new@example.org"


def test_another_link_ends_the_one_before(known: Tenant):
    change(known)
    first = link(known)
    assert known.cli("POST", "/settings/email/resend").status_code == 204
    second, cookie = link(known), known.session()
    assert known.ask("GET", first, cookie=cookie).status_code == 400
    assert known.ask("GET", second, cookie=cookie).status_code == 307


def test_a_change_can_be_called_off(known: Tenant):
    change(known)
    path = link(known)
    for _ in range(2):
        assert known.cli("DELETE", "/settings/email").status_code == 204
    assert document(known)["pending_email"] is None
    assert known.ask("GET", path, cookie=known.session()).status_code == 400
    assert document(known)["email"] == "alice@example.org"


def test_weakness_no_pending_email_to_send_again_is_400(alice: Tenant):
    answer = alice.cli("POST", "/settings/email/resend")
    assert (answer.status_code, answer.get_json(force=True)["errors"][0]["detail"]) == (400, "no pending email")


def test_a_wrong_passphrase_changes_no_address(known: Tenant):
    answer = change(known, passphrase=OTHER)
    assert (answer.status_code, answer.get_json(force=True)["errors"][0]["detail"]) == (400, "Invalid passphrase")
    assert "pending_email" not in document(known)
    known.instance.amend(passphrase_hash=passwords.keep(passwords.derive("in clear", known.instance.auth.passphrase.kdf())))
    assert change(known, passphrase="in clear").status_code == 204


def test_weakness_guessing_the_passphrase_of_an_address_is_slowed_down(alice: Tenant):
    statuses = [change(alice, passphrase=OTHER).status_code for _ in range(12)]
    assert (statuses[0], statuses[-1]) == (400, 429)


@pytest.mark.parametrize(
    "email", ["", "x", "a@b@c", "a b@example.org", "x@example.org\nBcc: y@example.org", "@example.org", "a@" + "b" * 300]
)
def test_what_is_no_address_is_refused(known: Tenant, email: str):
    answer = change(known, email)
    assert (answer.status_code, answer.get_json(force=True)["errors"][0]["source"]) == (422, {"parameter": "email"})
    assert "pending_email" not in document(known)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"email":1,"passphrase":"x"}', b'{"email":"x@example.org"}'])
def test_a_request_without_address_or_passphrase_is_400(alice: Tenant, body: bytes):
    assert alice.cli("POST", "/settings/email", body).status_code == 400


def test_an_address_that_is_kept_elsewhere_is_not_changed_here(alice: Tenant):
    alice.instance.amend(context="firm")
    assert change(alice).status_code == 403


@pytest.mark.parametrize("way", ["put", "bulk", "replica", "delete", "drop"])
def test_weakness_no_way_through_data_changes_the_address(known: Tenant, way: str):
    change(known)
    before = document(known)
    evil = {**before, "email": "thief@example.org", "pending_email": "thief@example.org"}
    path = f"/data/{SETTINGS}/{INSTANCE.id}"
    match way:
        case "put":
            answer = known.cli("PUT", path, evil)
        case "bulk":
            answer = known.cli("POST", f"/data/{SETTINGS}/_bulk_docs", {"docs": [evil]}, Content_Type="application/json")
        case "replica":
            later = {**evil, "_rev": "9-" + "f" * 32, "_revisions": {"start": 9, "ids": ["f" * 32]}}
            answer = known.cli(
                "POST", f"/data/{SETTINGS}/_bulk_docs", {"docs": [later], "new_edits": False}, Content_Type="application/json"
            )
        case "delete":
            answer = known.cli("DELETE", f"{path}?rev={before['_rev']}")
        case _:
            answer = known.cli("DELETE", f"/data/{SETTINGS}/")
    assert answer.status_code in (201, 403)
    assert document(known) == before


def test_weakness_the_derivation_and_keys_of_the_vault_are_not_changed_through_data(known: Tenant):
    path = f"/data/{SETTINGS}/io.cozy.settings.bitwarden"
    vault = known.cli("GET", path).get_json()
    assert vault["passphrase_kdf_iterations"] == 650_000
    for change in ({"passphrase_kdf_iterations": 1}, {"key": "x"}, {"security_stamp": "x"}):
        assert known.cli("PUT", path, {**vault, **change}).status_code == 403
    assert known.cli("DELETE", f"{path}?rev={vault['_rev']}").status_code == 403
    assert known.cli("PUT", path, {**vault, "extension_installed": True}).status_code == 200


# -- the end ------------------------------------------------------------------------------------------------------------


def test_she_deletes_her_cloud_by_a_link_and_a_last_question(alice: Tenant):
    assert alice.app("POST", "/settings/instance/deletion").status_code == 204
    assert alice.letters()[-1][0] == "alice@example.org"
    path, cookie = link(alice), alice.session()
    page = alice.ask("GET", path, cookie=cookie, Accept="text/html")
    assert page.status_code == 200
    csrf = re.search(r"_csrf=([^;]+)", page.headers["Set-Cookie"])
    assert csrf is not None
    assert alice.instance.domain in page.get_data(as_text=True)
    form = f"csrf_token={csrf[1]}&token={path.rpartition('=')[2]}".encode()
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    assert alice.ask("POST", "/settings/instance/deletion/confirm", form, cookie=cookie, **kind).status_code == 403
    done = alice.ask("POST", "/settings/instance/deletion/confirm", form, cookie=f"{cookie}; _csrf={csrf[1]}", **kind)
    assert (done.status_code, "is deleted" in done.get_data(as_text=True)) == (200, True)
    with pytest.raises(NotFound):
        alice.stack.instance(alice.instance.domain)


def test_nothing_is_deleted_by_an_old_link_or_without_a_session(alice: Tenant):
    alice.app("POST", "/settings/instance/deletion")
    path = link(alice)
    assert alice.ask("GET", path, Accept="text/html").status_code == 303
    alice.instance.auth.once.take("deletion", path.rpartition("=")[2])
    assert alice.ask("GET", path, cookie=alice.session(), Accept="text/html").status_code == 400
    assert alice.stack.instance(alice.instance.domain)


def test_only_the_settings_app_asks_for_the_end(alice: Tenant):
    assert alice.app("POST", "/settings/instance/deletion", slug="drive").status_code == 403
    assert alice.cli("POST", "/settings/instance/deletion").status_code == 403
    alice.instance.settings.note(email=...)
    assert alice.app("POST", "/settings/instance/deletion").status_code == 422


# -- pages --------------------------------------------------------------------------------------------------------------


def test_with_few_enough_devices_she_goes_on_to_where_she_wanted(alice: Tenant):
    cookie, domain = alice.session(), alice.instance.domain
    wanted = f"http://drive.{domain}/#/folder"
    answer = alice.ask("GET", f"/settings/clients/limit-exceeded?redirect={wanted.replace('#', '%23')}", cookie=cookie)
    assert (answer.status_code, answer.location) == (302, wanted)
    assert alice.ask("GET", "/settings/clients/limit-exceeded", cookie=cookie).status_code == 302
    assert alice.ask("GET", "/settings/clients/limit-exceeded").status_code == 401


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "http://evil.alice.localhost.evil/"])
def test_weakness_limit_exceeded_is_no_open_redirect(alice: Tenant, wanted: str):
    answer = alice.ask("GET", f"/settings/clients/limit-exceeded?redirect={wanted}", cookie=alice.session())
    assert (answer.status_code, "Location" in answer.headers) == (400, False)


def test_with_too_many_devices_she_is_told_what_to_do(alice: Tenant):
    alice.connected("one")
    alice.instance.amend(feature_flags={"cozy.oauthclients.max": 0, "flagship.iap.enabled": True}, context="firm", uuid="u")
    cookie = alice.session()

    def page(query: str = "") -> str:
        answer = alice.ask("GET", f"/settings/clients/limit-exceeded{query}", cookie=cookie)
        assert answer.status_code == 200
        return answer.get_data(as_text=True)

    assert "1 devices are connected, 0 are included" in page()
    assert f"http://settings.{alice.instance.domain}/#/connectedDevices" in page()
    premium = "https://m.example.org/cozy/instances/u/premium"
    assert [premium in page(query) for query in ("", "?isFlagship=true", "?isFlagship=true&isIapAvailable=true")] == [True, False, True]
    assert 'target="_blank"' in page("?isFlagship=true")


def test_after_her_first_steps_she_comes_to_her_applications(alice: Tenant):
    domain = alice.instance.domain
    assert alice.ask("GET", "/settings/onboarded").location == f"http://{domain}/auth/login"
    cookie = alice.instance.auth.open_session(Credentials(), long_run=True)
    alice.instance.amend(onboarding_finished=None)
    assert alice.ask("GET", "/settings/onboarded", cookie=cookie).location == f"http://home.{domain}/"
    assert alice.instance.doc["onboarding_finished"] is True
    alice.instance.amend(context="drive")
    assert alice.ask("GET", "/settings/onboarded", cookie=cookie).location == f"http://drive.{domain}/#/welcome"
    phone = alice.ask("GET", "/settings/onboarded", cookie=cookie, User_Agent="Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)")
    assert (phone.status_code, phone.location) == (303, f"http://{domain}/settings/install_flagship_app")


@pytest.mark.parametrize(
    ("agent", "store"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)", "https://apps.apple.com/en/app/id1600636174"),
        ("Mozilla/5.0 (iPad; CPU OS 18_0)", "https://apps.apple.com/en/app/id1600636174"),
        ("Mozilla/5.0 (Linux; Android 15)", "https://play.google.com/store/apps/details?id=io.cozy.flagship.mobile&amp;hl=en"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "https://cozy.io/en/download"),
    ],
)
def test_the_mobile_application_is_where_her_phone_gets_it(alice: Tenant, agent: str, store: str):
    page = alice.ask("GET", "/settings/install_flagship_app", User_Agent=agent, Accept_Language="fr").get_data(as_text=True)
    assert store in page
    assert "Emportez votre cloud" in page
