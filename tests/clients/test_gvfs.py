"""GVFS, through which Nautilus and every GNOME program open `dav://` addresses: the real one, driven by `gio`."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.support.client import Client
from tests.support.serving import Served
from tests.support.session import in_session
from tests.support.webdav import Device

SCRIPT = r"""
set -eu
cd "$HOME"
printf '%s\n' "$1" | gio mount "$2" >&2
url="$2/share"
echo one > one.txt
echo second > second.txt
gio mkdir "$url"
gio copy one.txt "$url/hello (1) é.txt"
gio cat "$url/hello (1) é.txt"
gio mkdir "$url/folder"
gio move "$url/hello (1) é.txt" "$url/folder/moved.txt"
gio copy "$url/folder/moved.txt" "$url/folder/copied.txt"
gio rename "$url/folder/copied.txt" "renamed #2.txt" >/dev/null
gio copy second.txt "$url/folder/moved.txt"
gio save "$url/folder/saved.txt" < second.txt
gio info -a etag::value "$url/folder/moved.txt" | grep etag
gio info -f "$url" | grep -q filesystem::used
gio copy one.txt "$url/gone.txt"
gio remove "$url/gone.txt"
gio list "$url/folder"
gio mount -u "$2"
"""


def play(served: Served, home: Path) -> subprocess.CompletedProcess[str]:
    address = served.base.replace("http://", "dav://me@") + "/sync/files"
    return in_session(home, ["sh", "-c", SCRIPT, "sh", served.password("--files", name="nautilus"), address])


@pytest.mark.tool
def test_nautilus_ways_of_working(fresh: Served, tmp_path: Path):
    needs("dbus-run-session")
    needs("gio")
    needs("/usr/libexec/gvfsd-dav")
    done = play(fresh, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    device = Device(Client(fresh, host=f"localhost:{fresh.port}"), "share")
    etag = device.get("/folder/moved.txt").etag
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines == ["one", f"etag::value: {etag}", "moved.txt", "renamed #2.txt", "saved.txt"]
    assert {name: device.get(f"/folder/{name}").body for name in ("moved.txt", "renamed #2.txt", "saved.txt")} == {
        "moved.txt": b"second\n",
        "renamed #2.txt": b"one\n",
        "saved.txt": b"second\n",
    }
    assert device.get("/gone.txt").status == 404
