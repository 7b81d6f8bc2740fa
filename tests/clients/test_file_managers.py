"""Request sequences of file managers that cannot run here, written by hand after the source each names; none is a recording.

Headers and bodies are theirs in what a server looks at; each step says which statuses let the client go on.
"""

import urllib.parse
from collections.abc import Iterator

import pytest

from tests.support.client import Answer, Client
from tests.support.serving import Served
from tests.support.webdav import MOUNT, D, responses

FINDER = "WebDAVFS/3.0.0 (03008000) Darwin/23.4.0 (arm64)"
WINDOWS = "Microsoft-WebDAV-MiniRedir/10.0.22631"
GVFS = "gvfs/1.54.0"
OFFICE = "Microsoft Office Word 2014"


class Player:
    """Sends a client's requests with its name.

    :param agent: User-Agent.
    """

    def __init__(self, client: Client, agent: str, folder: str) -> None:
        self.client = client
        self.agent = agent
        self.base = f"{MOUNT}/{folder}"
        client.dav("MKCOL", self.base)

    def __call__(self, expected: int | tuple[int, ...], method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
        """A request below the folder, or at an absolute path that begins with `//`."""
        target = path[1:] if path.startswith("//") else self.base + urllib.parse.quote(path)
        answer = self.client.dav(method, target, body, User_Agent=self.agent, **headers)
        wanted = expected if isinstance(expected, tuple) else (expected,)
        assert answer.status in wanted, (method, path, answer.status, answer.body)
        return answer

    def url(self, path: str) -> str:
        return f"http://{self.client.host}{self.base}{urllib.parse.quote(path)}"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served)


@pytest.fixture(autouse=True)
def _no_surprise(alice: Client) -> Iterator[None]:
    yield
    assert "Traceback" not in alice.served.log()


def first_properties(answer: Answer) -> dict[str, str]:
    """Name -> text of the first response's properties."""
    found = responses(answer)[0].find(f"{D}propstat/{D}prop")
    assert found is not None
    return {one.tag.removeprefix(D): "".join(one.itertext()) or ",".join(child.tag for child in one) for one in found}


# -- macOS Finder -------------------------------------------------------------------------------------------------------

FINDER_STAT = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:getlastmodified/>\n<D:getcontentlength/>\n'
    "<D:creationdate/>\n<D:resourcetype/>\n</D:prop>\n</D:propfind>\n"
)
FINDER_ROOT = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:quota-available-bytes/>\n<D:quota-used-bytes/>\n'
    "<D:quota/>\n<D:quotaused/>\n</D:prop>\n</D:propfind>\n"
)
FINDER_LOCK = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:lockinfo xmlns:D="DAV:">\n<D:lockscope><D:exclusive/></D:lockscope>\n<D:locktype><D:write/>'
    "</D:locktype>\n<D:owner>\n<D:href>http://www.apple.com/webdav_fs/</D:href>\n</D:owner>\n</D:lockinfo>\n"
)


