"""caldav-server-tester finds no feature broken, fragile or missing, but for scheduling, which is not announced."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.serving import Served, run

NOT_SERVED = {"scheduling"}
"""No invitations are sent, so none are announced: clients send their own."""

AS_EVERYWHERE = {"search.text.comp-type-optional", "url.encode-at.identity"}
"""What the program itself takes for the usual case: a filter is on VCALENDAR's own properties; `@` and `%40` are one name."""


@pytest.mark.timeout(180)
def test_no_feature_needs_a_work_around(fresh: Served):
    program = Path(sys.executable).parent / "caldav-server-tester"
    login = ["--caldav-url", f"{fresh.base}/sync/dav/", "--caldav-username", "me", "--caldav-password", fresh.password()]
    done = run([str(program), *login, "--format", "json", "--diff"], timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    bad = {name: one for name, one in found["features"].items() if one["support"] not in ("full", "unknown")}
    assert bad.keys() <= NOT_SERVED | AS_EVERYWHERE, bad
    worse = {name: one for name, one in found["diff"].items() if one["observed"] != "full" and one["observed"] != "unknown"}
    assert worse.keys() <= NOT_SERVED, worse
