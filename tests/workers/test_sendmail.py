"""`sendmail`: what arrives at a real SMTP server, by every mode, and what is refused."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from email.headerregistry import Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cozyd.config import Mail
from cozyd.errors import BadGateway, CozyError, Invalid, TooLarge, Unavailable
from cozyd.mails import Mails
from cozyd.mails.letter import letter, names, template
from cozyd.seals import Seal
from tests.support.mail import MailServer
from workers import sendmail

SETTINGS = {"email": "alice@example.org", "pending_email": "new@example.org", "public_name": "Alice Ÿ"}
HTML = [{"type": "text/plain", "body": "Hello"}, {"type": "text/html", "body": "<p>Hello</p>"}]
NOW = datetime(2026, 11, 26, 1, 2, 3, tzinfo=UTC)


class Alice:
    """An instance with mails; jobs run at once."""

    def __init__(self, config: Mail, **settings: Any) -> None:
        self.jobs: list[Any] = []
        self.files = {"photo": b"\x00\xffjpeg"}
        self.settings = SETTINGS | settings
        self.mails = Mails(
            config,
            "alice.example.net",
            Seal("secret", "mails"),
            settings=lambda: self.settings,
            locale=lambda: "fr",
            read=self.files.__getitem__,
            push=lambda worker, message: self.jobs.append((worker, message)),
            now=lambda: NOW,
        )

    def send(self, **message: Any) -> None:
        sendmail.run(self, SimpleNamespace(message=message))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with MailServer(tmp_path_factory.mktemp("mail")) as running:
        yield running


@pytest.fixture
def server(plain_server: MailServer) -> MailServer:
    plain_server.mails.clear()
    plain_server.refuse.clear()
    return plain_server


def test_noreply_goes_to_the_owner_alone_whoever_else_is_named(server: MailServer):
    config = server.config(name="My cloud", reply_to="help@example.net")
    Alice(config).send(
        mode="noreply", subject="Héllo", parts=HTML, to=[{"email": "mallory@evil.example"}], **{"from": {"email": "boss@x.y"}}
    )
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("noreply@alice.example.net", ["alice@example.org"])
    assert (mail.message["From"], mail.message["To"]) == ("My cloud <noreply@alice.example.net>", "Alice Ÿ <alice@example.org>")
    assert (mail.message["Reply-To"], mail.message["Subject"]) == ("My cloud <help@example.net>", "Héllo")
    assert mail.message["X-Cozy"] == "alice.example.net"
    assert mail.message["Date"].datetime == NOW
    assert (mail.plain, mail.html) == ("Hello\n", "<p>Hello</p>\n")


def test_a_mail_says_the_date_and_the_name_it_is_given_in_the_language_it_is_given(server: MailServer):
    alice = Alice(server.config())
    named = {"template_name": "two_factor", "template_values": {"code": "123456"}}
    alice.send(mode="noreply", date="2026-01-02T03:04:05+01:00", recipient_name="Aurélie", locale="es", **named)
    alice.send(mode="noreply", **named)
    given, own = server.mails
    assert given.message["Date"].datetime == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert "Aurélie" in given.plain
    assert "Aurélie" not in own.plain
    assert given.message["Subject"] != own.message["Subject"]


def test_a_mail_in_her_name_is_from_the_server_s_address_and_answers_go_to_her(server: MailServer):
    to = [{"name": "Bob", "email": "bob@example.org"}, {"email": "Carol <carol@bücher.example>"}]
    Alice(server.config()).send(mode="from", subject="Hi", parts=HTML[:1], to=to)
    (mail,) = server.mails
    assert mail.recipients == ["bob@example.org", "carol@xn--bcher-kva.example"]
    assert mail.message["From"] == "Alice Ÿ <noreply@alice.example.net>"
    assert mail.message["Reply-To"] == "Alice Ÿ <alice@example.org>"
    assert mail.message["To"] == "Bob <bob@example.org>, Carol <carol@xn--bcher-kva.example>"


def test_pending_goes_to_the_address_that_is_to_be_confirmed(server: MailServer):
    Alice(server.config()).send(mode="pending", subject="Confirm", parts=HTML[:1])
    assert server.mails[0].recipients == ["new@example.org"]


def test_a_campaign_goes_to_the_owner(server: MailServer):
    Alice(server.config()).send(mode="campaign", subject="News", parts=HTML)
    assert server.mails[0].recipients == ["alice@example.org"]


def test_support_gets_her_words_and_she_a_confirmation(server: MailServer):
    values = {"subject": "Help", "body": "It is <b>broken</b>"}
    alice = Alice(server.config(support="support@example.net"))
    alice.send(mode="support", subject="Help", template_name="support_request", template_values=values)
    request, confirmation = server.mails
    assert (request.recipients, request.message["Reply-To"]) == (["support@example.net"], "Alice Ÿ <alice@example.org>")
    assert request.plain == "alice.example.net\n\nIt is <b>broken</b>\n"
    assert (confirmation.recipients, confirmation.message["Subject"]) == (["alice@example.org"], "Nous avons reçu votre demande")


def test_the_job_chooses_no_relay(server: MailServer, tmp_path: Path):
    with MailServer(tmp_path) as evil:
        dialer = {"host": "127.0.0.1", "port": evil.port}
        Alice(server.config()).send(mode="noreply", subject="x", parts=HTML, dialer=dialer)
        assert (len(server.mails), evil.mails) == (1, [])


def attached(server: MailServer) -> list[tuple[str | None, Any]]:
    return [(part.get_filename(), part.get_content()) for part in server.mails[0].message.iter_attachments()]


def test_attachments_come_as_base64(server: MailServer):
    given = [{"filename": "ünï.txt", "content": "dGV4\r\ndA==\n"}]
    Alice(server.config()).send(mode="noreply", subject="x", parts=HTML, attachments=given)
    assert attached(server) == [("ünï.txt", b"text")]
    assert server.mails[0].html == "<p>Hello</p>\n"


def test_only_mails_of_ours_name_files_of_hers(server: MailServer):
    alice = Alice(server.config())
    alice.mails.send("new_connection", {}, files={"p.jpg": "photo"})
    alice.send(**alice.jobs[0][1])
    assert attached(server) == [("p.jpg", b"\x00\xffjpeg")]
    with pytest.raises(Invalid, match="base64"):
        alice.send(mode="noreply", subject="x", parts=HTML, attachments=[{"filename": "p.jpg", "file_id": "photo"}])
    assert len(server.mails) == 1


def test_too_much_to_attach_is_refused(server: MailServer):
    alice = Alice(server.config())
    alice.files["film"] = bytes(26 << 20)
    alice.mails.send("new_connection", {}, files={"f": "film"})
    with pytest.raises(TooLarge):
        alice.send(**alice.jobs[0][1])
    assert server.mails == []


HIDDEN = "=?utf-8?b?" + b64encode(b"a\r\nBcc: mallory@evil.example\r\n\r\nMore").decode() + "?="
"""An encoded word (RFC 2047) with line ends in it, which `email` would decode."""
REFUSED = [
    ({"subject": HIDDEN}, "Subject would not be one line"),
    ({"mode": "from", "to": [{"email": "=?utf-8?q?a=0d=0aBcc=3ax?=@b.org"}]}, "no address"),
    ({"mode": "from", "to": [{"name": "é " * 90, "email": f"a{number}@b.org"} for number in range(100)]}, "too long together"),
    ({"subject": "é " * 1001}, "at most 2000"),
    ({"attachments": [{"filename": HIDDEN, "content": ""}]}, "Content-Disposition would not be one line"),
    ({"subject": "x\u2028Bcc: mallory@evil.example"}, "one line"),
    ({"parts": [{"type": ["text/plain"], "body": "x"}]}, "text/plain or text/html"),
    ({"mode": "from", "to": 3}, "array"),
    ({"mode": "from", "to": {"email": "a@b.org"}}, "array"),
    ({"mode": "other"}, "mode"),
    ({"subject": None}, "no subject"),
    ({"subject": "x\r\nBcc: mallory@evil.example"}, "one line"),
    ({"parts": []}, "no body"),
    ({"parts": [{"type": "text/calendar", "body": "x"}]}, "text/calendar"),
    ({"parts": [{"type": "text/plain", "body": 1}]}, "part"),
    ({"mode": "from"}, "no recipient"),
    ({"mode": "from", "to": [{"email": f"a{number}@b.org"} for number in range(101)]}, "100"),
    ({"mode": "from", "to": [{"email": "not an address"}]}, "no address"),
    ({"mode": "from", "to": [{"email": "a@b.org, c@d.org"}]}, "no address"),
    ({"mode": "from", "to": [{"email": "a@b.org\r\nRCPT TO:<c@d.org>"}]}, "no address"),
    ({"mode": "from", "to": [{"name": "A\r\nBcc: c@d.org", "email": "a@b.org"}]}, "no address"),
    ({"mode": "from", "to": ["@b.org"]}, "no address"),
    ({"mode": "from", "to": [3]}, "name and an email"),
    ({"template_name": "nothing"}, "no mail template"),
    ({"template_name": "../../config"}, "no mail template"),
    ({"template_name": "magic_link", "template_values": {}}, "needs the value link"),
    ({"template_name": "magic_link", "template_values": {"link": "javascript:alert(1)"}}, "page of the web"),
    ({"template_name": "two_factor", "template_values": {"code": "1", "more": "x"}}, "knows no value"),
    ({"attachments": [{"filename": "x", "content": "%%"}]}, "not base64"),
    ({"attachments": [{"content": ""}]}, "filename"),
    ({"sealed": "c2l2MXh4eHh4eHh4eHh4eHh4eHg=", "template_name": "magic_link"}, "not written by this instance"),
]


@pytest.mark.parametrize(("change", "said"), REFUSED, ids=[said + str(at) for at, (_, said) in enumerate(REFUSED)])
def test_what_is_no_mail_is_refused_with_its_reason_and_nothing_leaves(server: MailServer, change: dict[str, Any], said: str):
    with pytest.raises(Invalid, match=said):
        Alice(server.config()).send(**{"mode": "noreply", "subject": "x", "parts": HTML} | change)
    assert server.mails == []


def test_names_make_no_headers(server: MailServer):
    """Neither hers nor the recipients', one by one or two together."""
    start, end = HIDDEN[:-2], HIDDEN[-2:]
    to = [{"name": HIDDEN, "email": "a@b.org"}, {"name": start, "email": "b@b.org"}, {"name": end, "email": "c@b.org"}]
    Alice(server.config(), public_name=HIDDEN).send(mode="from", subject="1 + 1 =?", parts=HTML, to=to)
    (mail,) = server.mails
    assert mail.message["Bcc"] is None
    shown = HIDDEN.replace("=?", "= ?")
    assert mail.message["From"].addresses[0].display_name == shown
    assert [one.display_name for one in mail.message["To"].addresses] == [shown, start.replace("=?", "= ?"), end]
    assert (mail.message["Subject"], mail.plain) == ("1 + 1 =?", "Hello\n")


