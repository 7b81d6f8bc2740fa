"""Thunderbird: a transcript, for its calendar has no life without its window.

Read in mozilla/releases-comm-central at cf9726f: `calendar/providers/caldav/CalDavCalendar.sys.mjs` (`checkDavResourceType`,
`checkServerCaps`, `safeRefresh`, `getUpdatedItems`, `doAdoptItem`) and `modules/CalDavRequestHandlers.sys.mjs` (the sync, the
multigets, what resets a token).
"""

import pytest

from tests.support.client import Client
from tests.support.groupware import NS, ask, new, propfind, resources, token
from tests.support.serving import Served

CALENDAR = "/sync/dav/me/calendar/"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}")


def test_a_calendar_is_checked_and_synced_with_its_token(alice: Client):
    asked = (
        "<resourcetype/><owner/><current-user-principal/><current-user-privilege-set/>"
        "<supported-report-set/><C:supported-calendar-component-set/><CS:getctag/>"
    )
    about = propfind(alice, CALENDAR, asked)
    for part in ("<C:calendar/>", "<D:write/>", "<D:sync-collection/>", '<C:comp name="VEVENT"/>'):
        assert part in about
    assert "calendar-access" in alice.dav("OPTIONS", "/sync/dav/me/").headers["DAV"]
    propfind(alice, "/sync/dav/me/", "<principal-collection-set/>")
    asked = "<C:calendar-home-set/><C:calendar-user-address-set/><C:schedule-inbox-URL/><C:schedule-outbox-URL/>"
    assert "calendar-home-set" in propfind(alice, "/sync/dav/me/", asked)
    empty = f"<sync-collection {NS}><sync-token/><sync-level>1</sync-level><prop><getcontenttype/><getetag/></prop></sync-collection>"
    first = ask(alice, "REPORT", CALENDAR, empty, "1").body.decode()
    path, text = new(alice, CALENDAR)
    later = empty.replace("<sync-token/>", f"<sync-token>{token(first)}</sync-token>")
    changed = ask(alice, "REPORT", CALENDAR, later, "1").body.decode()
    assert list(resources(changed)) == [path]
    assert "text/calendar" in changed
    wanted = f"<C:calendar-multiget {NS}><prop><getetag/><C:calendar-data/></prop><href>{path}</href></C:calendar-multiget>"
    assert text in ask(alice, "REPORT", CALENDAR, wanted, "1").body.decode().replace("&#13;", "\r")
    bad = alice.dav("REPORT", CALENDAR, empty.replace("<sync-token/>", "<sync-token>old</sync-token>"), Depth="1")
    assert (bad.status, b"valid-sync-token" in bad.body) == (403, True)
    assert alice.dav("DELETE", path, If_Match=f'"{resources(changed)[path]}"').status == 204


def test_without_tokens_it_polls_the_ctag_and_lists(alice: Client):
    before = propfind(alice, CALENDAR, "<CS:getctag/>")
    path, _ = new(alice, CALENDAR)
    assert propfind(alice, CALENDAR, "<CS:getctag/>") != before
    listed = propfind(alice, CALENDAR, "<getcontenttype/><resourcetype/><getetag/>", "1")
    assert path in resources(listed)
    assert alice.dav("DELETE", path).status == 204
