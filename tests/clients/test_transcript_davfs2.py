"""davfs2's requests one by one, beside the real one in `test_davfs2.py`.

Written after its manual and src/webdav.c over neon, whose repository (savannah.nongnu.org) is out of reach here.
"""

import pytest

from tests.support.client import Client
from tests.support.filemanagers import Player, first_properties
from tests.support.serving import Served


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served)


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
