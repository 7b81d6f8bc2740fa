"""Services of an app as triggers: one for each that says when it runs, the same as long as it says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.apps.services import Services
from cozyd.instance import Instance
from tests.support.workshop import Workshop, noted


@pytest.fixture
def alice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    monkeypatch.setattr(Workshop, "table", lambda _: {"service": noted()})
    with Workshop(tmp_path / "data") as shop:
        yield shop.stack.create("alice.example")


def app(**triggers: str) -> dict[str, object]:
    return {"services": {name: {"type": "node", "file": f"{name}.js", "trigger": trigger} for name, trigger in triggers.items()}}


def test_an_update_keeps_what_is_the_same_and_makes_what_is_missing(alice: Instance):
    services, triggers = Services(alice.jobs), alice.jobs.triggers
    first = app(kept="@daily", lost="@event io.cozy.bills:CREATED", late="@weekly", byhand="")
    first["services"] = before = services.follow("bank", {}, first)
    triggers.delete(before["lost"]["trigger_id"])  # somebody did
    before["late"]["trigger_id"] = ""  # nobody worked for services then
    after = services.follow("bank", first, app(kept="@daily", lost="@event io.cozy.bills:CREATED", late="@weekly", byhand=""))
    assert after["kept"]["trigger_id"] == before["kept"]["trigger_id"]
    assert triggers.get(after["lost"]["trigger_id"]).arguments == "io.cozy.bills:CREATED"
    assert triggers.get(after["late"]["trigger_id"]).message == {"slug": "bank", "name": "late"}
    assert after["byhand"]["trigger_id"] == ""
    assert services.follow("bank", {"services": after}, {}) == {}
    assert [one.id for one in triggers.all() if one.id in [service["trigger_id"] for service in after.values()]] == []