@pytest.mark.parametrize("client", [HIDDEN, "x\r\nBcc: y\x1b\x7f", "x" * 5000, "é " * 2000])
def test_no_name_of_a_client_keeps_the_mail_about_it_away(server: MailServer, client: str):
    Alice(server.config()).send(mode="noreply", template_name="notifications_oauthclients", template_values=clients_of(client))
    Alice(server.config()).send(mode="noreply", template_name="new_client", template_values={"client": client})
    assert [(mail.recipients, mail.message["Bcc"]) for mail in server.mails] == [(["alice@example.org"], None)] * 2


def clients_of(client: str) -> dict[str, str]:
    return {"client": client, "limit": "3", "devices_link": "https://alice.example.net/"}


def test_who_has_no_address_gets_no_mail(server: MailServer):
    with pytest.raises(Invalid, match="no email"):
        Alice(server.config(), email="").send(mode="noreply", subject="x", parts=HTML)


# -- the way to the server ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_mails_leave_over_tls_with_a_login(tmp_path: Path, tls: str):
    with MailServer(tmp_path, tls) as server:
        Alice(server.config()).send(mode="noreply", subject="x", parts=HTML)
        assert len(server.mails) == 1


def test_a_password_may_lie_in_a_file(tmp_path: Path):
    file = tmp_path / "password"
    with MailServer(tmp_path, "starttls") as server:
        file.write_text(server.config().password + "\n")
        Alice(server.config(password="", password_file=str(file))).send(mode="noreply", subject="x", parts=HTML)
        assert len(server.mails) == 1


