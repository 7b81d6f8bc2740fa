"""caldav-server-tester finds no feature broken, fragile or missing, but for scheduling, which is not announced."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.serving import Served, run

NOT_SERVED = {"scheduling"}
"""No invitations are sent, so none are announced: clients send their own."""


@pytest.mark.timeout(180)
def test_no_feature_needs_a_work_around(fresh: Served):
    program = Path(sys.executable).parent / "caldav-server-tester"
    login = ["--caldav-url", f"{fresh.base}/sync/dav/", "--caldav-username", "me", "--caldav-password", fresh.password()]
    done = run([str(program), *login, "--format", "json", "--diff"], timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    print(json.dumps(found, indent=1)[:3000])
    assert found
