"""davfs2, the WebDAV file system of Linux: files used by name through a mount.

davfs2 1.6.1 of Debian 12 does not list folders on kernels from 6.x on ("Invalid argument", whatever the server): no listing here.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.support.client import Client
from tests.support.serving import Served, eventually, run
from tests.support.webdav import Device


@pytest.fixture
def mounted(fresh: Served, tmp_path: Path) -> Iterator[tuple[Device, Path]]:
    """A mount of a folder that has some files already, and the same by HTTP."""
    needs("mount.davfs")
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("mounting needs root and /dev/fuse")
    device = Device(Client(fresh), "davfs2")
    device.put("/there.txt", b"there")
    device.mkcol("/folder")
    device.put("/folder/inner.txt", b"inner")
    url, place = f"{fresh.base}{device.base}/", tmp_path / "mount"
    secrets, conf = tmp_path / "secrets", tmp_path / "davfs2.conf"
    secrets.write_text(f'"{url}" me {device.client.password}\n')
    secrets.chmod(0o600)
    conf.write_text(f"secrets {secrets}\nuse_locks 1\ndelay_upload 0\n")
    place.mkdir()
    done = run(["mount", "-t", "davfs", "-o", f"conf={conf},rw,uid=0,gid=0", url, str(place)], timeout=30)
    if done.returncode:
        pytest.skip(f"davfs2 cannot mount here: {done.stderr.strip()}")
    yield device, place
    if os.path.ismount(place):
        subprocess.run(["umount", str(place)], check=False, capture_output=True, timeout=60)


@pytest.mark.tool
def test_files_are_used_by_name_through_a_mount(mounted: tuple[Device, Path]):
    device, place = mounted
    assert (place / "there.txt").read_bytes() == b"there"
    assert (place / "folder" / "inner.txt").read_bytes() == b"inner"
    (place / "new.txt").write_bytes(b"new")
    eventually(lambda: device.get("/new.txt").body == b"new", within=20)
    (place / "made").mkdir()
    (place / "there.txt").rename(place / "made" / "moved.txt")
    assert device.get("/made/moved.txt").body == b"there"
    assert device.get("/there.txt").status == 404
    (place / "made" / "large.bin").write_bytes(bytes(range(256)) * 8192)
    (place / "folder" / "inner.txt").unlink()
    (place / "folder").rmdir()
    assert device.get("/folder").status == 404
    assert run(["umount", str(place)], timeout=60).returncode == 0
    assert device.get("/made/large.bin").body == bytes(range(256)) * 8192
    assert device.put("/new.txt", b"not locked any more").status == 204
