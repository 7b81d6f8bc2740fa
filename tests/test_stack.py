"""Instances come, change and go: one after the other, whole, and never twice on one host."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cozyd.auth import Credentials
from cozyd.documents.store import Ref
from cozyd.errors import Conflict, CozyError, Gone, Invalid, Locked, NotFound, Unauthorized
from cozyd.instance import Instance
from cozyd.records import check_host
from cozyd.stack import Stack
from tests.support.stack import Clock, open_stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def stack(folder: Path) -> Iterator[Stack]:
    stack = open_stack(folder, Clock())
    yield stack
    stack.close()


def test_one_of_many_who_want_the_same_host_gets_it(stack: Stack):
    def make(number: int) -> Instance | CozyError:
        try:
            return stack.create(f"{'alice' if number % 2 else 'zoe'}.localhost", aliases=["home.localhost"])
        except Conflict as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        made = [one for one in pool.map(make, range(6)) if isinstance(one, Instance)]
    assert [one.domain for one in stack.instances()] == [one.domain for one in made]
    assert len(made) == 1
    assert stack.locate("home.localhost").files.usage() == (0, None)
    assert made[0].docs.info("io.cozy.contacts").count > 0


def test_an_instance_is_found_by_each_of_its_names_whatever_the_letters(stack: Stack):
    stack.create("Alice.Localhost:8080", aliases=["LOCALHOST:8080"])
    for host in ("alice.localhost:8080", "ALICE.localhost:8080", "localhost:8080"):
        assert stack.locate(host).domain == "alice.localhost:8080"
    for host in ("", "alice.localhost", "alice.localhost:80", "x.alice.localhost:8080", "alice.localhost:8080:8080", "é" * 300, "\x00"):
        with pytest.raises(NotFound):
            stack.locate(host)


def test_a_host_in_other_letters_is_found_as_browsers_send_it(stack: Stack):
    stack.create("été.example.org:8080")
    assert stack.locate("xn--t-9fab.example.org:8080").domain == "été.example.org:8080"
    for host in ("xn--.example.org", "xn--\xff", "xn--" + "a" * 300, "xn--zzzzzzzz99999"):
        with pytest.raises(NotFound):
            stack.locate(host)


def test_an_old_domain_says_where_she_went(stack: Stack):
    stack.create("new.localhost")
    stack.modify("new.localhost", old_domain="old.localhost")
    with pytest.raises(Gone) as gone:
        stack.locate("old.localhost")
    assert gone.value.location == "new.localhost"


def test_an_alias_counts_at_once_and_no_longer_when_it_is_gone(stack: Stack):
    stack.create("alice.localhost")
    stack.modify("alice.localhost", domain_aliases=["a.localhost"])
    assert stack.locate("a.localhost").domain == "alice.localhost"
    stack.modify("alice.localhost", domain_aliases=None)
    with pytest.raises(NotFound):
        stack.locate("a.localhost")
    assert stack.create("a.localhost").domain == "a.localhost"


def test_what_comes_after_a_removed_instance_on_its_host_is_new(stack: Stack):
    old = stack.create("alice.localhost", passphrase="p")
    cookie = old.auth.open_session(Credentials(), long_run=False)
    _, password = old.auth.devices.add("phone", ["files"], False)
    token = old.auth.cli_token("io.cozy.files")
    old.docs.put("io.cozy.notes", {"_id": "secret"})
    stack.destroy("alice.localhost")
    with pytest.raises(NotFound):
        stack.locate("alice.localhost")
    new = stack.create("alice.localhost")
    for shown in (Credentials(session=cookie), Credentials(basic=("me", password)), Credentials(bearer=token)):
        with pytest.raises(CozyError):
            new.auth.identify(shown)
    with pytest.raises(NotFound):
        new.docs.get(Ref("io.cozy.notes", "secret"))
    with pytest.raises(Unauthorized):
        new.auth.log_in(new.auth.passphrase.derive("p"), Credentials())


def test_an_interrupted_removal_is_finished_by_the_next(stack: Stack):
    stack.create("alice.localhost")
    stack.modify("alice.localhost", deleting=True)
    stack.destroy("alice.localhost")
    assert list(stack.instances()) == []


def test_an_instance_is_there_after_a_restart(stack: Stack, folder: Path):
    stack.create("alice.localhost", passphrase="p", quota=1000, locale="fr")
    before = dict(stack.instance("alice.localhost").doc)
    stack.close()
    again = open_stack(folder, Clock())
    assert dict(again.instance("alice.localhost").doc) == before
    assert again.instance("alice.localhost").quota() == 1000
    again.close()


def test_two_processes_never_share_a_folder(stack: Stack, folder: Path):
    with pytest.raises(Locked, match="another process uses"):
        open_stack(folder, Clock())


def test_nobody_else_can_look_into_the_folder(stack: Stack, folder: Path):
    assert stack is not None
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", ".a", "a.", "a..b", "-a.b", "_a.b", "a b", "a/b", "a\\b", "a@b", "a?b", "a#b", "a,b", "a;b", "a&b", "a=b", "a'b", 'a"b'),
        *("a:b", "a:", "a:0", "a:65536", "a:1:2", "a\nb", "a\x00b", "http://a", "a%20b", "<a>", "é" * 256),
    ],
)
def test_what_cannot_be_a_host_is_refused(host: str):
    with pytest.raises(Invalid):
        check_host(host)


@pytest.mark.parametrize("host", ["localhost", "a", "a.b.c:1", "127.0.0.1:65535", "a-b.example.org", "été.example.org", "x_1.localhost"])
def test_what_can_be_a_host_is_kept_as_it_is(host: str):
    assert check_host(host) == host
    assert check_host(host.upper()) == host
