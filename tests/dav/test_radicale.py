"""The mount is Radicale's application, and vobject never parses what a client has sent."""

from radicale.app import Application

from dav.radicale import application
from tests.support.client import Client
from tests.support.serving import Served


def test_the_application_is_radicale_s():
    assert isinstance(application(), Application)
    served = {name for name in dir(Application) if name.startswith("do_")} - {"do_OPTIONS"}
    assert served <= vars(type(application())).keys()


def test_no_zone_of_one_calendar_reaches_another(served: Served):
    """A lying time zone, sent first, leaves another tenant's times alone."""
    text = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTIMEZONE\r\nTZID:{zone}\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:{offset}\r\n"
        "TZOFFSETTO:{offset}\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
        "BEGIN:VEVENT\r\nUID:{zone}\r\nDTSTART;TZID={zone}:20260101T120000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    range_ = (
        '<C:calendar-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/><C:calendar-data>'
        '<C:expand start="20251231T000000Z" end="20260103T000000Z"/></C:calendar-data></prop><C:filter><C:comp-filter name="VCALENDAR">'
        '<C:comp-filter name="VEVENT"><C:time-range start="20251231T000000Z" end="20260103T000000Z"/></C:comp-filter>'
        "</C:comp-filter></C:filter></C:calendar-query>"
    )
    alice = Client(served, host=f"localhost:{served.port}")
    bob = Client(served, domain=f"bob.localhost:{served.port}", host=f"127.0.0.1:{served.port}")
    for zone in ("Our Own", "Europe/Paris"):
        for client, offset in ((alice, "+0900"), (bob, "-0500")):
            path = "/sync/dav/me/calendar/" + zone.replace("/", "-").replace(" ", "%20")
            assert client.dav("PUT", f"{path}.ics", text.format(zone=zone, offset=offset)).status == 201
    asked = [client.dav("REPORT", "/sync/dav/me/calendar/", range_, Depth="1").body for client in (alice, bob)]
    assert [b"DTSTART:20260101T030000Z" in body for body in asked] == [True, False]
    assert [b"DTSTART:20260101T170000Z" in body for body in asked] == [False, True]
    assert [b"DTSTART:20260101T110000Z" in body for body in asked] == [True, True]
    for client in (alice, bob):
        client.dav("DELETE", "/sync/dav/me/calendar/Our%20Own.ics")
        client.dav("DELETE", "/sync/dav/me/calendar/Europe-Paris.ics")
