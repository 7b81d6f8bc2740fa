"""Many DAV clients at once: each polls its calendar, syncs it, and changes something now and then; what they saw, and how long it took."""

import asyncio
import base64
import random
import re
import time
from dataclasses import dataclass, field

CALENDAR = "/sync/dav/me/{}/"
POLL = '<propfind xmlns="DAV:" xmlns:CS="http://calendarserver.org/ns/"><prop><CS:getctag/><sync-token/></prop></propfind>'
SYNC = "<sync-collection xmlns='DAV:'><sync-token>{}</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>"
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//load//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20260{month}{day:02d}T090000Z\r\nDTEND:20260{month}{day:02d}T100000Z\r\nSUMMARY:{text}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
_RESPONSE = re.compile(r"<D:response><D:href>([^<]*)</D:href>(.*?)</D:response>", re.DOTALL)
_TOKEN = re.compile(r"<D:sync-token>([^<]*)</D:sync-token>")
_ETAG = re.compile(r"&quot;(\w+)&quot;")


def entries(text: str) -> dict[str, str | None]:
    """Address -> ETag of what a multistatus has, None of what is gone."""
    found: dict[str, str | None] = {}
    for href, rest in _RESPONSE.findall(text):
        tag = _ETAG.search(rest)
        if "404 Not Found" in rest or tag is not None:
            found[href] = tag[1] if tag is not None else None
    return found


@dataclass
class Outcome:
    """What a run came to.

    :param times: moment and seconds of each request.
    :param errors: what should not have been answered.
    :param items: each client's listing at the end: address -> ETag.
    """

    times: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    items: list[dict[str, str]] = field(default_factory=list)

    def percentile(self, share: float, since: float = 0, until: float = float("inf")) -> float:
        """The time within which this share of the requests begun in a stretch was answered, in milliseconds."""
        taken = sorted(seconds for moment, seconds in self.times if since <= moment < until)
        return taken[min(len(taken) - 1, int(len(taken) * share))] * 1000 if taken else 0.0


class _Client:
    """One keep-alive connection."""

    def __init__(self, port: int, password: str, calendar: str, number: int, outcome: Outcome) -> None:
        self._port = port
        self._path = CALENDAR.format(calendar)
        self._head = f"Host: localhost:{port}\r\nAuthorization: Basic {base64.b64encode(f'me:{password}'.encode()).decode()}\r\n"
        self._number = number
        self._outcome = outcome
        self._chance = random.Random(number)
        self._token = ""
        self._mine = 0
        self.items: dict[str, str] = {}

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 26)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, method: str, path: str, body: str, expected: tuple[int, ...], **headers: str) -> str:
        began = time.monotonic()
        data = body.encode()
        own = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{own}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?i)content-length: (\d+)", head)
        text = (await self._reader.readexactly(int(length[1]) if length else 0)).decode()
        self._outcome.times.append((began, time.monotonic() - began))
        if int(head[9:12]) not in expected:
            self._outcome.errors.append(f"{method} {path}: {head[:200]} {text[:200]}")
        return text

    async def poll(self) -> None:
        await self.ask("PROPFIND", self._path, POLL, (207,), Depth="0")

    async def sync(self) -> None:
        text = await self.ask("REPORT", self._path, SYNC.format(self._token), (207,))
        for href, tag in entries(text).items():
            if tag is None:
                self.items.pop(href, None)
            else:
                self.items[href] = tag
        found = _TOKEN.findall(text)
        self._token = found[-1] if found else self._token

    async def change(self) -> None:
        mine = [href for href in self.items if f"/load-{self._number}-" in href]
        if mine and self._chance.random() < 0.3:
            await self.ask("DELETE", self._chance.choice(mine), "", (204, 404))
            return
        if mine and self._chance.random() < 0.5:
            href = self._chance.choice(mine)
        else:
            self._mine += 1
            href = f"{self._path}load-{self._number}-{self._mine}.ics"
        uid = href.rpartition("/")[2].removesuffix(".ics")
        body = EVENT.format(uid=uid, month=self._mine % 9 + 1, day=self._mine % 28 + 1, text=self._chance.random())
        await self.ask("PUT", href, body, (201, 204), Content_Type="text/calendar")

    async def run(self, until: float) -> None:
        await self.open()
        while time.monotonic() < until:
            await self.poll()
            await self.sync()
            if self._chance.random() < 0.2:  # two requests before it: one in ten changes something
                await self.change()


def run(port: int, password: str, calendar: str, *, clients: int, seconds: float) -> Outcome:
    """Let clients work for a time, then sync each a last time."""
    outcome = Outcome()

    async def play() -> None:
        all_of_them = [_Client(port, password, calendar, number, outcome) for number in range(clients)]
        until = time.monotonic() + seconds
        await asyncio.gather(*(one.run(until) for one in all_of_them))
        for one in all_of_them:
            await one.sync()
            await one.close()
        outcome.items = [one.items for one in all_of_them]

    asyncio.run(play())
    return outcome


def many_events(count: int, *, first: int = 0, text: str = "imported") -> str:
    """A calendar file of so many events."""
    inner = "".join(
        EVENT.format(uid=f"import-{number}", month=number % 9 + 1, day=number % 28 + 1, text=f"{text} {number}")
        .split("PRODID:-//load//EN\r\n")[1]
        .removesuffix("END:VCALENDAR\r\n")
        for number in range(first, first + count)
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//load//EN\r\n{inner}END:VCALENDAR\r\n"
