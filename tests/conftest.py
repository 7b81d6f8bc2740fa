"""Fixtures every test may use: an in-process stack, its HTTP client, and a served process."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.support.serving import PASSPHRASE, Served
from tests.support.swift import Swift, needs_swift

LONGEST_BYTES_IN_A_NAME = 40


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long bytes name a test by their length: an archive has the time it was made in it, and both workers must find the same names."""
    if isinstance(val, bytes) and len(val) > LONGEST_BYTES_IN_A_NAME:
        return f"{argname} of {len(val)} bytes"
    return None


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the session with alice and bob; tests keep to documents of their own."""
    with Served(tmp_path_factory.mktemp("served") / "data").add_instances() as server:
        yield server


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    """A server of one test's own with alice."""
    server = Served(tmp_path / "data").add_alice()
    with server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """A real Swift for the session; tests keep to areas of their own."""
    needs_swift()
    with Swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for the session."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may kill."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def passphrase() -> str:
    """The passphrase of the served instances."""
    return PASSPHRASE


def needs(program: str) -> None:
    """Skip, with a reason, when a Debian program is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: run scripts/install-debian.sh")