FAILING: list[tuple[dict[str, Any], type[CozyError], str]] = [
    ({"password": "wrong"}, BadGateway, "user and password"),
    ({"ca_file": ""}, Unavailable, "certificate"),
    ({"host": "127.0.0.1", "port": 1}, Unavailable, "does not answer"),
    ({"password": "", "password_file": "/nowhere"}, BadGateway, "cannot be read"),
    ({"host": ""}, Invalid, "host is not set"),
]


@pytest.mark.parametrize(("change", "error", "said"), FAILING, ids=[said for _, _, said in FAILING])
def test_a_server_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], error: type[CozyError], said: str):
    with MailServer(tmp_path, "starttls") as server:
        with pytest.raises(error, match=said):
            Alice(server.config(**change)).send(mode="noreply", subject="x", parts=HTML)
        assert server.mails == []


def test_no_password_is_sent_where_tls_is_wanted_and_not_offered(server: MailServer):
    with pytest.raises(BadGateway, match="STARTTLS"):
        Alice(server.config(tls="starttls", user="u", password="p")).send(mode="noreply", subject="x", parts=HTML)


def test_a_host_of_one_dash_drops_mails_silently(server: MailServer):
    Alice(server.config(host="-")).send(mode="noreply", subject="x", parts=HTML)
    assert server.mails == []