def test_finder_mounts_and_copies_a_file(alice: Client):
    """Apple's webdavfs (opensource.apple.com/source/webdavfs, webdav_network.c: `network_mount`, `network_lookup`, `network_open`...).

    It mounts read-only without class 2; a new file is made empty by PUT, locked, written by PUT with the token in If, and unlocked;
    AppleDouble files go beside it. Lookups of what is not there have to be plain 404s.
    """
    finder = Player(alice, FINDER, "finder")
    options = finder(200, "OPTIONS", "/")
    assert "2" in options.headers["DAV"]
    finder(207, "PROPFIND", "/", FINDER_STAT, Depth="0", Content_Type="text/xml")
    quota = first_properties(finder(207, "PROPFIND", "/", FINDER_ROOT, Depth="0", Content_Type="text/xml"))
    assert quota["quota-used-bytes"].isdigit()
    for name in ("/.DS_Store", "/._.", "/.metadata_never_index", "/Holiday.jpg", "/._Holiday.jpg"):
        finder(404, "PROPFIND", name, FINDER_STAT, Depth="0", Content_Type="text/xml")
    for name, content in (
        ("/Holiday.jpg", b"\xff\xd8photo"),
        ("/._Holiday.jpg", b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"),
        ("/.DS_Store", b"\0\0\0\1Bud1"),
    ):
        finder(201, "PUT", name, b"")
        lock = finder(200, "LOCK", name, FINDER_LOCK, Depth="0", Timeout="Second-600", Content_Type='text/xml; charset="utf-8"')
        token = lock.body.decode().partition("<D:locktoken><D:href>")[2].partition("<")[0]
        assert lock.headers["Lock-Token"] == f"<{token}>"
        finder(423, "PUT", name, b"without the token")
        finder(204, "PUT", name, content, If=f"(<{token}>)", X_Expected_Entity_Length=str(len(content)))
        finder(200, "LOCK", name, None, If=f"(<{token}>)", Timeout="Second-600")
        found = first_properties(finder(207, "PROPFIND", name, FINDER_STAT, Depth="0"))
        assert found["getcontentlength"] == str(len(content))
        finder(204, "UNLOCK", name, Lock_Token=f"<{token}>")
    finder(207, "PROPFIND", "/", FINDER_STAT, Depth="1", Content_Type="text/xml")
    finder(206, "GET", "/Holiday.jpg", Range="bytes=0-1")
    finder(201, "MOVE", "/Holiday.jpg", Destination=finder.url("/Holiday renamed.jpg"), Overwrite="F")
    finder(204, "DELETE", "/._Holiday.jpg")
    finder(201, "MKCOL", "/untitled folder")
    finder(204, "DELETE", "/untitled folder")


# -- Windows Explorer ---------------------------------------------------------------------------------------------------

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


# -- GNOME: GVFS and Nautilus -------------------------------------------------------------------------------------------

GVFS_ALL = (
    '<?xml version="1.0" encoding="utf-8" ?>\n <D:propfind xmlns:D="DAV:">\n  <D:prop>\n<D:creationdate/>\n<D:displayname/>\n'
    "<D:getcontentlength/>\n<D:getcontenttype/>\n<D:getetag/>\n<D:getlastmodified/>\n<D:resourcetype/>\n </D:prop>\n</D:propfind>"
)
GVFS_QUOTA = (
    '<?xml version="1.0" encoding="utf-8" ?>\n <D:propfind xmlns:D="DAV:">\n  <D:prop>\n<D:quota-available-bytes/>\n<D:quota-used-bytes/>\n'
    " </D:prop>\n</D:propfind>"
)


def test_nautilus_opens_a_share_and_works_in_it(alice: Client):
    """GVFS's daemon/gvfsbackenddav.c: `do_mount` (OPTIONS, then PROPFIND upwards until a 4xx), `do_enumerate`, `try_query_fs_info`,
    `try_create`, `do_replace`, `do_set_display_name`, `do_move`, `do_copy`, `do_delete`.

    Destination is absolute with the host it used; replacing sends If-Match with the ETag of the listing.
    """
    nautilus = Player(alice, GVFS, "nautilus")
    assert "1" in nautilus(200, "OPTIONS", "/").headers["DAV"]
    nautilus(207, "PROPFIND", "/", GVFS_ALL, Depth="0", Content_Type="application/xml")
    for parent in (f"//{MOUNT}", "///sync", "///"):
        nautilus((207, 404), "PROPFIND", parent, GVFS_ALL, Depth="0", Content_Type="application/xml")
    nautilus(207, "PROPFIND", "/", GVFS_QUOTA, Depth="0", Content_Type="application/xml")
    nautilus(404, "HEAD", "/notes (draft).txt")
    nautilus(201, "PUT", "/notes (draft).txt", b"one", If_None_Match="*")
    nautilus(412, "PUT", "/notes (draft).txt", b"again", If_None_Match="*")
    listed = nautilus(207, "PROPFIND", "/", GVFS_ALL, Depth="1", Content_Type="application/xml")
    entry = responses(listed)[1]
    assert entry.findtext(f"{D}href", "").endswith("/notes%20(draft).txt")
    etag = entry.findtext(f"{D}propstat/{D}prop/{D}getetag", "")
    nautilus(204, "PUT", "/notes (draft).txt", b"two", If_Match=etag)
    nautilus(412, "PUT", "/notes (draft).txt", b"three", If_Match=etag)
    nautilus(201, "MOVE", "/notes (draft).txt", Destination=nautilus.url("/notes.txt"), Overwrite="F")
    nautilus(201, "MKCOL", "/Untitled Folder")
    nautilus(201, "COPY", "/notes.txt", Destination=nautilus.url("/Untitled Folder/notes.txt"), Overwrite="F")
    nautilus(412, "COPY", "/notes.txt", Destination=nautilus.url("/Untitled Folder/notes.txt"), Overwrite="F")
    nautilus(206, "GET", "/notes.txt", Range="bytes=0-0")
    nautilus(204, "DELETE", "/Untitled Folder")
    assert nautilus(200, "GET", "/notes.txt").body == b"two"


# -- davfs2 -------------------------------------------------------------------------------------------------------------

DAVFS_DIR = (
    '<?xml version="1.0" encoding="utf-8"?>\n<propfind xmlns="DAV:"><prop><resourcetype xmlns="DAV:"/><getcontentlength xmlns="DAV:"/>'
    '<getetag xmlns="DAV:"/><getlastmodified xmlns="DAV:"/><executable xmlns="http://apache.org/dav/props/"/></prop></propfind>\n'
)
DAVFS_LOCK = (
    '<?xml version="1.0" encoding="utf-8"?>\n<lockinfo xmlns=\'DAV:\'>\n <lockscope><exclusive/></lockscope>\n<locktype><write/></locktype>'
    "<owner>me</owner>\n</lockinfo>\n"
)


def test_davfs2_makes_and_changes_a_file(alice: Client):
    """davfs2's src/webdav.c (`dav_get_collection`, `dav_lock`, `dav_put`, `dav_head`, `dav_set_execute`, `dav_unlock`) over neon.

    A new file is locked before it exists; PUT is followed by HEAD for the ETag, which the next PUT sends as If-Match.
    """
    davfs = Player(alice, "davfs2/1.6.1 neon/0.32.4", "davfs2-transcript")
    davfs(200, "OPTIONS", "/")
    davfs(207, "PROPFIND", "/", DAVFS_DIR, Depth="1", Content_Type="application/xml")
    lock = davfs(201, "LOCK", "/new.sh", DAVFS_LOCK, Depth="0", Timeout="Second-1800", Content_Type="application/xml")
    token = lock.headers["Lock-Token"]
    condition = f"<{davfs.url('/new.sh')}> ({token})"
    davfs(204, "PUT", "/new.sh", b"#!/bin/sh\n", If=condition)
    etag = davfs(200, "HEAD", "/new.sh").etag
    execute = (
        '<?xml version="1.0" encoding="utf-8" ?>\n<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>'
        '<executable xmlns="http://apache.org/dav/props/">T</executable></D:prop></D:set></D:propertyupdate>\n'
    )
    davfs(207, "PROPPATCH", "/new.sh", execute, If=condition, Content_Type="application/xml")
    found = first_properties(davfs(207, "PROPFIND", "/new.sh", DAVFS_DIR, Depth="0"))
    assert found["{http://apache.org/dav/props/}executable"] == "T"
    davfs(412, "PUT", "/new.sh", b"stale", If=condition, If_Match=etag)
    etag = davfs(200, "HEAD", "/new.sh").etag
    davfs(204, "PUT", "/new.sh", b"#!/bin/sh\ntrue\n", If=condition, If_Match=etag)
    davfs(204, "UNLOCK", "/new.sh", Lock_Token=token)
    davfs(200, "GET", "/new.sh", If_None_Match=etag)


# -- rclone with the ownCloud dialect -----------------------------------------------------------------------------------


def test_rclone_with_the_dialect_of_owncloud_keeps_times_and_checksums(alice: Client):
    """rclone's backend/webdav/webdav.go with `vendor = owncloud`: X-OC-Mtime and OC-Checksum at PUT, checksums at PROPFIND,
    PROPPATCH of `lastmodified` in seconds to set a time without the content."""
    rclone = Player(alice, "rclone/v1.60.1", "rclone")
    sha1 = "SHA1:f7ff9e8b7bb2e09b70935a5d785e0cc5d9d0abf0"
    rclone(201, "PUT", "/Hello.txt", b"Hello", X_OC_Mtime="1700000000", OC_Checksum=sha1)
    asked = (
        '<?xml version="1.0"?>\n<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns">\n'
        " <d:prop>\n  <d:displayname /><d:getlastmodified /><d:getcontentlength /><d:resourcetype /><d:getcontenttype />"
        "<oc:checksums /><oc:permissions />\n"
        " </d:prop>\n</d:propfind>"
    )
    found = first_properties(rclone(207, "PROPFIND", "/Hello.txt", asked, Depth="0"))
    assert found["{http://owncloud.org/ns}checksums"] == "MD5:8b1a9953c4611296a827abf8c47804d7"
    assert found["getlastmodified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    update = (
        '<?xml version="1.0" encoding="utf-8" ?>\n<D:propertyupdate xmlns:D="DAV:">\n <D:set>\n  <D:prop>\n   '
        "<lastmodified xmlns='DAV:'>1600000000</lastmodified>\n  </D:prop>\n </D:set>\n</D:propertyupdate>"
    )
    rclone(207, "PROPPATCH", "/Hello.txt", update)
    assert rclone(200, "HEAD", "/Hello.txt").headers["Last-Modified"] == "Sun, 13 Sep 2020 12:26:40 GMT"
