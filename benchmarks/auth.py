"""What it costs to know who asks: a bearer token, a share code, a device password, beside a request that asks nobody."""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.load import table, verdict
from cozyd.auth import Credentials
from cozyd.auth.links import Maker, Wanted
from cozyd.config import Config, Storage
from cozyd.instance import Instance
from cozyd.permissions import Principal, parse_scope
from cozyd.stack import Stack

SCOPE = "io.cozy.contacts io.cozy.files:GET io.cozy.permissions"
CALLS, ROUNDS = 3_000, 7
BEARER, DEVICE = 0.06, 0.03
"""The most that a check may cost, in ms."""


def measure(folder: Path) -> None:
    """Print the table: medians of several rounds, each beside an empty call of the same round."""
    stack = Stack(Config(storage=Storage(path=folder / "auth")))
    try:
        instance = stack.create("bench.localhost")
        rows = []
        for name, shown in _credentials(instance).items():
            bar = DEVICE if name == "device password" else BEARER
            cost = _cost(partial(instance.auth.identify, shown))
            rows.append((name, f"{cost * 1000:.1f} µs", f"<= {bar * 1000:.0f} µs", verdict(cost <= bar)))
        table("who is asking (beyond an empty call)", rows)
    finally:
        stack.close()


def _credentials(instance: Instance) -> Mapping[str, Credentials]:
    auth = instance.auth
    principal = Principal("cli", "", parse_scope(SCOPE))
    wanted = Wanted({"permissions": {"a": {"type": "io.cozy.contacts", "verbs": ["GET"], "values": ["x"]}}}, names=("a",))
    link = auth.links.create(Maker(principal, ""), wanted).doc
    _, password = auth.devices.add("phone", ["contacts", "files"], read_only=False)
    session = auth.open_session(Credentials(), long_run=True)
    return {
        "access token of a client": Credentials(bearer=_access(instance)),
        "token of the command line": Credentials(bearer=auth.cli_token(SCOPE)),
        "token of an app with its session": Credentials(
            bearer=auth.app_token("drive", SCOPE, session_id=auth.sessions.id_of(session)), session=session
        ),
        "code of a share link": Credentials(bearer=link["codes"]["a"]),
        "device password": Credentials(basic=("me", password)),
        "session": Credentials(session=session),
    }


def _access(instance: Instance) -> str:
    auth = instance.auth
    client = auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"})
    oauth = auth.oauth("http://bench.localhost")
    asked = {"client_id": client.id, "state": "s", "redirect_uri": "app://x", "response_type": "code", "scope": SCOPE}
    code = oauth.approve(oauth.asked(_form(asked))).partition("&code=")[2].partition("&")[0]
    secret = client.stored.doc["client_secret"]
    form = {"grant_type": "authorization_code", "client_id": client.id, "client_secret": secret, "code": code}
    return str(oauth.token(_form(form))["access_token"])


def _form(fields: Mapping[str, str]) -> Mapping[str, list[str]]:
    return {name: [value] for name, value in fields.items()}


def _cost(call: Callable[[], Any]) -> float:
    """Milliseconds of a call beyond one that does nothing."""
    call()
    return statistics.median(_milliseconds(call) - _milliseconds(_nothing) for _ in range(ROUNDS))


def _milliseconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - began) * 1000 / CALLS


def _nothing() -> None:
    return None