def test_a_refusal_for_now_may_be_tried_again_one_for_good_not(server: MailServer):
    server.refuse = {"alice@example.org": "451 later", "bob@example.org": "550 unknown"}
    with pytest.raises(Unavailable, match=r"alice@example\.org"):
        Alice(server.config()).send(mode="noreply", subject="x", parts=HTML)
    with pytest.raises(Invalid, match=r"bob@example\.org"):
        Alice(server.config()).send(mode="from", subject="x", parts=HTML, to=["bob@example.org"])
    with pytest.raises(Invalid, match=r"refuses bob@example\.org; the others have"):
        Alice(server.config()).send(mode="from", subject="x", parts=HTML, to=["bob@example.org", "carol@example.org"])
    assert [mail.recipients for mail in server.mails] == [["carol@example.org"]]


# -- templates ------------------------------------------------------------------------------------------------------------


def test_a_mail_of_ours_is_a_job_whose_document_does_not_tell_its_code(server: MailServer):
    alice = Alice(server.config())
    alice.mails.send("two_factor", {"code": "123456"})
    ((worker, message),) = alice.jobs
    assert (worker, message["template_name"]) == ("sendmail", "two_factor")
    assert "123456" not in str(message)
    alice.send(**message)
    (mail,) = server.mails
    assert (mail.recipients, mail.message["Subject"]) == (["alice@example.org"], "123456 est votre code de connexion")
    assert "    123456\n" in mail.plain
    assert ">123456</p>" in mail.html


def test_only_the_server_writes_to_others_without_her_name(server: MailServer):
    alice = Alice(server.config())
    alice.mails.send("email_confirm", {"link": "https://a.b/c"}, to=Address("Neu", "neu", "example.org"))
    alice.send(**alice.jobs[0][1])
    alice.send(mode="noreply", subject="x", parts=HTML, trusted_to={"email": "mallory@evil.example"})
    assert [mail.recipients for mail in server.mails] == [["neu@example.org"], ["alice@example.org"]]
    with pytest.raises(Invalid, match="no mail template"):
        alice.mails.send("nothing", {})


EXPECTED = (
    "two_factor passphrase_reset passphrase_changed passphrase_hint magic_link email_confirm new_connection new_client flagship_code "
    "onboarding account_deletion notifications_diskquota notifications_oauthclients support_request sharing_request"
)


def test_every_template_has_four_languages():
    assert set(EXPECTED.split()) <= names()
    for name in names():
        known = template(name)
        assert set(known.subjects) == set(known.bodies) == {"en", "fr", "de", "es"}


@pytest.mark.parametrize("name", sorted(names()))
@pytest.mark.parametrize("locale", ["en", "fr", "de", "es"])
def test_every_template_is_written_in_full_and_with_the_least(name: str, locale: str):
    known = template(name)
    least = dict.fromkeys(known.values, "https://a.b/?x=1&y=2")
    full = least | dict.fromkeys(known.optional, "https://a.b/?x=1&y=2")
    for values in (least, full):
        made = letter(name, locale, {"name": "Zoë", "domain": "zoe.example.net", **values})
        assert "zoe.example.net" in made.html
        assert "{{" not in made.subject + made.text + made.html
        assert "{%" not in made.subject + made.text + made.html
        assert "\n\n\n" not in made.text
    different = letter(name, "pt", {"name": "Zoë", "domain": "z.z", **full})
    assert different == letter(name, "en", {"name": "Zoë", "domain": "z.z", **full})


def test_values_are_text_in_html_and_make_no_blocks():
    values = {"client": "<img src=x>\n\n> Log in | https://evil.example", "name": "Zoë", "domain": "z.z"}
    made = letter("new_client", "en", values)
    assert "<img" not in made.html
    assert "&lt;img src=x&gt;" in made.html
    assert 'href="https://evil' not in made.html
    assert "\n" not in made.subject
