"""What was brought in goes on being used: the trash, versions, log-ins, and the way back to the old server's storage."""

import json
from pathlib import Path

import pytest

from tests.moving_in.conftest import player
from tests.moving_in.player import ACCESS, EXPECTED, FIXTURE, Answer, Player
from tests.support.serving import Served

DOMAIN, PREFIX = ACCESS["domain"], ACCESS["prefix"]
FILES = [
    json.loads(line) for line in (FIXTURE / "databases" / f"{PREFIX}__io-cozy-files.jsonl").read_text(encoding="utf-8").splitlines() if line
]


def ask(who: Player, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    return who.ask(method, path, {"Authorization": f"Bearer {who.token}", "Accept": "application/json"} | headers, body)


def place_of(who: Player, id: str) -> tuple[str, str]:
    """The folder that a file is in, and its name."""
    attributes = json.loads(ask(who, "GET", f"/files/{id}").body)["data"]["attributes"]
    folder = json.loads(ask(who, "GET", f"/files/{attributes['dir_id']}").body)["data"]["attributes"]
    return str(folder["name"]), str(attributes["name"])


def test_what_was_trashed_goes_back_where_it_was_without_its_suffix(used: Served):
    who = player(used)
    trashed = [doc for doc in FILES if doc.get("restore_path") and doc["name"].startswith("same.txt")]
    assert len(trashed) == 3
    for doc in trashed:
        assert ask(who, "POST", f"/files/trash/{doc['_id']}").status == 200
    places = sorted(place_of(who, doc["_id"]) for doc in trashed)
    assert [folder for folder, _ in places] == ["T1", "T2", "T2"]
    assert places[0] == ("T1", "same.txt")
    assert sorted(name == "same.txt" for _, name in places[1:]) == [False, True], "the name was taken for the third"


def test_the_next_content_makes_a_version_of_the_one_that_came(used: Served):
    who = player(used)
    file = next(doc for doc in FILES if doc["_id"].endswith("6f9ed5"))
    before = ask(who, "GET", f"/files/download/{file['_id']}").body
    assert ask(who, "PUT", f"/files/{file['_id']}", b"a new content", **{"Content-Type": "text/plain"}).status == 200
    shown = json.loads(ask(who, "GET", f"/files/{file['_id']}").body)
    contents = [
        ask(who, "GET", f"/files/download/{one['id']}").body for one in shown["included"] if one["type"] == "io.cozy.files.versions"
    ]
    assert before in contents


def test_every_client_survives_the_upkeep_that_was_overdue(used: Served):
    who = player(used)
    shown = json.loads(ask(who, "GET", "/settings/clients").body)["data"]
    wanted = next(one for one in EXPECTED["requests"] if one["path"] == "/settings/clients")["json"]["data"]
    assert {one["id"] for one in shown} == {one["id"] for one in wanted}


def test_a_cookie_of_the_old_server_is_of_its_session(used: Served):
    who = Player(used.port, "")
    cookie = {"Cookie": f"{ACCESS['session_cookie']['name']}={ACCESS['session_cookie']['value']}"}
    answer = who.ask("GET", "/settings/sessions/current", cookie)
    assert answer.status == 200
    assert json.loads(answer.body)["data"]["attributes"]["long_run"] is True
    forged = {"Cookie": cookie["Cookie"][:-4] + "AAAA"}
    assert who.ask("GET", "/settings/sessions/current", forged).status in (401, 404)


def test_another_passphrase_ends_the_sessions_that_came(used: Served):
    who = Player(used.port, "")
    recorded = {"form": {"passphrase": ACCESS["passphrase_sent"]["right"], "long-run-session": "0", "redirect": ""}, "path": "/auth/login"}
    assert who.log_in(recorded, {"Accept": "application/json"}).status == 200
    cookie = {"Cookie": f"cozysessid={who.cookies['cozysessid']}"}
    assert who.ask("GET", "/settings/sessions/current", cookie).status == 200
    used.cli("instances", "set", DOMAIN, "--passphrase", "another one of hers, long")
    assert who.ask("GET", "/settings/sessions/current", cookie).status in (401, 404)


def test_the_old_server_gets_its_storage_back(tmp_path: Path, storage: Path, configuration: dict[str, str]):
    server = Served(tmp_path / "data", environ=configuration)
    server.cli("import-cozy", str(FIXTURE), "--storage", str(storage))
    server.cli("export-cozy", DOMAIN, str(tmp_path / "back"))
    found, wanted = tmp_path / "back" / DOMAIN, storage / DOMAIN
    names = {path.relative_to(wanted) for path in wanted.rglob("*")}
    assert names <= {path.relative_to(found) for path in found.rglob("*")} | {path for path in names if (wanted / path).is_dir()}
    for name in names:
        if (wanted / name).is_file():
            assert (found / name).read_bytes() == (wanted / name).read_bytes(), name
    with pytest.raises(RuntimeError, match="there already"):
        server.cli("export-cozy", DOMAIN, str(tmp_path / "back"))
