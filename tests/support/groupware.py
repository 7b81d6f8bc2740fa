"""What transcripts of groupware programs share: requests with XML bodies, and what a program takes from the answers."""

import re
import uuid

from tests.support.client import Answer, Client

NS = (
    'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:A="urn:ietf:params:xml:ns:carddav" '
    'xmlns:CS="http://calendarserver.org/ns/" xmlns:I="http://apple.com/ns/ical/"'
)
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Test//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:{day}T090000Z\r\nDTEND:{day}T100000Z\r\nSUMMARY:{uid}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{uid}\r\nN:{uid};;;;\r\nEND:VCARD\r\n"


def ask(client: Client, method: str, path: str, body: str, depth: str = "0", **headers: str) -> Answer:
    """A request that is answered with a multistatus, after one redirect."""
    answer = client.dav(method, path, body, Depth=depth, Content_Type="text/xml; charset=utf-8", **headers)
    if answer.status == 301:
        return ask(client, method, re.sub(r"^https?://[^/]*", "", answer.headers["Location"]), body, depth, **headers)
    assert answer.status == 207, (answer.status, answer.body)
    return answer


def propfind(client: Client, path: str, props: str, depth: str = "0", **headers: str) -> str:
    """The body of an answer to a PROPFIND of these properties."""
    return ask(client, "PROPFIND", path, f"<propfind {NS}><prop>{props}</prop></propfind>", depth, **headers).body.decode()


def inner(text: str, name: str) -> str:
    """The address within a property."""
    found = re.search(rf"<\w+:{name}><D:href>([^<]*)</D:href>", text)
    assert found is not None, text
    return found.group(1)


def resources(text: str) -> dict[str, str]:
    """Address -> ETag of what is listed."""
    return dict(re.findall(r"<D:href>([^<]*\.(?:ics|vcf))</D:href><D:propstat><D:prop>.*?<D:getetag>&quot;(\w+)&quot;", text))


def token(text: str) -> str:
    """The sync token of an answer."""
    found = re.findall(r"<D:sync-token>([^<]*)</D:sync-token>", text)
    return str(found[-1])


def new(client: Client, collection: str, *, card: bool = False) -> tuple[str, str]:
    """Make an event or card of a name nobody has; its address and text."""
    uid = str(uuid.uuid4())
    path = f"{collection}{uid}.{'vcf' if card else 'ics'}"
    text = CARD.format(uid=uid) if card else EVENT.format(uid=uid, day="20260310")
    assert client.dav("PUT", path, text, If_None_Match="*", Content_Type="text/vcard" if card else "text/calendar").status == 201
    return path, text
