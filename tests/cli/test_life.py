"""What an operator types over the life of an instance, and the commands of cozy-stack that scripts have."""

import json
import re
from pathlib import Path

import pytest

from cozyd.config import Config, Storage
from cozyd.stack import Stack
from tests.support.command import Command

ALICE = "alice.localhost:8080"


@pytest.fixture
def cozyd(tmp_path: Path) -> Command:
    (tmp_path / "cozyd.toml").write_text('[contexts.firm]\nsupport = "x"\n[contexts.firm.features]\nf = 1\n[templates.t]\nlocale = "fr"\n')
    return Command(tmp_path / "data")


def shown(cozyd: Command, domain: str = ALICE) -> dict[str, object]:
    found: dict[str, object] = json.loads(cozyd("instances", "show", domain, "--json").out)
    return found


def test_an_instance_is_made_changed_renamed_blocked_and_removed(cozyd: Command):
    options = ["--email", "a@example.org", "--tz", "Europe/Paris", "--disk-quota", "10MB", "--domain-aliases", "a.localhost,b.localhost"]
    made = cozyd("instances", "add", ALICE, *options, "--settings", "offer:premium,locale:de", "--json")
    assert json.loads(made.out)["domain_aliases"] == ["a.localhost", "b.localhost"]
    assert (shown(cozyd)["locale"], shown(cozyd)["disk_quota"]) == ("de", str(10 << 20))
    assert cozyd("instances", "set", ALICE, "--context", "firm", "--no-auto-update", "--public-name", "A").status == 0
    assert (shown(cozyd)["context"], shown(cozyd)["no_auto_update"]) == ("firm", True)
    assert cozyd("instances", "block", ALICE, "--reason", "PAYMENT_FAILED").status == 0
    assert "blocked" in cozyd("instances", "list").out
    assert cozyd("instances", "unblock", ALICE).status == 0
    assert "blocked" not in shown(cozyd)
    assert cozyd("instances", "rename", ALICE, "eve.localhost:8080").status == 0
    assert shown(cozyd, "eve.localhost:8080")["old_domain"] == ALICE
    removed = cozyd("instances", "remove", "eve.localhost:8080", "--force", "--json")
    assert [json.loads(line)["step"] for line in removed.out.splitlines()] == ["closing", "documents", "contents", "record"]
    assert json.loads(cozyd("instances", "count", "--json").out) == {"count": 0}


def test_the_domain_may_be_named_as_cozy_stack_scripts_do(cozyd: Command):
    assert cozyd("instances", "add", ALICE).err.startswith("making documents\n")
    assert cozyd("passwords", "add", "--domain", ALICE, "Phone", "--files").status == 0
    assert "Phone" in cozyd("passwords", "list", f"--domain={ALICE}").out
    assert "Phone" in cozyd("passwords", "list", COZY_DOMAIN=ALICE).out
    assert "Phone" in cozyd("passwords", "list", ALICE, COZY_DOMAIN="bob.localhost").out
    assert cozyd("settings", "public_name:Ann", COZY_DOMAIN=ALICE).status == 0
    assert cozyd("features", "flags", "--domain", ALICE, '{"a": 1}').out.strip() == '{"a":1}'
    assert cozyd("triggers", "ls", "--domain", ALICE).status == 0
    assert cozyd("apps", "ls", "--domain", ALICE).status == 0
    assert cozyd("apps", "nothing", ALICE).status == 2
    assert cozyd("passwords", "list", "--domain").status == 2
    assert cozyd("passwords", "list").status == 2


def test_what_the_command_line_does_with_a_device_password_stands_in_her_trail(cozyd: Command):
    cozyd("instances", "add", ALICE)
    cozyd("passwords", "add", ALICE, "Phone")
    assert cozyd("passwords", "remove", ALICE, "Phone").status == 0
    stack = Stack(Config(storage=Storage(path=cozyd.folder)))
    try:
        events = stack.instance(ALICE).auth.trail.latest(5)
    finally:
        stack.close()
    assert [(event.what, event.detail, event.address) for event in events] == [("device_removed", "", ""), ("device_added", "Phone", "")]


def test_an_instance_is_checked_and_fixed(cozyd: Command):
    cozyd("instances", "add", ALICE)
    for name in ("indexes", "password-defined", "service-triggers"):
        assert cozyd("fix", name, "--domain", ALICE).status == 0
    assert (cozyd("check", "triggers", ALICE).status, cozyd("check", "triggers", ALICE).out) == (0, "")
    assert cozyd("check", "fs", ALICE, "--no-contents").status == 0
    assert cozyd("fix", "indexes", "nobody.localhost").status == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_learn_to_complete_commands(cozyd: Command, shell: str):
    assert "_COZYD_COMPLETE" in cozyd("completion", shell).out


