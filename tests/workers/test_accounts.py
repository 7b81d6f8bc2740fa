"""A deleted account takes its triggers along, and lets its konnector clean up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.accounts import ACCOUNTS, SOFT_DELETED
from cozyd.errors import NotFound
from cozyd.instance import Instance
from cozyd.jobs.triggers import NewTrigger
from cozyd.jobs.worker import Worker
from cozyd.stack import Stack
from tests.support.serving import eventually
from tests.support.stack import Clock, open_stack
from tests.support.workshop import noted
from workers import accounts


class House:
    """alice with a konnector that cleans up, and one that does not."""

    def __init__(self, folder: Path) -> None:
        table = {"account-deleted": Worker(accounts.run, reserved=True, on=accounts.ON), "konnector": noted()}
        self.stack: Stack = open_stack(folder, Clock(), table)
        self.alice: Instance = self.stack.create("alice.example")
        self.alice.docs.put("io.cozy.konnectors", {"_id": "io.cozy.konnectors/bank", "slug": "bank", "on_delete_account": "on.js"})
        self.alice.docs.put("io.cozy.konnectors", {"_id": "io.cozy.konnectors/shop", "slug": "shop"})

    def account(self, id: str, konnector: str) -> None:
        self.alice.docs.put(ACCOUNTS, {"_id": id, "account_type": konnector, "auth": {"login": "me", "password": "secret"}})
        self.alice.jobs.triggers.create(NewTrigger("@daily", worker="konnector", message={"konnector": konnector, "account": id}))

    def delete(self, id: str, *, as_replica: bool = False) -> None:
        stored = self.alice.docs.get(self.alice.docs.all(ACCOUNTS, start=id, end=id).rows[0].ref)
        if as_replica:
            self.alice.docs.graft(
                ACCOUNTS, [{"_id": id, "_rev": "2-abc", "_deleted": True, "_revisions": {"start": 2, "ids": ["abc", stored.rev[2:]]}}]
            )
        else:
            self.alice.docs.delete(stored.ref, stored.rev)
        for job in self.alice.jobs.queue("account-deleted"):
            self.stack.runner.run("alice.example", job.id)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "data")
    yield made
    made.stack.close()


@pytest.mark.parametrize("as_replica", [False, True], ids=["by an app", "by a replica"])
def test_triggers_go_and_the_konnector_cleans_up_with_a_copy(house: House, as_replica: bool):
    house.account("a", "bank")
    house.account("b", "bank")
    house.delete("a", as_replica=as_replica)
    assert [one.message["account"] for one in house.alice.jobs.triggers.all()] == ["b"]
    (job,) = house.alice.jobs.queue("konnector")
    assert {name: value for name, value in job.message.items() if name != "account_rev"} == {
        "account": "a",
        "konnector": "bank",
        "account_deleted": True,
    }
    assert job.manual
    (copy,) = house.alice.docs.all(SOFT_DELETED).rows
    assert (copy.ref.id, copy.doc["account_type"], copy.doc["soft_deleted_rev"]) == ("a", "bank", job.message["account_rev"])
    assert "secret" not in str(copy.doc)


def test_without_something_to_clean_up_only_the_triggers_go(house: House):
    house.account("a", "shop")
    house.account("b", "gone")
    house.delete("a")
    house.delete("b")
    assert house.alice.jobs.triggers.all() == []
    assert house.alice.jobs.queue("konnector") == []
    with pytest.raises(NotFound):
        house.alice.docs.all(SOFT_DELETED)


def test_a_konnector_is_removed_when_its_accounts_are_cleaned_up_after(house: House):
    house.account("a", "bank")
    house.account("b", "shop")
    assert house.alice.apps.remove("konnector", "bank")[1] is False
    assert [row.ref.id for row in house.alice.docs.all(ACCOUNTS).rows] == ["b"]
    (job,) = house.alice.jobs.queue("account-deleted")
    assert house.stack.runner.run("alice.example", job.id)
    (job,) = house.alice.jobs.queue("konnector")
    assert house.alice.apps.get("konnector", "bank")
    assert house.stack.runner.run("alice.example", job.id)
    eventually(lambda: not is_there(house, "bank"))
    assert is_there(house, "shop")
    assert house.alice.apps.remove("konnector", "shop")[1] is False


def is_there(house: House, konnector: str) -> bool:
    try:
        return house.alice.apps.get("konnector", konnector) is not None
    except NotFound:
        return False
