"""Windows' WebClient and Office over it: transcripts, for they run on Windows alone, and their source is closed.

Written after [MS-WDV] and the sequences that users quote in WsgiDAV's issues 15, 16 and 93; the names are made up.
"""

import pytest

from tests.support.client import Client
from tests.support.filemanagers import Player
from tests.support.serving import Served
from tests.support.webdav import MOUNT

WINDOWS = "Microsoft-WebDAV-MiniRedir/10.0.22631"
OFFICE = "Microsoft Office Word 2014"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served)


WINDOWS_LOCK = (
    '<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype><D:owner><D:href>DESKTOP\\alice</D:href></D:owner></D:lockinfo>"
)
WIN32 = (
    '<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>'
    "<Z:Win32CreationTime>Sat, 15 Jun 2024 08:30:00 GMT</Z:Win32CreationTime>"
    "<Z:Win32LastAccessTime>Sat, 15 Jun 2024 08:30:00 GMT</Z:Win32LastAccessTime>"
    "<Z:Win32LastModifiedTime>Sat, 15 Jun 2024 08:30:00 GMT</Z:Win32LastModifiedTime>"
    "<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>"
)


def test_windows_maps_a_drive_and_copies_a_file(alice: Client):
    """The WebClient service ([MS-WDV]; the sequences in WsgiDAV's issues 15, 16 and 93).

    It asks OPTIONS and PROPFIND of `/` and of each folder on the way; a file is made empty by PUT, locked, its HEAD is asked, the content
    comes by PUT with the token, PROPPATCH sets the times, UNLOCK ends. Any error of PROPPATCH is shown as a failed copy.
    """
    windows = Player(alice, WINDOWS, "windows")
    for path in ("///", "///sync/", f"//{MOUNT}/"):
        answer = windows(200, "OPTIONS", path, translate="f")
        assert {"1", "2"} <= {one.strip() for one in answer.headers["DAV"].split(",")}
        assert answer.headers["MS-Author-Via"] == "DAV"
        windows(207, "PROPFIND", path, b"", Depth="0", translate="f")
    windows(207, "PROPFIND", "", b"", Depth="0", translate="f")
    windows(207, "PROPFIND", "/", b"", Depth="1", translate="f")
    windows(404, "PROPFIND", "/Report.docx", b"", Depth="0", translate="f")
    windows(404, "PROPFIND", "/desktop.ini", b"", Depth="0", translate="f")
    windows(201, "PUT", "/Report.docx", b"", translate="f")
    lock = windows(
        200, "LOCK", "/Report.docx", WINDOWS_LOCK, Timeout="Second-3600", Content_Type='text/xml; charset="utf-8"', translate="f"
    )
    token = lock.headers["Lock-Token"]
    windows(207, "PROPPATCH", "/Report.docx", WIN32, If=f"({token})", Content_Type='text/xml; charset="utf-8"', translate="f")
    windows(200, "HEAD", "/Report.docx", translate="f")
    windows(204, "PUT", "/Report.docx", b"PK document", If=f"({token})", translate="f")
    patched = windows(207, "PROPPATCH", "/Report.docx", WIN32, If=f"({token})", Content_Type='text/xml; charset="utf-8"', translate="f")
    assert patched.body.count(b"HTTP/1.1 200 OK") == 1
    assert b"403" not in patched.body
    windows(204, "UNLOCK", "/Report.docx", Lock_Token=token, translate="f")
    listed = windows(207, "PROPFIND", "/Report.docx", b"", Depth="0", translate="f")
    assert b"Sat, 15 Jun 2024 08:30:00 GMT" in listed.body
    assert b"Win32FileAttributes" in listed.body
    assert windows(200, "GET", "/Report.docx", translate="f").body == b"PK document"
    windows(201, "MOVE", "/Report.docx", Destination=windows.url("/Report (1).docx"), Overwrite="F", translate="f")
    windows(201, "MKCOL", "/New folder", translate="f")
    windows(201, "MOVE", "/New folder", Destination=windows.url("/Renamed"), Overwrite="F", translate="f")
    windows(204, "DELETE", "/Renamed", translate="f")


def test_word_saves_a_document_on_a_share(alice: Client):
    """Office over the WebClient: lock the document, save beside it, and swap by MOVE ([MS-WDV]; the names are made up)."""
    word = Player(alice, OFFICE, "word")
    word(201, "PUT", "/Letter.docx", b"first")
    lock = word(200, "LOCK", "/Letter.docx", WINDOWS_LOCK, Timeout="Second-3600", Depth="0")
    token = lock.headers["Lock-Token"]
    word(201, "PUT", "/~$Letter.docx", b"owner file")
    word((200, 204), "PUT", "/Letter.docx", b"second", If=f"({token})")
    word(200, "LOCK", "/Letter.docx", None, If=f"({token})", Timeout="Second-3600")
    word(204, "UNLOCK", "/Letter.docx", Lock_Token=token)
    word(201, "PUT", "/A1B2C3D4.tmp", b"third")
    word(204, "MOVE", "/A1B2C3D4.tmp", Destination=word.url("/Letter.docx"), Overwrite="T")
    word(204, "DELETE", "/~$Letter.docx")
    assert word(200, "GET", "/Letter.docx").body == b"third"
