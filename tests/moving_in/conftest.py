"""A lived-in cozy, as it was dumped from a running cozy-stack (fixture/README.md), and servers that have taken it in."""

import base64
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.moving_in.player import ACCESS, FIXTURE, Player
from tests.support.serving import Served

CONTEXT = {"COZYD_CONFIG": str(Path(__file__).parent / "cozyd.toml")}
"""The context `dev` of the old server."""


class ServedThen(Served):
    """A server on the evening of the dump."""

    program = (sys.executable, "-m", "tests.moving_in.then")


def key_file(path: Path, public: str, private: str) -> Path:
    """A key as a cozy-stack's `config gen-keys` writes it."""
    both = base64.b64encode(base64.b64decode(public) + base64.b64decode(private)).decode()
    path.write_text(f"-----BEGIN NACL KEY-----\n{both}\n-----END NACL KEY-----\n")
    return path


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the old server's `fs.url`."""
    folder = tmp_path_factory.mktemp("old-storage")
    with tarfile.open(FIXTURE / "storage.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the operator of the old server had configured, as our environment."""
    folder, keys = tmp_path_factory.mktemp("keys"), ACCESS["accounts"]
    encryptor = key_file(folder / "vault.enc", keys["encryptor"]["receiver_public"], keys["encryptor"]["sender_private"])
    decryptor = key_file(folder / "vault.dec", keys["decryptor"]["sender_public"], keys["decryptor"]["receiver_private"])
    return {"COZYD_ACCOUNTS_ENCRYPTOR_KEY_FILE": str(encryptor), "COZYD_ACCOUNTS_DECRYPTOR_KEY_FILE": str(decryptor)}


@pytest.fixture(scope="session")
def moved(tmp_path_factory: pytest.TempPathFactory, storage: Path, configuration: dict[str, str]) -> Iterator[Served]:
    """A server that has taken in everything: documents in SQLite, contents by hard links. It is only read."""
    server = ServedThen(tmp_path_factory.mktemp("moved") / "data", environ=configuration | CONTEXT)
    server.cli("import-cozy", str(FIXTURE), "--storage", str(storage))
    with server:
        yield server


def player(server: Served) -> Player:
    """Who asks what was recorded."""
    return Player(server.port, server.token(*ACCESS["cli_scope"].split(), domain=ACCESS["domain"]))


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, storage: Path, configuration: dict[str, str]) -> Iterator[Served]:
    """As `moved`, for the tests of one file, which may change what is in it."""
    server = ServedThen(tmp_path_factory.mktemp("used") / "data", environ=configuration)
    server.cli("import-cozy", str(FIXTURE), "--storage", str(storage))
    with server:
        yield server