def test_what_is_done_already_is_fine_when_that_is_said(cozyd: Command):
    for _ in range(2):
        assert cozyd("instances", "add", ALICE, "--if-missing").status == 0
    assert cozyd("instances", "add", ALICE).status == 1
    for _ in range(2):
        assert cozyd("instances", "remove", ALICE, "--force", "--if-there").status == 0
    assert cozyd("instances", "remove", ALICE, "--force").status == 1


def test_an_invitation_is_said_once_an_instance_without_passphrase_is_made(cozyd: Command):
    said = cozyd("instances", "add", ALICE).err
    code = re.search(r'Registration token: "([0-9a-f]{32})"', said)
    assert code is not None
    assert f"http://{ALICE}/?registerToken={code[1]}" in said
    assert "Registration" not in cozyd("instances", "add", "b.localhost", "--passphrase", "p").err


def test_the_operator_may_forbid_to_add_and_remove(cozyd: Command):
    cozyd("instances", "add", ALICE)
    for command in (["add", "b.localhost"], ["destroy", ALICE, "--force"]):
        done = cozyd("instances", *command, COZY_DISABLE_INSTANCES_ADD_RM="Ask Bob")
        assert (done.status, "Ask Bob" in done.err) == (1, True)
    assert cozyd("instances", "count").out.strip() == "1"


def test_scripts_for_cozy_stack_find_their_commands(cozyd: Command):
    cozyd("instances", "create", ALICE, "--passphrase", "p", "--context-name", "firm")
    assert cozyd("instances", "ls", "--fields", "domain,db_prefix").out.split()[0] == ALICE
    assert re.fullmatch(r"cozy[0-9a-f]{32}", cozyd("instances", "show-db-prefix", ALICE).out.strip())
    assert cozyd("instances", "set-disk-quota", ALICE, "1GB").status == 0
    assert cozyd("instances", "modify", ALICE, "--blocked", "true").status == 0
    assert cozyd("instances", "auth-mode", ALICE, "two_factor_mail").status == 0
    assert "already" in cozyd("instances", "auth-mode", ALICE, "two_factor_mail").out
    assert cozyd("instances", "set-passphrase", ALICE, "another").status == 0
    assert cozyd("instances", "clean-sessions", ALICE).status == 0
    client = cozyd("instances", "client-oauth", ALICE, "app://x", "C", "soft").out.strip()
    assert json.loads(cozyd("instances", "find-oauth-client", ALICE, "soft").out)["client_id"] == client
    tokens = (
        ["token-cli", ALICE, "io.cozy.files io.cozy.contacts"],
        ["token-app", ALICE, "drive", "--expire", "1h"],
        ["token-konnector", ALICE, "bank"],
        ["token-oauth", ALICE, client, "io.cozy.files"],
        ["refresh-token-oauth", ALICE, client, "io.cozy.files"],
    )
    for command in tokens:
        assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", cozyd("instances", *command).out), command
    for name in ("delete", "rm"):
        assert cozyd("instances", name, "--help").status == 0


def test_flags_are_shown_and_set(cozyd: Command):
    cozyd("instances", "add", ALICE)
    assert json.loads(cozyd("features", "set", ALICE, '{"a": 1}').out) == {"a": 1}
    assert json.loads(cozyd("features", "show", ALICE).out) == {"a": 1}
    assert json.loads(cozyd("features", "defaults", '{"d": true}').out) == json.loads(cozyd("features", "defaults").out) == {"d": True}
    assert json.loads(cozyd("features", "ratio", "firm", '{"r": [{"ratio": 1, "value": 2}]}').out)["r"][0]["value"] == 2
    assert json.loads(cozyd("features", "sets", ALICE, "b", "a").out) == ["a", "b"]
    assert (cozyd("features", "set", ALICE, "{").status, cozyd("features", "config", "none").status) == (1, 1)


def test_settings_are_shown_and_changed(cozyd: Command):
    cozyd("instances", "add", ALICE)
    found = json.loads(cozyd("settings", ALICE, "offer:premium,locale:fr,auto_update:false", "--json").out)
    assert (found["offer"], found["locale"], found["auto_update"]) == ("premium", "fr", False)


def test_contexts_and_templates_come_from_the_configuration(cozyd: Command):
    file = str(cozyd.folder.parent / "cozyd.toml")
    assert cozyd("--config", file, "instances", "add", ALICE, "--template", "t").status == 0
    assert shown(cozyd)["locale"] == "fr"
    assert json.loads(cozyd("--config", file, "features", "config", "firm").out) == {"f": 1}
