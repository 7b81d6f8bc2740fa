"""macOS Finder (webdavfs): a transcript, for it runs on macOS alone.

Read in apple-oss-distributions/webdavfs at a239d37, `mount.tproj/webdav_network.c`: `network_mount`, `network_stat`, `network_statfs`,
`network_create`, `network_lock`, `network_fsync`, `network_open`, `network_rename`, `network_rmdir`, `network_delete`.
"""

import pytest

from tests.support.client import Client
from tests.support.filemanagers import Player, first_properties
from tests.support.serving import Served

FINDER = "WebDAVFS/3.0.0 (03008000) Darwin/23.4.0 (arm64)"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served)


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


FINDER_FRESH = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:getlastmodified/>\n<D:getetag/>\n'
    "</D:prop>\n</D:propfind>\n"
)
FINDER_EMPTY = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:resourcetype/>\n</D:prop>\n</D:propfind>\n'
)


def test_finder_mounts_and_copies_a_file(alice: Client):
    """It mounts read-only without class 2; a new file is made empty by PUT, locked, written by PUT with the token in If, its date and ETag
    asked, and unlocked; AppleDouble files go beside it. Lookups of what is not there have to be plain 404s. What it has in its cache is
    asked for again by date; a rename names no Overwrite and shows the lock it may have; a folder is looked into before it is removed."""
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
        fresh = first_properties(finder(207, "PROPFIND", name, FINDER_FRESH, Depth="0", Content_Type="text/xml"))
        finder(204, "UNLOCK", name, Lock_Token=f"<{token}>")
        finder(304, "GET", name, If_Modified_Since=fresh["getlastmodified"])
        finder((200, 206), "GET", name, If_Range=fresh["getlastmodified"], Range="bytes=1-")
    finder(207, "PROPFIND", "/", FINDER_STAT, Depth="1", Content_Type="text/xml")
    finder(206, "GET", "/Holiday.jpg", Range="bytes=0-1")
    lock = finder(200, "LOCK", "/Holiday.jpg", FINDER_LOCK, Depth="0", Timeout="Second-600", Content_Type='text/xml; charset="utf-8"')
    finder(201, "MOVE", "/Holiday.jpg", Destination=finder.url("/Holiday renamed.jpg"), If=f"({lock.headers['Lock-Token']})")
    finder(201, "PUT", "/Other.jpg", b"other")
    finder(204, "MOVE", "/Other.jpg", Destination=finder.url("/Holiday renamed.jpg"))
    assert finder(200, "GET", "/Holiday renamed.jpg").body == b"other"
    finder(204, "DELETE", "/._Holiday.jpg")
    finder(201, "MKCOL", "/untitled folder")
    finder(207, "PROPFIND", "/untitled folder", FINDER_EMPTY, Depth="1", Content_Type="text/xml")
    finder(204, "DELETE", "/untitled folder")
