"""litmus, Debian's WebDAV test suite, against a served process."""

import os
import re
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.support.serving import Served, run


@pytest.mark.tool
@pytest.mark.parametrize("suite", ["basic", "copymove", "http", "props", "locks"])
def test_litmus_passes(served: Served, suite: str, tmp_path: Path):
    needs("litmus")
    password = served.password("--files")
    environ = os.environ | {"TESTS": suite}
    done = run(["litmus", f"{served.base}/sync/files/", "me", password], env=environ, cwd=tmp_path, timeout=120)
    summary = re.search(r"of (\d+) tests run: (\d+) passed, (\d+) failed", done.stdout)
    assert summary is not None, done.stdout + done.stderr
    assert summary.group(3) == "0", done.stdout
    assert int(summary.group(2)) >= 4
    assert "WARNING" not in done.stdout
    assert "skipped" not in done.stdout
