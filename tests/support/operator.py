"""Who drives the server by the operator's application, in this process."""

from typing import Any

from werkzeug.test import Client, TestResponse

from blueprints.admin import create_admin_app
from cozyd.instance import Instance
from tests.support.inprocess import Place


class Operator:
    """Who may send everything."""

    def __init__(self, place: Place) -> None:
        self.stack = place.stack
        self.place = place
        self._client = Client(create_admin_app(place.stack))
        self._made = 0

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> TestResponse:
        return self._client.open(path, method=method, query_string=query or None, json=body, buffered=True)

    def made(self, **query: Any) -> Instance:
        """An instance of a name of its own."""
        self._made += 1
        answer = self.ask("POST", "/instances", Domain=f"one{self._made}.localhost", **query)
        assert answer.status_code == 201, answer.data
        return self.stack.instance(f"one{self._made}.localhost")
