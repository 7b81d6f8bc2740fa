"""What every test of OAuth stands on: a server, its owner's browser, and a client that she let register."""

from collections.abc import Iterator

import pytest

from tests.support.oauth import Application
from tests.support.serving import Served
from tests.support.visitor import Visitor


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of each file's own: an instance takes fifty registrations an hour."""
    with Served(tmp_path_factory.mktemp("oauth") / "data").add_instances() as server:
        yield server


@pytest.fixture(scope="module")
def owner(served: Served) -> Visitor:
    return Visitor(served).log_in()


@pytest.fixture(scope="module")
def app(owner: Visitor) -> Application:
    return Application(owner)
