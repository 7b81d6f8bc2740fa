"""`mailbox`: mails of a real Dovecot become documents and files: once each, with their flags, whatever is in them."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from cozyd.config import Config, Outbound, Storage
from cozyd.documents.store import Ref
from cozyd.errors import CozyError, Forbidden, JobFailed, Unavailable
from cozyd.files import Dir
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from cozyd.stack import Stack
from tests.support.dovecot import Dovecot
from tests.support.stack import Clock
from workers import TABLE, imap, mailbox
from workers.imap import Folders, Known

if shutil.which("dovecot") is None or os.geteuid():
    pytest.skip("dovecot is not installed, or this is not root: run scripts/install-debian.sh", allow_module_level=True)

DATA = Path(sys.modules["os"].__file__ or "").parent / "test" / "test_email" / "data"


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with Dovecot() as running:
        yield running


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Instance]:
    config = Config(storage=Storage(path=tmp_path / "data"), outbound=Outbound(allow="127.0.0.1"))
    stack = Stack(config, TABLE, now=Clock())
    yield stack.create("alice.localhost")
    stack.close()


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return f"u{abs(hash(request.node.nodeid))}"


def account(alice: Instance, server: Dovecot, user: str, **data: Any) -> str:
    found = {"host": "127.0.0.1", "port": server.port, "tls": "none", "folders": ["INBOX"]} | data
    body = {"account_type": "imap", "auth": {"login": user, "password": "secret"}, "data": found}
    return alice.docs.put("io.cozy.accounts", body).ref.id


def fetch(alice: Instance, id: str) -> list[dict[str, Any]]:
    """Run the worker; the mails that are here now, by their numbers."""
    mailbox.run(alice, Job({}, "id", "rev", "mailbox", {"account": id}))
    rows = [stored.doc for stored in alice.docs.all("io.cozy.emails").rows]
    return sorted(rows, key=lambda doc: (doc["mailbox"], doc["uid"]))


def mail(subject: str, text: str = "Hello", **headers: str) -> bytes:
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = subject, "Bob <bob@example.org>", "alice@example.org"
    made["Message-ID"], made["Date"] = f"<{abs(hash(subject))}@example.org>", "Thu, 26 Nov 2026 10:00:00 +0100"
    for name, value in headers.items():
        made[name] = value
    made.set_content(text)
    return made.as_bytes()


def test_mails_become_documents_and_come_once(alice: Instance, server: Dovecot, user: str):
    server.post(user, mail("Grüße", "Wörter"), mail("Second"))
    id = account(alice, server, user)
    first = fetch(alice, id)
    assert [one["subject"] for one in first] == ["Grüße", "Second"]
    assert first[0]["text"].strip() == "Wörter"
    assert first[0]["from"] == [{"name": "Bob", "address": "bob@example.org"}]
    assert (first[0]["date"], first[0]["mailbox"], first[0]["flags"]) == ("2026-11-26T09:00:00Z", "INBOX", [])
    assert fetch(alice, id) == first
    server.post(user, mail("Third"))
    later = fetch(alice, id)
    assert later[:2] == first
    assert later[2]["subject"] == "Third"


def test_a_mail_is_not_marked_as_seen_by_being_fetched(alice: Instance, server: Dovecot, user: str):
    server.post(user, mail("Unseen"))
    fetch(alice, account(alice, server, user))
    client = server.client(user)
    client.select("INBOX", readonly=True)
    assert b"\\Seen" not in b"".join(row for row in client.fetch("1", "(FLAGS)")[1] if isinstance(row, bytes))
    client.logout()


def test_flags_follow_and_what_is_gone_there_goes_here(alice: Instance, server: Dovecot, user: str):
    server.post(user, mail("Kept"), mail("Gone"))
    id = account(alice, server, user)
    fetch(alice, id)
    client = server.client(user)
    client.select("INBOX")
    client.store("1", "+FLAGS", r"(\Flagged \Seen)")
    client.store("2", "+FLAGS", r"(\Deleted)")
    client.expunge()
    client.logout()
    (kept,) = fetch(alice, id)
    assert (kept["subject"], set(kept["flags"])) == ("Kept", {"\\Flagged", "\\Seen"})


def test_attachments_become_files(alice: Instance, server: Dovecot, user: str):
    made = EmailMessage()
    made["Subject"], made["From"] = "With files", "bob@example.org"
    made.set_content("See the files")
    made.add_alternative("<p onclick='x()'>See<script>evil()</script> the files</p>", subtype="html")
    made.add_attachment(b"\x00\x01binary", maintype="application", subtype="octet-stream", filename="ünï/../x.bin")
    made.add_attachment("text,of,cells", subtype="csv", filename="t.csv")
    server.post(user, made.as_bytes())
    (found,) = fetch(alice, account(alice, server, user))
    assert "script" not in found["html"]
    assert "onclick" not in found["html"]
    assert [(one["name"], one["size"]) for one in found["attachments"]] == [("ünï/../x.bin", 8), ("t.csv", 14)]
    first, second = (alice.files.file(one["file"]) for one in found["attachments"])
    assert (first.name, second.mime) == ("ünï_.._x.bin", "text/csv")
    with alice.files.read(first) as content:
        assert content.read() == b"\x00\x01binary"
    assert isinstance(alice.files.at(f"/Mail/{user}"), Dir)


def test_flags_are_asked_for_by_their_modification_alone(alice: Instance, server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch):
    """RFC 7162: what did not change is not listed again, however many mails there are."""
    server.post(user, mail("One"), mail("Two"), mail("Three"))
    id = account(alice, server, user)
    fetch(alice, id)
    listed: list[int] = []
    told: list[int] = []

    class Watched(Folders):
        def known(self, uids: Sequence[int]) -> Iterator[Known]:
            listed.extend(uids)
            return super().known(uids)

        def changed(self, since: int) -> Iterator[Known]:
            for one in super().changed(since):
                told.append(one.uid)
                yield one

    monkeypatch.setattr(imap, "Folders", Watched)
    client = server.client(user)
    client.select("INBOX")
    client.store("2", "+FLAGS", r"(\Answered)")
    client.logout()
    server.post(user, mail("Four"))
    found = fetch(alice, id)
    assert [one["flags"] for one in found] == [[], ["\\Answered"], [], []]
    assert listed == [found[3]["uid"]]
    assert set(told) == {found[1]["uid"], found[3]["uid"]}
    assert fetch(alice, id) == found
    assert listed == [found[3]["uid"]]


@pytest.mark.parametrize("tls", ["tls", "starttls"])
def test_mails_come_over_tls(tmp_path: Path, server: Dovecot, user: str, tls: str):
    """RFC 8314 and 3501, section 6.2.1: by TLS from the start, and by STARTTLS; the certificate is looked at."""
    port = server.secure_port if tls == "tls" else server.port
    server.post(user, mail("Secret"))
    for authorities in (str(server.certificate), ""):
        config = Config(storage=Storage(path=tmp_path / f"known{bool(authorities)}"), outbound=trusting(authorities))
        stack = Stack(config, TABLE, now=Clock())
        alice = stack.create("alice.localhost")
        id = account(alice, server, user, tls=tls, port=port)
        if authorities:
            assert [one["subject"] for one in fetch(alice, id)] == ["Secret"]
        else:
            with pytest.raises(Unavailable, match="certificate verify failed"):
                fetch(alice, id)
        stack.close()


def trusting(authorities: str) -> Outbound:
    return Outbound(allow="127.0.0.1", authorities=authorities)


def test_a_server_that_is_spoken_to_in_the_wrong_way_is_away(alice: Instance, server: Dovecot, user: str):
    with pytest.raises(Unavailable):
        fetch(alice, account(alice, server, user, tls="tls", port=server.port))


def test_several_folders_are_kept_apart(alice: Instance, server: Dovecot, user: str):
    server.post(user, mail("In"))
    server.post(user, mail("Out"), folder="Sent")
    found = fetch(alice, account(alice, server, user, folders=["INBOX", "Sent"]))
    assert [(one["mailbox"], one["subject"]) for one in found] == [("INBOX", "In"), ("Sent", "Out")]


def test_a_folder_that_was_numbered_anew_keeps_its_mails_and_files(alice: Instance, server: Dovecot, user: str):
    server.post(user, mail("One"), mail("Two"), folder="Work")
    id = account(alice, server, user, folders=["Work"])
    first = fetch(alice, id)
    client = server.client(user)
    client.delete("Work")
    client.logout()
    server.post(user, mail("Two"), mail("One"), folder="Work")
    again = fetch(alice, id)
    assert [one["subject"] for one in again] == ["Two", "One"]
    assert again[0]["uidValidity"] != first[0]["uidValidity"]
    assert len(again) == 2


def test_twins_and_mails_without_an_id_are_numbered_anew_too(alice: Instance, server: Dovecot, user: str):
    """Each keeps its own words, and none of before stays behind."""
    plain = [f"Subject: Plain {number}\r\n\r\nbody {number}\r\n".encode() for number in range(3)]
    twin = mail("Twin")
    server.post(user, *plain, twin, twin, folder="Work")
    id = account(alice, server, user, folders=["Work"])
    fetch(alice, id)
    client = server.client(user)
    client.delete("Work")
    client.logout()
    server.post(user, mail("New"), b"Subject: New\r\n\r\nwithout an id\r\n", plain[2], twin, plain[0], folder="Work")
    again = fetch(alice, id)
    words = [(one["subject"], one["text"].strip()) for one in again]
    assert words == [("New", "Hello"), ("New", "without an id"), ("Plain 2", "body 2"), ("Twin", "Hello"), ("Plain 0", "body 0")]
    assert fetch(alice, id) == again


def test_a_folder_that_is_not_there_keeps_no_other_away(alice: Instance, server: Dovecot, user: str):
    server.post(user, mail("Entwurf"), folder="Entw&APw-rfe")
    id = account(alice, server, user, folders=["Nothing", "Entwürfe", "Entwürfe", 3, ""])
    with pytest.raises(JobFailed, match="no folder Nothing") as failed:
        fetch(alice, id)
    assert not failed.value.again
    (found,) = (stored.doc for stored in alice.docs.all("io.cozy.emails").rows)
    assert (found["mailbox"], found["subject"]) == ("Entwürfe", "Entwurf")


@pytest.mark.parametrize("folders", ["INBOX", "", [], None, 3])
def test_one_folder_may_be_named_alone_and_none_means_the_inbox(alice: Instance, server: Dovecot, user: str, folders: Any):
    server.post(user, mail("In"))
    assert [one["subject"] for one in fetch(alice, account(alice, server, user, folders=folders))] == ["In"]


def test_attachments_of_any_name_are_files(alice: Instance, server: Dovecot, user: str):
    made = EmailMessage()
    made["Subject"] = "Names"
    made.set_content("x")
    for name in ("..", ".", "請求書" * 60 + ".pdf", "x" * 300, "a/b.txt", ". "):
        made.add_attachment(b"x", maintype="application", subtype="pdf", filename=name)
    server.post(user, made.as_bytes())
    (found,) = fetch(alice, account(alice, server, user))
    names = [alice.files.file(one["file"]).name for one in found["attachments"]]
    assert [names[0], names[1], names[4], names[5]] == ["attachment", "attachment (2)", "a_b.txt", "attachment (3)"]
    assert names[2].startswith("請求書請求書")
    assert names[2].endswith(".pdf")
    assert names[3] == "x" * 255


HOSTILE = {
    "nested": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1000)) + b"\r\nx",
    "wrong charset": b"Subject: charset\r\nContent-Type: text/plain; charset=klingon\r\n\r\n\xff caf\xe9",
    "wrong transfer": b"Subject: base64\r\nContent-Transfer-Encoding: base64\r\n\r\n!!! not base64 %%%",
    "raw bytes": b"Subject: \xff\xfe\x80 raw\r\nFrom: \xe9 <\xe9@\xe9>\r\nDate: never\r\n\r\nbody",
    "no head": b"only a body\r\n",
    "long line": b"Subject: " + b"x" * 900_000 + b"\r\n\r\nbody",
    "many parts": b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 20_000,
    "many people": b"Subject: people\r\nTo: " + b", ".join(b"a%d@b.org" % n for n in range(20_000)) + b"\r\n\r\nx",
}


def test_hostile_mails_do_not_keep_others_away(alice: Instance, server: Dovecot, user: str):
    server.post(user, *HOSTILE.values(), mail("Afterwards"))
    found = fetch(alice, account(alice, server, user))
    assert len(found) == len(HOSTILE) + 1
    assert found[-1]["subject"] == "Afterwards"
    assert found[1]["text"] == "ÿ café"
    assert len(found[5]["subject"]) <= 2000
    assert len(found[7].get("to", [])) <= 200


def test_a_head_of_fifty_megabytes_is_fetched_in_part(alice: Instance, server: Dovecot, user: str):
    folder = server.folder / "mail" / user / "new"
    server.post(user, mail("First"))
    made = b"Subject: huge\r\n" + b"".join(b"X-Line-%d: %s\r\n" % (n, b"y" * 900) for n in range(58_000)) + b"\r\nbody"
    assert len(made) > 50 << 20
    file = folder / "1000000000.M1P1.host"
    file.write_bytes(made)
    os.chown(file, 65534, 65534)
    found = fetch(alice, account(alice, server, user))
    huge = next(one for one in found if one.get("subject") == "huge")
    assert "too large" in huge["error"]
    assert len(str(huge)) < 10_000


def test_the_mails_of_python_s_own_tests_come_in(alice: Instance, server: Dovecot, user: str):
    if not DATA.is_dir():
        pytest.skip("this Python has no tests of its own")
    mails = [path.read_bytes() for path in sorted(DATA.glob("msg_*.txt"))]
    assert len(mails) > 40
    server.post(user, *mails)
    found = fetch(alice, account(alice, server, user))
    assert len(found) == len(mails)
    assert sum("error" in one for one in found) == 0
    assert sum(bool(one.get("text") or one.get("attachments")) for one in found) > len(mails) * 0.8


# -- what goes wrong ------------------------------------------------------------------------------------------------------


def test_a_wrong_password_says_so(alice: Instance, server: Dovecot, user: str):
    id = account(alice, server, user)
    stored = alice.docs.get(Ref("io.cozy.accounts", id))
    clear = alice.account_secrets.open(dict(stored.doc))
    alice.docs.put("io.cozy.accounts", clear | {"auth": {"login": user, "password": "wrong"}})
    with pytest.raises(JobFailed, match="LOGIN_FAILED") as failed:
        fetch(alice, id)
    assert not failed.value.again


def test_an_account_that_is_gone_takes_its_trigger_along(alice: Instance):
    with pytest.raises(JobFailed) as failed:
        fetch(alice, "nowhere")
    assert failed.value.ends_trigger


@pytest.mark.parametrize("data", [{"host": ""}, {"host": 3}, {"tls": "maybe"}])
def test_an_account_without_a_server_is_one_failed_job(alice: Instance, server: Dovecot, user: str, data: dict[str, Any]):
    with pytest.raises(JobFailed, match="where its mails are"):
        fetch(alice, account(alice, server, user, **data))


def test_private_addresses_are_not_asked_unless_they_are_allowed(alice: Instance, server: Dovecot, user: str):
    with pytest.raises(Forbidden):
        fetch(alice, account(alice, server, user, host="10.255.255.1"))


def test_a_server_that_is_away_may_be_tried_again(alice: Instance, server: Dovecot, user: str):
    with pytest.raises(CozyError) as failed:
        fetch(alice, account(alice, server, user, port=1))
    assert failed.value.status >= 500
