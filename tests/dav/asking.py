"""Requests of calendar and contact clients, and what is read out of the answers."""

import re
from itertools import count

from tests.support.client import Answer, Client

HOME = "/sync/dav/me/"
NS = (
    'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CR="urn:ietf:params:xml:ns:carddav" '
    'xmlns:CS="http://calendarserver.org/ns/" xmlns:I="http://apple.com/ns/ical/"'
)
numbers = count()


def event(uid: str, *lines: str, kind: str = "VEVENT") -> str:
    inner = "\r\n".join(lines)
    return (
        f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:{kind}\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\n{inner}\r\n"
        f"END:{kind}\r\nEND:VCALENDAR\r\n"
    )


def card(uid: str, *lines: str) -> str:
    return f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\n" + "".join(f"{line}\r\n" for line in lines) + "END:VCARD\r\n"


def put(alice: Client, path: str, text: str) -> Answer:
    answer = alice.dav("PUT", path, text)
    assert answer.status in (201, 204), answer.body
    return answer


def propfind(alice: Client, path: str, props: str, depth: str = "0", **headers: str) -> Answer:
    return alice.dav("PROPFIND", path, f"<propfind {NS}><prop>{props}</prop></propfind>", Depth=depth, **headers)


def report(alice: Client, path: str, name: str, inner: str, **headers: str) -> Answer:
    return alice.dav("REPORT", path, f"<{name} {NS}>{inner}</{name}>", Depth="1", **headers)


def hrefs(answer: Answer) -> list[str]:
    assert answer.status == 207, answer.body
    return sorted(href.rpartition("/")[2].rpartition(".")[0] for href in re.findall(r"<D:href>([^<]*)</D:href>", answer.body.decode()))


def query(alice: Client, path: str, inner: str, more: str = "") -> list[str]:
    filter_ = f'<C:filter><C:comp-filter name="VCALENDAR">{inner}</C:comp-filter></C:filter>{more}'
    return hrefs(report(alice, path, "C:calendar-query", f"<prop><getetag/></prop>{filter_}"))


def search(alice: Client, path: str, inner: str, test: str = "anyof") -> list[str]:
    return hrefs(report(alice, path, "CR:addressbook-query", f'<prop><getetag/></prop><CR:filter test="{test}">{inner}</CR:filter>'))


def data(answer: Answer) -> str:
    found = re.findall(r"<(?:C:calendar|CR:address)-data>(.*?)</", answer.body.decode(), re.DOTALL)
    return "".join(found).replace("&#13;", "\r").replace("&lt;", "<").replace("&amp;", "&")


def precondition(answer: Answer, name: str) -> bool:
    return answer.status in (403, 507) and re.search(rf"<(D|C|CR):{name}/?>", answer.body.decode()) is not None
