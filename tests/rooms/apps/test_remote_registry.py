"""A registry on another server: what is asked of it how often, and what is made of its refusals."""

import json
from collections.abc import Iterator

import pytest

from cozyd.apps.registry import LIST_FOR, MISSING_FOR, STALE_FOR, Registries, RemoteRegistry
from cozyd.cache import LocalCache
from cozyd.errors import CozyError, NotFound
from cozyd.outbound import Outbound
from tests.support.canary import Asked, Canary

LATEST = {"slug": "far", "version": "1.0.0", "manifest": {}, "sha256": "0" * 64}


class Far:
    """What the other server knows; it may refuse."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if self.status != 200:
            return self.status, {}, self.body
        known = {"/registry/far": {"slug": "far"}, "/registry/far/stable/latest": LATEST, "/registry/far/1.0.0": LATEST}
        return (200, {}, json.dumps(known[asked.path]).encode()) if asked.path in known else (404, {}, b"{}")


class Hours:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def far() -> Iterator[tuple[Canary, Far]]:
    reply = Far()
    with Canary(reply) as canary:
        yield canary, reply


@pytest.fixture
def clock() -> Hours:
    return Hours()


@pytest.fixture
def registries(far: tuple[Canary, Far], clock: Hours) -> Registries:
    return Registries([RemoteRegistry(far[0].base, Outbound(["127.0.0.1"]), LocalCache(clock=clock))])


def test_answers_are_kept_a_while_and_versions_for_long(registries: Registries, far: tuple[Canary, Far], clock: Hours):
    def asked() -> list[str]:
        paths = [one.path for one in far[0].asked]
        far[0].asked.clear()
        return paths

    for _ in range(3):
        registries.latest("far", "stable")
        registries.version("far", "1.0.0")
    assert sorted(asked()) == ["/registry/far", "/registry/far/1.0.0", "/registry/far/stable/latest"]
    clock.now += LIST_FOR + 1
    registries.latest("far", "stable")
    registries.version("far", "1.0.0")
    assert sorted(asked()) == ["/registry/far", "/registry/far/stable/latest"]


def test_what_is_not_there_is_not_asked_for_again_at_once(registries: Registries, far: tuple[Canary, Far], clock: Hours):
    for _ in range(3):
        with pytest.raises(NotFound):
            registries.app("nobody")
    assert len(far[0].asked) == 1
    clock.now += MISSING_FOR + 1
    with pytest.raises(NotFound):
        registries.app("nobody")
    assert len(far[0].asked) == 2


def test_the_last_good_answer_is_used_for_a_day(registries: Registries, far: tuple[Canary, Far], clock: Hours):
    registries.app("far")
    far[1].status = 503
    clock.now += STALE_FOR - 10
    assert registries.app("far")["slug"] == "far"
    clock.now += 20
    with pytest.raises(CozyError) as refused:
        registries.app("far")
    assert refused.value.status == 503


def test_its_own_words_are_passed_on(registries: Registries, far: tuple[Canary, Far]):
    far[1].status, far[1].body = 412, b'{"message":"come back later"}'
    with pytest.raises(CozyError) as refused:
        registries.app("far")
    assert (refused.value.status, refused.value.detail) == (412, "come back later")
