"""The words of contents, whatever their encoding and however they are broken."""

import io

import pytest

from workers.texts import text


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"<p>caf\xe9", "café"),
        (b"<p>caf\xe9\r\n", "café"),
        ("Grüße".encode("utf-32"), "Grüße"),
        ("Grüße".encode("utf-16"), "Grüße"),
        ("Grüße, ü".encode()[:-1], "Grüße,"),
    ],
)
def test_the_last_letter_counts_in_every_encoding(raw: bytes, words: str):
    assert text([io.BytesIO(raw)], mime="text/html") == words


@pytest.mark.parametrize(
    ("mail", "words"),
    [
        (b"Subject: Charset\r\nContent-Type: text/plain; charset=klingon\r\n\r\ncaf\xe9", ["Charset", "café"]),
        (b"To: \xff\xfe <a@\r\nFrom: =?x?\r\nSubject: Broken\r\nContent-Type: text/html\r\n\r\n<b>body</b>", ["Broken", "body"]),
        (b"Subject: File\r\nContent-Type: application/pdf; name=bill.pdf\r\n\r\nx", ["File", "bill.pdf"]),
        (
            b"Subject: =?utf-8?q?h=C3=A9?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n"
            b"--b\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nhidden\r\n--b--",
            ["hé", "plain", "a.txt"],
        ),
    ],
)
def test_a_mail_that_is_not_as_it_should_be_has_its_words(mail: bytes, words: list[str]):
    found = text([io.BytesIO(mail)], mime="message/rfc822").split()
    assert [word for word in found if word in words] == words
    assert "hidden" not in found
