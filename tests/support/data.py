"""What tests of `/data` share: a limited token, a document made, errors recognised."""

from typing import Any
from urllib.parse import quote

from tests.support.client import Answer, Client

T = "/data/io.cozy.test.notes"


def with_rules(client: Client, *scope: str) -> Client:
    """The same person, with a token of these rules only."""
    other = Client.__new__(Client)
    other.__dict__.update(vars(client))
    other.token = client.served.token(*scope, domain=client.domain)
    return other


def made(client: Client, id: str, /, **fields: Any) -> Any:
    answer = client.api("PUT", f"{T}/{quote(id, safe='')}", fields)
    assert answer.status == 200, answer.body
    return answer.json


def is_error(answer: Answer, status: int, error: str, reason: str) -> bool:
    return (answer.status, answer.json) == (status, {"ok": False, "status": str(status), "error": error, "reason": reason})


def is_framework(answer: Answer, status: int, message: str) -> bool:
    return (answer.status, answer.json) == (status, {"error": f"code={status}, message={message}"})
