"""cadaver, Debian's WebDAV shell: a session as a person types it."""

import os
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.support.client import Client
from tests.support.serving import Served, run
from tests.support.webdav import MOUNT

SESSION = """
mkcol cadaver
cd cadaver
put {here}/first.txt
put {here}/first.txt "name with space & (brackets).txt"
mput second.txt third.txt
ls
lock first.txt
discover first.txt
put {here}/second.txt first.txt
unlock first.txt
propset second.txt colour green
propget second.txt colour
chexec + third.txt
copy first.txt copied.txt
move second.txt moved.txt
mkcol folder
copy copied.txt folder/
get moved.txt {here}/back.txt
cat folder/copied.txt
delete third.txt
rmcol folder
ls
quit
"""


@pytest.mark.tool
def test_a_session_as_a_person_types_it(served: Served, tmp_path: Path):
    needs("cadaver")
    password = served.password("--files", name="cadaver")
    for name in ("first", "second", "third"):
        (tmp_path / f"{name}.txt").write_text(name)
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine localhost login me password {password}\n")
    netrc.chmod(0o600)
    command = ["cadaver", f"{served.base}{MOUNT}/"]
    done = run(command, input=SESSION.format(here=tmp_path), env=os.environ | {"HOME": str(tmp_path)}, cwd=tmp_path, timeout=60)
    said = done.stdout
    assert "failed" not in said, said
    assert "Value of colour is: green" in said
    assert (tmp_path / "back.txt").read_text() == "second"
    client = Client(served)
    listed = client.dav("PROPFIND", f"{MOUNT}/cadaver/", Depth="1").body.decode()
    for name in ("first.txt", "copied.txt", "moved.txt", "name%20with%20space%20&amp;%20(brackets).txt"):
        assert f"{MOUNT}/cadaver/{name}<" in listed
    for name in ("third.txt", "folder", "second.txt"):
        assert f"{MOUNT}/cadaver/{name}" not in listed
    assert client.dav("GET", f"{MOUNT}/cadaver/first.txt").body == b"second"
