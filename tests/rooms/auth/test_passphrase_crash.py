"""A change of the passphrase that a crash cuts in two: afterwards the old one opens everything, or the new one does."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from cozyd.auth import BITWARDEN, Auth, Credentials
from cozyd.auth.passphrase import CHANGE, NewPassphrase
from cozyd.auth.passwords import derive
from cozyd.auth.values import Kdf
from cozyd.auth.vault import VaultKeys, master_key, new_keys, unwrapped
from cozyd.config import Config, Storage
from cozyd.errors import Unauthorized
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.couchdb import empty_server, needs_couchdb
from tests.support.identity import AGENT, FEW
from tests.support.stack import Clock, open_stack

OLD, NEW = "a cloud of orange teapots", "seven green umbrellas"
KDF = Kdf("me@alice.localhost", FEW)
SEEN = Credentials(address="192.0.2.1", agent=AGENT)


class Killed(BaseException):
    """The process ends here."""


def ends(*_: Any, **__: Any) -> None:
    raise Killed


def opens(instance: Instance, passphrase: str) -> bool:
    """Whether a passphrase logs her in; what it opens then is the vault, too."""
    try:
        instance.auth.log_in(derive(passphrase, KDF), SEEN)
    except Unauthorized:
        return False
    assert unwrapped(instance.docs.get(BITWARDEN).doc["key"], master_key(passphrase, KDF)) is not None
    return True


def by(passphrase: str) -> NewPassphrase:
    """As a client sends it."""
    keys = VaultKeys(new_keys(master_key(passphrase, KDF)).key)
    return NewPassphrase(derive(passphrase, KDF), FEW, keys)


def killed(monkeypatch: pytest.MonkeyPatch, auth: Auth, of: object, name: str) -> None:
    """Change the passphrase, and end the process where it calls a method."""
    with monkeypatch.context() as patched:
        patched.setattr(of, name, ends)
        with pytest.raises(Killed):
            auth.replace_passphrase(by(NEW), SEEN)


POINTS: dict[str, tuple[Callable[[Auth], object], str, str]] = {
    "before anything is written": (lambda auth: auth.passphrase, "_put_settings", OLD),
    "before the record": (lambda auth: auth.passphrase, "_amend", NEW),
    "before sessions end": (lambda auth: auth.sessions, "end_others", NEW),
    "before trust ends": (lambda auth: auth.factors, "distrust_all", NEW),
}


@pytest.fixture(params=["sqlite", pytest.param("couchdb", marks=needs_couchdb)])
def opened(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], Stack]]:
    """Opens the stack, and opens it again."""
    with empty_server() if request.param == "couchdb" else nullcontext("") as url:
        documents = {"documents": url} if url else {}
        yield lambda: Stack(Config(storage=Storage(path=tmp_path / "data", **documents)), now=Clock())


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_leaves_one_passphrase_for_log_in_and_vault(opened: Callable[[], Stack], monkeypatch: pytest.MonkeyPatch, point: str):
    of, name, good = POINTS[point]
    stack = opened()
    auth = stack.create("alice.localhost").auth
    auth.replace_passphrase(by(OLD), None, "passphrase_chosen")
    cookie, trust = auth.open_session(SEEN, long_run=True), auth.factors.trust(SEEN)
    killed(monkeypatch, auth, of(auth), name)
    stack.close()
    stack = opened()
    instance = stack.instance("alice.localhost")
    try:
        goes_on = instance.auth.sessions.is_of(instance.auth.sessions.all()[0].ref.id, cookie) if instance.auth.sessions.all() else False
        assert (goes_on, instance.auth.factors.is_trusted(trust, SEEN)) == (good == OLD, good == OLD)
        assert [opens(instance, passphrase) for passphrase in (OLD, NEW)] == [good == OLD, good == NEW]
        assert instance.docs.get_many(CHANGE.doctype, [CHANGE.id]) == [None]
        instance.auth.replace_passphrase(by(OLD), SEEN)
        assert opens(instance, OLD)
    finally:
        stack.close()


def test_a_process_beside_the_one_that_crashed_does_the_rest_at_the_next_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stack = open_stack(tmp_path / "data", Clock())
    instance = stack.create("alice.localhost")
    try:
        instance.auth.replace_passphrase(by(OLD), None, "passphrase_chosen")
        killed(monkeypatch, instance.auth, instance.auth.passphrase, "_amend")
        assert opens(instance, NEW)
        assert not opens(instance, OLD)
    finally:
        stack.close()


def test_what_is_left_of_a_change_does_not_undo_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stack = open_stack(tmp_path / "data", Clock())
    instance = stack.create("alice.localhost")
    try:
        instance.auth.replace_passphrase(by(OLD), None, "passphrase_chosen")
        killed(monkeypatch, instance.auth, instance.auth.passphrase, "_end_all")
        hashed = instance.doc["passphrase_hash"]
        instance.auth.passphrase.complete()
        assert instance.doc["passphrase_hash"] == hashed
        instance.auth.replace_passphrase(by(OLD), SEEN)
        assert opens(instance, OLD)
    finally:
        stack.close()
