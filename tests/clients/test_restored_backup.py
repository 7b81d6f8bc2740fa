"""Yesterday's backup is restored under real clients: python-caldav by its token, vdirsyncer by its listing.

What was made after the backup is gone from the server by the operator's will. No client may take that for an order to remove what the
backup has, and what a client changed since comes back with its next sync where the client still has it.
"""

import re
from pathlib import Path
from typing import Any

import caldav
import pytest

from tests.support.client import Client
from tests.support.groupware import EVENT, NS
from tests.support.serving import Served
from tests.support.vdirsyncer import Syncer

CALENDAR = "/sync/dav/me/calendar/"
SYNC = f"<sync-collection {NS}><sync-token>{{}}</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>"


class Operator:
    """Who backs up a server with an event `old`, and takes it back there."""

    def __init__(self, served: Served, folder: Path) -> None:
        self.served, self.backup = served, folder / "backup.tar"
        self.client = Client(served, host=f"localhost:{served.port}")
        put(self.client, "old")

    def back_up(self) -> None:
        self.served.cli("backup", self.served.domain, str(self.backup))

    def restore(self) -> None:
        self.served.cli("restore", self.served.domain, str(self.backup), "--force")


@pytest.fixture
def operator(fresh: Served, tmp_path: Path) -> Operator:
    return Operator(fresh, tmp_path)


def put(client: Client, uid: str) -> None:
    assert client.dav("PUT", f"{CALENDAR}{uid}.ics", EVENT.format(uid=uid, day="20260310"), Content_Type="text/calendar").status == 201


def test_a_client_with_a_token_of_the_lost_future_lists_anew_and_removes_nothing(operator: Operator):
    client = operator.client
    operator.back_up()
    login: Any = {"username": "me", "password": client.password}
    with caldav.DAVClient(url=f"{client.served.base}/sync/dav/", **login) as library:  # type: ignore[operator]
        calendar = next(one for one in library.principal().calendars() if str(one.url).endswith(CALENDAR))
        put(client, "lost")
        known = calendar.objects_by_sync_token(load_objects=True)
        assert {one.icalendar_component["uid"] for one in known} == {"old", "lost"}
        operator.restore()
        refused = client.dav("REPORT", CALENDAR, SYNC.format(known.sync_token), Depth="0")
        assert (refused.status, b"<D:valid-sync-token/>" in refused.body) == (403, True)
        put(client, "after")
        now = calendar.objects_by_sync_token(load_objects=True)
        assert {one.icalendar_component["uid"] for one in now} == {"old", "after"}
        again = client.dav("REPORT", CALENDAR, SYNC.format(known.sync_token), Depth="0")
        assert again.status == 403  # numbers have passed it by, and it is still not of this past
        since = calendar.objects_by_sync_token(sync_token=now.sync_token)
        assert list(since) == []


def test_a_token_from_before_the_backup_goes_on(operator: Operator):
    client = operator.client
    operator.back_up()
    first = client.dav("REPORT", CALENDAR, SYNC.format(""), Depth="0").body.decode()
    found = re.search(r"<D:sync-token>([^<]*)</D:sync-token>", first)
    assert found is not None
    operator.restore()
    put(client, "after")
    then = client.dav("REPORT", CALENDAR, SYNC.format(found[1]), Depth="0")
    assert then.status == 207
    assert b"after.ics" in then.body
    assert b"404" not in then.body


def test_vdirsyncer_keeps_what_the_backup_has(operator: Operator, tmp_path: Path):
    client = operator.client
    folder = tmp_path / "laptop"
    folder.mkdir()
    laptop = Syncer(client.served, folder, "caldav")
    operator.back_up()  # with the laptop's password
    laptop("discover")
    laptop("sync")
    put(client, "lost")
    laptop("sync")
    operator.restore()
    laptop("sync")
    assert [text.split("UID:")[1].split("\r\n")[0] for text in laptop.files().values()] == ["old"]
    assert client.dav("GET", f"{CALENDAR}old.ics").status == 200
