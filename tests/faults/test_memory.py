"""A server that works all day keeps its memory, descriptors and threads: two thousand requests leave no more than five hundred did."""

from pathlib import Path

from tests.support.client import Client
from tests.support.serving import Served, eventually
from tests.support.visitor import Visitor

DOCTYPE = "io.cozy.memory"
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{uid}\r\nN:;{uid};;;\r\nEND:VCARD\r\n"
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//memory//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20260101T090000Z\r\nRRULE:FREQ=WEEKLY\r\nSUMMARY:{uid}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
ASKING = '<propfind xmlns="DAV:"><prop><getetag/><sync-token/></prop></propfind>'
GROWTH = 8 << 20


def mixed(client: Client, visitor: Visitor, number: int) -> None:
    """Twenty-five requests by every door; what they make is gone at the end."""
    name = f"m{number % 7}"
    rev = client.api("PUT", f"/data/{DOCTYPE}/{name}", {"text": "x" * 2000}).json["rev"]
    client.api("GET", f"/data/{DOCTYPE}/{name}")
    client.api("GET", f"/data/{DOCTYPE}/_changes?include_docs=true&limit=20")
    client.api("POST", f"/data/{DOCTYPE}/_find", {"selector": {"_id": {"$gt": None}}})
    client.api("DELETE", f"/data/{DOCTYPE}/{name}?rev={rev}")
    for path, text in ((f"/sync/dav/me/contacts/{name}.vcf", CARD), (f"/sync/dav/me/calendar/{name}.ics", EVENT)):
        assert client.dav("PUT", path, text.format(uid=name)).status == 201
        client.dav("PROPFIND", path.rpartition("/")[0] + "/", ASKING, Depth="1")
        client.dav("GET", path)
        client.dav("DELETE", path)
    file = f"/sync/files/{name}.bin"
    assert client.dav("PUT", file, bytes(200_000)).status == 201
    client.dav("PROPFIND", "/sync/files/", ASKING, Depth="1")
    client.dav("GET", file)
    client.dav("MOVE", file, Destination=f"{file}2")
    client.api("GET", f"/files/download?Path=/{name}.bin2")
    client.dav("DELETE", f"{file}2")
    for wrong in ("/nothing", "/data/..", "/sync/files/none"):
        client.ask("GET", wrong)
    client.api("POST", f"/data/{DOCTYPE}/", b"{broken", Content_Type="application/json")
    visitor.get("/sync/")


def descriptors(server: Served) -> int:
    assert server.process is not None
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def test_two_thousand_requests_leave_no_more_than_five_hundred(fresh: Served):
    client = Client(fresh, scope=(DOCTYPE, "io.cozy.files"))
    visitor = Visitor(fresh).log_in()
    for number in range(20):
        mixed(client, visitor, number)
    memory, opened = fresh.memory(), descriptors(fresh)
    for number in range(60):
        mixed(client, visitor, number)
    assert fresh.memory() - memory < GROWTH
    eventually(lambda: descriptors(fresh) <= opened + 2)
    assert "Traceback" not in fresh.log()
