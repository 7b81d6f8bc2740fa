"""`cozyd instances` and `cozyd token`: what an operator types, with and without a running server."""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.serving import Served, run
from tests.support.visitor import Visitor

ALICE = "alice.localhost:8080"


@pytest.fixture
def cozyd(tmp_path: Path) -> Command:
    return Command(tmp_path / "data")


@pytest.fixture(params=["alone", "beside a server"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Command]:
    """The command where no server runs, and where one has the data folder."""
    if request.param == "alone":
        yield Command(tmp_path / "data")
        return
    with Served(tmp_path / "data"):
        yield Command(tmp_path / "data")


def test_every_command_works_with_and_without_a_server(anywhere: Command):
    cozyd = anywhere
    assert cozyd("instances", "add", ALICE, "--alias", "localhost:8080", "--quota", "1GB", "--passphrase", "p").status == 0
    assert [one["domain"] for one in json.loads(cozyd("instances", "list", "--json").out)] == [ALICE]
    assert ALICE in cozyd("instances", "list").out
    assert cozyd("instances", "set", "localhost:8080", "--quota", "2GB", "--locale", "fr").status == 0
    shown = json.loads(cozyd("instances", "show", ALICE, "--json").out)
    assert (shown["disk_quota"], shown["locale"], shown["domain_aliases"]) == (str(2 << 30), "fr", ["localhost:8080"])
    assert cozyd("token", ALICE, "io.cozy.contacts").last_line.count(".") == 2
    password = cozyd("passwords", "add", ALICE, "phone", "--contacts", "--read-only").last_line
    assert len(password) == 31
    listed = json.loads(cozyd("passwords", "list", ALICE, "--json").out)
    assert [(one["name"], one["reach"], one["read_only"], one["last_used"]) for one in listed] == [("phone", ["contacts"], True, None)]
    assert "phone" in cozyd("passwords", "list", ALICE).out
    assert cozyd("passwords", "remove", ALICE, "phone").status == 0
    assert cozyd("passwords", "list", ALICE, "--json").out.strip() == "[]"
    assert cozyd("instances", "remove", ALICE, "--force").status == 0
    assert cozyd("instances", "list", "--json").out.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["instances", "add", "a b"], "'a b' cannot be a domain"),
        (["instances", "add", ""], "'' cannot be a domain"),
        (["instances", "add", "../etc"], "cannot be a domain"),
        (["instances", "add", "x.localhost:99999"], "cannot be a domain"),
        (["instances", "add", "x.localhost:0"], "cannot be a domain"),
        (["instances", "add", "a..b"], "cannot be a domain"),
        (["instances", "add", ALICE.upper()], f"{ALICE} belongs to an instance already"),
        (["instances", "add", "localhost:8080"], "localhost:8080 belongs to an instance already"),
        (["instances", "add", "x.localhost", "--alias", ALICE], f"{ALICE} belongs to an instance already"),
        (["instances", "add", "x.localhost", "--quota", "10XB"], "'10XB' is no size"),
        (["instances", "add", "x.localhost", "--locale", "tlh"], "'tlh' is none of the languages en, fr, de, es"),
        (["instances", "add", "x.localhost", "--passphrase", ""], "Missing new passphrase"),
        (["instances", "show", "nobody"], "Instance not found"),
        (["instances", "set", ALICE], "Nothing to change was given"),
        (["instances", "set", "nobody", "--locale", "fr"], "Instance not found"),
        (["instances", "set", ALICE, "--locale", "tlh"], "is none of the languages"),
        (["instances", "set", ALICE, "--passphrase", ""], "Missing new passphrase"),
        (["instances", "remove", "nobody", "--force"], "Instance not found"),
        (["token", "nobody", "io.cozy.files"], "Instance not found"),
        (["token", ALICE, "*"], "Permission scope is empty or malformed"),
        (["token", ALICE, "io.cozy.files:LOOK"], "Permission scope is empty or malformed"),
        (["token", ALICE, " "], "Permission scope is empty or malformed"),
        (["passwords", "add", ALICE, " "], "A device needs a name"),
        (["passwords", "add", "nobody", "x"], "Instance not found"),
        (["passwords", "remove", ALICE, "nope"], "has no password of this id or name: nope"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_status_1(shared: Command, arguments: list[str], reason: str):
    done = shared(*arguments)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("Error: ")
    assert reason in done.err
    assert done.err.count("\n") == 1


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Command:
    cozyd = Command(tmp_path_factory.mktemp("cli") / "data")
    cozyd("instances", "add", ALICE, "--alias", "localhost:8080")
    return cozyd


def test_a_refused_instance_leaves_nothing(shared: Command):
    shared("instances", "add", "x.localhost", "--locale", "tlh")
    shared("instances", "add", "x.localhost", "--passphrase", "")
    assert [one["domain"] for one in json.loads(shared("instances", "list", "--json").out)] == [ALICE]


@pytest.mark.parametrize("arguments", [["token", ALICE], ["instances", "add"], ["nothing"], ["serve", "--port", "x"]])
def test_a_wrong_use_says_how_and_ends_with_2(shared: Command, arguments: list[str]):
    done = shared(*arguments)
    assert done.status == 2
    assert "Usage: cozyd" in done.err


def test_removing_asks_first(cozyd: Command):
    cozyd("instances", "add", ALICE)
    asked = run(["sh", "-c", f"echo n | cozyd instances remove {ALICE}"], env=_environ(cozyd), timeout=20)
    assert asked.returncode == 1
    assert "gone for good" in asked.stdout
    assert cozyd("instances", "show", ALICE).status == 0


def _environ(cozyd: Command) -> dict[str, str]:
    return os.environ | {"COZYD_STORAGE_PATH": str(cozyd.folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_removing_leaves_no_byte(cozyd: Command):
    cozyd("instances", "add", ALICE)
    kept = {path for path in cozyd.folder.rglob("*") if path.is_file()}
    cozyd("instances", "add", "bob.localhost")
    cozyd("instances", "remove", "bob.localhost", "--force")
    assert {path for path in cozyd.folder.rglob("*") if path.is_file()} == kept


def test_a_name_in_other_letters_is_kept_as_people_write_it(cozyd: Command):
    assert cozyd("instances", "add", "xn--t-9fab.example.org").status == 0
    assert [one["domain"] for one in json.loads(cozyd("instances", "list", "--json").out)] == ["été.example.org"]
    assert cozyd("instances", "show", "xn--t-9fab.example.org").status == 0
    assert "belongs to an instance" in cozyd("instances", "add", "été.example.org").err


def test_aliases_are_kept_once_and_can_go(cozyd: Command):
    cozyd("instances", "add", ALICE)
    cozyd("instances", "set", ALICE, "--alias", "a.example", "--alias", "A.example", "--alias", ALICE)
    assert json.loads(cozyd("instances", "show", ALICE, "--json").out)["domain_aliases"] == ["a.example"]
    cozyd("instances", "set", ALICE, "--no-alias")
    assert "domain_aliases" not in json.loads(cozyd("instances", "show", ALICE, "--json").out)
    assert cozyd("instances", "show", "a.example").status == 1


def test_secrets_are_never_shown(cozyd: Command):
    cozyd("instances", "add", ALICE, "--passphrase", "p")
    for form in ([], ["--json"]):
        shown = cozyd("instances", "show", ALICE, *form).out
        assert "secret" not in shown
        assert "argon2" not in shown
        assert "register_token" not in shown


def test_a_new_passphrase_ends_every_session(fresh: Served):
    cozyd, visitor = Command(fresh.folder), Visitor(fresh).log_in()
    assert visitor.get("/sync/").status == 200
    assert cozyd("instances", "set", fresh.domain, "--passphrase", "another one").status == 0
    assert visitor.get("/sync/").headers["Location"].startswith(f"http://{fresh.domain}/auth/login?")
    assert visitor.submit_login().status == 401
    assert visitor.submit_login("another one").status == 303
    assert visitor.get("/sync/").status == 200


def test_the_token_is_alone_on_the_last_line(cozyd: Command):
    cozyd("instances", "add", ALICE)
    done = cozyd("token", ALICE, "io.cozy.files", "io.cozy.contacts:GET")
    assert done.out == done.last_line + "\n"
    assert len(cozyd("token", ALICE, "io.cozy.files", "--app", "drive").last_line.split(".")) == 3


def test_cozy_stack_s_names_work_too(cozyd: Command):
    cozyd("instances", "add", ALICE)
    assert ALICE in cozyd("instances", "ls").out
    assert cozyd("instances", "token-cli", ALICE, "io.cozy.files").status == 0
    assert cozyd("instances", "modify", ALICE, "--locale", "fr").status == 0
    assert cozyd("instances", "destroy", ALICE, "--force").status == 0


def test_commands_at_the_same_time_wait_for_each_other(cozyd: Command):
    cozyd("instances", "add", ALICE)
    with ThreadPoolExecutor(6) as pool:
        command = ["cozyd", "passwords", "add", ALICE]
        done = list(pool.map(lambda n: run([*command, f"device {n}"], env=_environ(cozyd), timeout=30), range(6)))
    assert [one.stderr for one in done if one.returncode] == []
    assert len(json.loads(cozyd("passwords", "list", ALICE, "--json").out)) == 6


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/etc/passwd", "/etc/passwd/below"])
def test_a_data_folder_that_cannot_be_is_named(folder: str):
    done = Command(Path(folder))("instances", "list", HOME="/nonexistent")
    assert done.status == 1
    assert f"the data folder {folder} cannot be used" in done.err
