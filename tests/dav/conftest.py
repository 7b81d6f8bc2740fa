"""A calendar and an address book to ask."""

from collections.abc import Iterator

import pytest

from tests.dav.asking import HOME, NS, numbers
from tests.support.client import Client
from tests.support.serving import Served


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}", scope=("io.cozy.calendar.calendars", "io.cozy.calendar.events"))


@pytest.fixture
def calendar(alice: Client) -> Iterator[str]:
    path = f"{HOME}cal{next(numbers)}/"
    assert alice.dav("MKCALENDAR", path).status == 201
    yield path
    alice.dav("DELETE", path)


@pytest.fixture
def book(alice: Client) -> Iterator[str]:
    path = f"{HOME}book{next(numbers)}/"
    body = f"<mkcol {NS}><set><prop><resourcetype><collection/><CR:addressbook/></resourcetype></prop></set></mkcol>"
    assert alice.dav("MKCOL", path, body).status == 201
    yield path
    alice.dav("DELETE", path)
