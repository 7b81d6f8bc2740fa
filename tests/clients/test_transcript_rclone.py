"""rclone with the dialects of ownCloud, which need a path that its real run in `test_rclone.py` does not have.

Read in rclone/rclone at 003471a, `backend/webdav/webdav.go`: `copyOrMove`, `SetModTime`, `extraHeaders`, `About`.
"""

import pytest

from tests.support.client import Client
from tests.support.filemanagers import Player, first_properties
from tests.support.serving import Served


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served)


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
    checked = update.replace("</lastmodified>", "</lastmodified>\n   <oc:checksums>\n\t<oc:checksum>{}</oc:checksum>\n   </oc:checksums>")
    checked = checked.replace('xmlns:D="DAV:">', 'xmlns:D="DAV:" xmlns:oc="http://owncloud.org/ns">', 1).replace("1600000000", "1500000000")
    mine, others = "MD5:8b1a9953c4611296a827abf8c47804d7", "MD5:00000000000000000000000000000000"
    assert b"409 Conflict" in rclone(207, "PROPPATCH", "/Hello.txt", checked.format(others)).body
    assert rclone(207, "PROPPATCH", "/Hello.txt", checked.format(mine)).body.count(b"200 OK") == 1
    assert rclone(200, "HEAD", "/Hello.txt").headers["Last-Modified"] == "Fri, 14 Jul 2017 02:40:00 GMT"
    copied = rclone(201, "COPY", "/Hello.txt", Destination=rclone.url("/Copy.txt"), Overwrite="T", X_OC_Mtime="1500000000")
    assert "X-OC-Mtime" not in copied.headers  # so it sets the time itself
    rclone(207, "PROPPATCH", "/Copy.txt", checked.format(mine))
    found = first_properties(rclone(207, "PROPFIND", "/Copy.txt", asked, Depth="0"))
    assert found["getlastmodified"] == "Fri, 14 Jul 2017 02:40:00 GMT"
