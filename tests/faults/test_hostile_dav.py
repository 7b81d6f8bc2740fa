"""Hostile cards, calendars and requests are answered within a second, in little memory, while others are served."""

import base64
import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cozyd.auth.values import Credentials
from cozyd.errors import Unauthorized
from tests.support.client import Answer, Client
from tests.support.raw import Raw
from tests.support.serving import Served
from tests.support.stack import Clock, open_stack

HOME = "/sync/dav/me/"
NS = 'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CR="urn:ietf:params:xml:ns:carddav"'
WITHIN = 1.0
MEMORY = 100e6


def event(*lines: str) -> str:
    inner = "\r\n".join(lines)
    head = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:bomb\r\nDTSTAMP:20260101T000000Z"
    return f"{head}\r\n{inner}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


def month(inner: str = "") -> str:
    data = f"<C:calendar-data>{inner}</C:calendar-data>"
    filter_ = '<C:comp-filter name="VEVENT"><C:time-range start="20300101T000000Z" end="20300201T000000Z"/></C:comp-filter>'
    return (
        f"<C:calendar-query {NS}><prop><getetag/>{data}</prop><C:filter>"
        f'<C:comp-filter name="VCALENDAR">{filter_}</C:comp-filter></C:filter></C:calendar-query>'
    )


RULES = [
    "FREQ=SECONDLY",
    "FREQ=SECONDLY;INTERVAL=1;COUNT=1000000000",
    "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=DAILY;BYDAY=MO;BYSETPOS=2",
    "FREQ=DAILY;COUNT=1000000000",
    "FREQ=YEARLY;BYYEARDAY=1,2,3;BYWEEKNO=53;BYDAY=MO;BYHOUR=1,2,3",
    "FREQ=DAILY;INTERVAL=999999999999999999999",
    "FREQ=DAILY;UNTIL=99991231T235959Z",
    "FREQ=MONTHLY;BYDAY=" + ",".join(f"{n}MO" for n in range(1, 6)) * 500,
    "FREQ=;;;=;COUNT=-5;BYDAY=XX",
    "FREQ=YEARLY;BYDAY=" + ",".join(f"{n}SU" for n in range(-53, 54)),
]


