"""Nautilus over GVFS as it is today; Debian's own, a little older, runs for real in `test_gvfs.py`.

Read in GNOME/gvfs at bf0c67c, `daemon/gvfsbackenddav.c`: `try_mount_opts_cb`, `try_mount_stat_cb`, `propfind_request_new`,
`try_query_fs_info`, `try_create`, `try_replace`, `try_set_display_name`, `try_move`, `try_copy`, `message_add_destination_header`.
"""

import pytest

from tests.support.client import Client
from tests.support.filemanagers import Player
from tests.support.serving import Served
from tests.support.webdav import MOUNT, D, responses

GVFS = "gvfs/1.58.0"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served)


GVFS_ALL = (
    '<?xml version="1.0" encoding="utf-8" ?>\n <D:propfind xmlns:D="DAV:">\n  <D:prop>\n<D:creationdate/>\n<D:displayname/>\n'
    "<D:getcontentlength/>\n<D:getcontenttype/>\n<D:getetag/>\n<D:getlastmodified/>\n<D:resourcetype/>\n </D:prop>\n</D:propfind>"
)
GVFS_QUOTA = (
    '<?xml version="1.0" encoding="utf-8" ?>\n <D:propfind xmlns:D="DAV:">\n  <D:prop>\n<D:quota-available-bytes/>\n<D:quota-used-bytes/>\n'
    " </D:prop>\n</D:propfind>"
)


GVFS_STAT = (
    '<?xml version="1.0" encoding="utf-8" ?>\n <D:propfind xmlns:D="DAV:">\n  <D:prop>\n<D:resourcetype/>\n<D:getcontentlength/>\n'
    "  </D:prop>\n </D:propfind>"
)


def test_nautilus_opens_a_share_and_works_in_it(alice: Client):
    """Mounting asks OPTIONS and a listing of each folder upwards, until one is no WebDAV. The Destination has the user's name in it; a
    file is made by HEAD and PUT without a condition, and replaced by HEAD and PUT with the ETag that the editor saw."""
    nautilus = Player(alice, GVFS, "nautilus")

    def url(path: str) -> str:
        return nautilus.url(path).replace("http://", "http://me@")

    for place in ("/", f"//{MOUNT}/", "///sync/", "///"):
        assert nautilus(200, "OPTIONS", place).headers["DAV"]
        nautilus((207, 404), "PROPFIND", place, GVFS_STAT, Depth="1", Content_Type="application/xml")
    nautilus(207, "PROPFIND", "/", GVFS_QUOTA, Depth="0", Content_Type="application/xml")
    nautilus(404, "HEAD", "/notes (draft).txt")
    nautilus(201, "PUT", "/notes (draft).txt", b"one")
    listed = nautilus(207, "PROPFIND", "/", GVFS_ALL, Depth="1", Content_Type="application/xml")
    entry = responses(listed)[1]
    assert entry.findtext(f"{D}href", "").endswith("/notes%20(draft).txt")
    etag = entry.findtext(f"{D}propstat/{D}prop/{D}getetag", "")
    nautilus(200, "HEAD", "/notes (draft).txt", If_Match=etag)
    nautilus(204, "PUT", "/notes (draft).txt", b"two", If_Match=etag)
    nautilus(412, "HEAD", "/notes (draft).txt", If_Match=etag)
    nautilus(412, "PUT", "/notes (draft).txt", b"three", If_Match=etag)
    nautilus(201, "MOVE", "/notes (draft).txt", Destination=url("/notes.txt"), Overwrite="F")
    nautilus(201, "MKCOL", "/Untitled Folder")
    nautilus(201, "COPY", "/notes.txt", Destination=url("/Untitled Folder/notes.txt"), Overwrite="F")
    nautilus(412, "MOVE", "/notes.txt", Destination=url("/Untitled Folder/notes.txt"), Overwrite="F")
    nautilus(204, "COPY", "/notes.txt", Destination=url("/Untitled Folder/notes.txt"), Overwrite="T")
    nautilus(206, "GET", "/notes.txt", Range="bytes=0-0")
    nautilus(204, "DELETE", "/Untitled Folder")
    assert nautilus(200, "GET", "/notes.txt").body == b"two"
