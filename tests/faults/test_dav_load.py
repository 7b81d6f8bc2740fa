"""Many devices that sync one calendar, alone and while a large file is imported: nobody sees an error, and all end with the same."""

import threading
import time

import pytest

from tests.support import davload
from tests.support.client import Client
from tests.support.serving import Served, eventually


def listed(client: Client, calendar: str) -> dict[str, str | None]:
    """What the server lists: address -> ETag."""
    body = '<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'
    text = client.dav("PROPFIND", davload.CALENDAR.format(calendar), body, Depth="1").body.decode()
    return {href: tag for href, tag in davload.entries(text).items() if href.endswith(".ics")}


def settle(client: Client, outcome: davload.Outcome) -> None:
    """Nobody was told an error, and all have what the server has."""
    assert outcome.errors == []
    assert outcome.times
    here = listed(client, "calendar")
    assert all(items == here for items in outcome.items)


class Import(threading.Thread):
    """A file that is added to another calendar meanwhile."""

    def __init__(self, client: Client, text: str) -> None:
        super().__init__()
        self.client = client
        self.text = text
        self.began = self.ended = 0.0
        self.answer = ""
        self.status = 0

    def run(self) -> None:
        self.began = time.monotonic()
        answer = self.client.dav("POST", davload.CALENDAR.format("imported"), self.text, Content_Type="text/calendar")
        self.ended = time.monotonic()
        self.status, self.answer = answer.status, answer.body.decode()


def prepared(served: Served) -> Client:
    client = Client(served, host=f"localhost:{served.port}")
    client.patience = 600
    assert client.dav("MKCALENDAR", davload.CALENDAR.format("imported")).status == 201
    return client


@pytest.mark.timeout(240)
def test_a_10_mb_calendar_is_imported_beside_other_requests(fresh: Served):
    client = prepared(fresh)
    text = davload.many_events(1_500, text="x" * 6_800)
    assert len(text) > 10_000_000
    large = Import(client, text)
    large.start()
    outcome = davload.run(fresh.port, client.password, "calendar", clients=8, seconds=4)
    seen = len(outcome.times)
    large.join()
    assert (large.status, large.answer.count("201 Created")) == (207, 1_500)
    assert any(large.began < moment < large.ended for moment, _ in outcome.times)
    assert seen > 100
    settle(client, outcome)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_64_clients_for_two_minutes_and_an_import_of_10_000_events(fresh: Served):
    client = prepared(fresh)
    alone = davload.run(fresh.port, client.password, "calendar", clients=64, seconds=120)
    settle(client, alone)
    large = Import(client, davload.many_events(10_000))
    large.start()
    eventually(lambda: bool(listed(client, "imported")), within=60)
    beside = davload.run(fresh.port, client.password, "calendar", clients=64, seconds=60)
    large.join()
    settle(client, beside)
    assert (large.status, large.answer.count("201 Created")) == (207, 10_000)
    before, meanwhile = alone.percentile(0.99), beside.percentile(0.99, until=large.ended)
    print(f"\n{len(alone.times)} requests of 64 clients in 120 s: p50 {alone.percentile(0.5):.0f} ms, p99 {before:.0f} ms")
    half = beside.percentile(0.5, until=large.ended)
    print(f"while 10,000 events come in {large.ended - large.began:.0f} s: p50 {half:.0f} ms, p99 {meanwhile:.0f} ms")
    assert before <= 500
    assert meanwhile <= 2 * before