class Hostile:
    """A client that measures the server while it does harm."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.client = Client(served, host=f"localhost:{served.port}")
        self.client.dav("PROPFIND", HOME, Depth="0")
        self.before = served.memory()

    def __call__(self, method: str, path: str, body: str | bytes = "", **headers: str) -> Answer:
        began = self.served.cpu()
        answer = self.client.dav(method, path, body, **headers)
        assert self.served.cpu() - began < WITHIN, (method, path, answer.status)
        assert answer.status < 500 or answer.status == 507, (answer.status, answer.body[:300])
        return answer


@pytest.fixture
def hostile(served: Served) -> Hostile:
    return Hostile(served)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[:40])
def test_rules_that_never_end_or_never_match(served: Served, rule: str):
    hostile = Hostile(served)
    path = f"{HOME}calendar/bomb.ics"
    put = hostile("PUT", path, event("DTSTART:20200101T000000Z", "DTEND:20200101T000001Z", f"RRULE:{rule}"))
    assert put.status in (201, 403)
    for inner in ("", '<C:expand start="20300101T000000Z" end="20300201T000000Z"/>'):
        assert hostile("REPORT", f"{HOME}calendar/", month(inner), Depth="1").status in (207, 403)
    busy = f'<C:free-busy-query {NS}><C:time-range start="20200101T000000Z" end="20400101T000000Z"/></C:free-busy-query>'
    assert hostile("REPORT", f"{HOME}calendar/", busy, Depth="1").status == 200
    hostile.client.dav("DELETE", path)


def test_a_rule_that_gives_too_many_instances_is_refused_by_name(served: Served):
    hostile = Hostile(served)
    path = f"{HOME}calendar/many.ics"
    assert hostile("PUT", path, event("DTSTART:20000101T000000Z", "RRULE:FREQ=DAILY")).status == 201
    inner = '<C:calendar-data><C:expand start="20000101T000000Z" end="20400101T000000Z"/></C:calendar-data>'
    answer = hostile(
        "REPORT", f"{HOME}calendar/", f"<C:calendar-multiget {NS}><prop>{inner}</prop><href>{path}</href></C:calendar-multiget>"
    )
    assert (answer.status, b"<C:max-instances/>" in answer.body) == (403, True)
    hostile.client.dav("DELETE", path)


def _nested(depth: int) -> str:
    return "BEGIN:VCALENDAR\r\n" + "BEGIN:VEVENT\r\n" * depth + "END:VEVENT\r\n" * depth + "END:VCALENDAR\r\n"


TEXTS: list[tuple[str, Callable[[], str | bytes]]] = [
    ("a line of 10 MB", lambda: event("DTSTART:20260101T000000Z", "SUMMARY:" + "x" * 10_000_000)),
    ("folds of 10 MB", lambda: event("DTSTART:20260101T000000Z", "SUMMARY:" + "\r\n x" * 2_500_000)),
    ("2 million empty lines", lambda: "BEGIN:VCALENDAR\r\n" + "\r\n" * 2_000_000),
    ("200,000 lines", lambda: event("DTSTART:20260101T000000Z", *["X:1"] * 180_000)),
    ("100,000 dates", lambda: event("DTSTART:20260101T000000Z", "RDATE:" + ",".join(["20260102T000000Z"] * 58_000))),
    ("10,000 levels", lambda: _nested(10_000)),
    ("quotes", lambda: event("DTSTART:20260101T000000Z", "X;" + 'P="' * 300_000)),
    ("parameters", lambda: event("DTSTART:20260101T000000Z", "X" + ";A=1" * 200_000 + ":1")),
    ("backslashes", lambda: event("DTSTART:20260101T000000Z", "SUMMARY:" + "\\" * 900_000)),
    ("NUL and no UTF-8", lambda: b"BEGIN:VCALENDAR\r\nX:\x00\xff\xfe\r\nEND:VCALENDAR\r\n"),
    (
        "20,000 alarms",
        lambda: event("DTSTART:20260101T000000Z", *["BEGIN:VALARM\r\nTRIGGER:-PT1M\r\nACTION:DISPLAY\r\nEND:VALARM"] * 14_000),
    ),
]


@pytest.mark.parametrize(("name", "make"), TEXTS, ids=[name for name, _ in TEXTS])
def test_texts_made_to_cost(served: Served, name: str, make: Callable[[], str | bytes]):
    hostile, path = Hostile(served), f"{HOME}calendar/cost.ics"
    answer = hostile("PUT", path, make())
    assert answer.status in (201, 403, 413), answer.body[:200]
    if answer.status == 201:
        hostile("REPORT", f"{HOME}calendar/", month(), Depth="1")
    hostile.client.dav("DELETE", path)


def _entity(number: int) -> str:
    return "<!ENTITY a{} '{}'>".format(number, f"&a{number - 1};" * 10)


BODIES: list[tuple[str, Callable[[], str]]] = [
    (
        "entities",
        lambda: f"<!DOCTYPE x [{''.join(_entity(number) for number in range(1, 20))}]><propfind {NS}>&a19;</propfind>",
    ),
    (
        "an external entity",
        lambda: '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><propfind xmlns="DAV:"><prop>&a;</prop></propfind>',
    ),
    ("2 million siblings", lambda: f"<propfind {NS}><prop>{'<a/>' * 2_000_000}</prop></propfind>"),
    ("200,000 levels", lambda: f"<propfind {NS}>{'<a>' * 200_000}"),
    ("an attribute of 8 MB", lambda: f'<propfind {NS} a="{"x" * 8_000_000}"><prop><getetag/></prop></propfind>'),
]


@pytest.mark.parametrize(("name", "make"), BODIES, ids=[name for name, _ in BODIES])
def test_requests_made_to_cost(hostile: Hostile, name: str, make: Callable[[], str]):
    for method in ("PROPFIND", "REPORT", "PROPPATCH"):
        answer = hostile(method, f"{HOME}calendar/", make(), Depth="0")
        assert answer.status in (400, 413) or (answer.status in (207, 403) and name.startswith("an attribute")), (method, answer.status)
        assert b"root:" not in answer.body
    assert hostile.served.memory() - hostile.before < MEMORY


def test_a_filter_of_many_conditions_is_refused(served: Served):
    inner = '<CR:prop-filter name="FN"><CR:text-match>x</CR:text-match></CR:prop-filter>' * 5_000
    answer = Hostile(served)(
        "REPORT", f"{HOME}contacts/", f"<CR:addressbook-query {NS}><CR:filter>{inner}</CR:filter></CR:addressbook-query>"
    )
    assert (answer.status, b"valid-filter" in answer.body) == (403, True)


def test_a_flood_of_listings_leaves_others_served(hostile: Hostile):
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{n}\r\nFN:{n}\r\nN:{n};;;;\r\nEND:VCARD\r\n"
    many = "".join(card.format(n=number) for number in range(500))
    assert hostile.client.dav("POST", f"{HOME}contacts/", many, Content_Type="text/vcard").status == 207
    stop, errors = threading.Event(), []

    def flood() -> None:
        while not stop.is_set():
            answer = hostile.client.dav("PROPFIND", f"{HOME}contacts/", Depth="1")
            if answer.status != 207:
                errors.append(answer.status)

    threads = [threading.Thread(target=flood) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        times = []
        for _ in range(20):
            began = time.monotonic()
            assert hostile.client.dav("PROPFIND", f"{HOME}calendar/", Depth="0").status == 207
            times.append(time.monotonic() - began)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert max(times) < 30
    assert hostile.served.memory() - hostile.before < MEMORY


def _temporary(served: Served) -> list[int]:
    """Sizes of the files that the server has open and that have no name, or one among the contents."""
    assert served.process is not None
    sizes = []
    for opened in Path(f"/proc/{served.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            about = opened.stat()
            if stat.S_ISREG(about.st_mode) and (about.st_nlink == 0 or "/blobs/" in os.readlink(opened)):
                sizes.append(about.st_size)
    return [size for size in sizes if size > 0]


@pytest.mark.parametrize("size", [200_000, 900_000, 3_000_000])
@pytest.mark.parametrize("path", [f"{HOME}contacts/x.vcf", "/sync/files/x.bin"])
def test_no_body_of_a_stranger_reaches_a_disk(served: Served, path: str, size: int):
    basic = base64.b64encode(b"me:wrong").decode()
    head = f"PUT {path} HTTP/1.1\nHost: localhost:{served.port}\nAuthorization: Basic {basic}\nContent-Length: {size}\n\n"
    with Raw(served.port, timeout=20) as connection:
        connection.send(head)
        with contextlib.suppress(OSError):  # it may hang up on what nobody reads
            connection.send(b"x" * (size - 1))
        assert connection.reply().status == 401  # before the last byte
        assert _temporary(served) == []
    assert "Traceback" not in served.log()


def test_a_failed_log_in_costs_one_look_up(tmp_path: Path):
    stack = open_stack(tmp_path / "data", Clock())
    auth = stack.create("alice.localhost:1").auth
    auth.devices.add("phone", ("contacts",), read_only=False)
    shown = [Credentials(basic=("me", f"wrong-{number}"), address="192.0.2.1") for number in range(300)]
    costs = []
    for one in shown:
        began = time.thread_time()
        with pytest.raises(Unauthorized):
            auth.identify(one)
        costs.append(time.thread_time() - began)
    stack.close()
    assert sorted(costs)[len(costs) // 2] < 0.0002
