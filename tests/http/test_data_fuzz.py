"""Requests made from docs/openapi.yaml, well-formed and not: none may be answered 500, none may hang."""

from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.support.client import Client
from tests.support.serving import Served

SCHEMA = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.yaml")
OPERATIONS: list[Any] = [cast(Any, result).ok() for result in SCHEMA.get_all_operations()]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


DOCTYPES = ("io.cozy.test.fuzz", "io.cozy.test.other", "io.cozy.contacts", "io.cozy.calendar.events")


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    """An instance of this module's own."""
    domain = f"fuzz.localhost:{served.port}"
    served.cli("instances", "add", domain)
    return Client(served, domain=domain, scope=(*DOCTYPES, "io.cozy.doctypes"))


class Player:
    """Sends generated requests; the statuses that were answered.

    :param start: seed.
    :param each: requests for each operation.
    """

    def __init__(self, alice: Client, start: int, each: int) -> None:
        self.alice, self.start, self.each = alice, start, each
        self.seen: Counter[int] = Counter()

    def play(self) -> Counter[int]:
        """Every operation, with well-formed and malformed requests."""
        with requests.Session() as session:
            for operation in OPERATIONS:
                self._one(operation, session)
        assert "Traceback" not in self.alice.served.log()
        return self.seen

    def _one(self, operation: Any, session: requests.Session) -> None:
        cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in MODES))

        @seed(self.start)
        @settings(max_examples=self.each, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(case=cases)
        def ask(case: Any) -> None:
            headers = {"Authorization": f"Bearer {self.alice.token}", "Host": self.alice.domain}
            answer = session.request(**case.as_transport_kwargs(base_url=self.alice.served.base, headers=headers), timeout=20)
            self.seen[answer.status_code] += 1
            assert answer.status_code < 500, case.as_curl_command()

        ask()


def test_no_request_is_answered_500(alice: Client):
    seen = Player(alice, start=1, each=12).play()
    assert sum(seen.values()) > 200
    assert {200, 201, 400, 403, 404} <= seen.keys()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_request_of_five_thousand_is_answered_500(alice: Client):
    seen = Player(alice, start=2, each=220).play()
    assert sum(seen.values()) > 5000, seen
