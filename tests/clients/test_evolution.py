"""GNOME Evolution's data server (Debian's evolution-data-server), driven over its bus by `evolution/flow.py` as Evolution's window does.

Its discovery, and its work without sync tokens, are in `test_transcript_evolution.py`.
"""

import json
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.support.serving import Served
from tests.support.session import in_session

FLOW = Path(__file__).parent / "evolution" / "flow.py"


@pytest.mark.tool
def test_events_and_cards_go_both_ways(fresh: Served, tmp_path: Path):
    needs("dbus-run-session")
    needs("/usr/libexec/evolution-source-registry")
    done = in_session(tmp_path, ["/usr/bin/python3", str(FLOW), fresh.base, fresh.password()])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    steps = {"readonly": False, "made": True, "from the phone": True, "removed": True, "removed by the phone": True}
    assert found == {"calendar": steps | {"changed": True}, "book": steps}
