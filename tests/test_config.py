"""The configuration: one file, the environment, options; every mistake names its place; docs/config.md is true."""

import json
import tomllib
from pathlib import Path

import pytest

from cozyd.config import FREE, TABLES, ConfigError, document, every_option, load, without_secrets
from tests.support.command import Command
from tests.support.serving import Served, free_port

PAGE = Path(__file__).parent.parent / "docs" / "config.md"


def written(folder: Path, text: str) -> Path:
    file = folder / "cozyd.toml"
    file.write_text(text)
    return file


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text() == document()


def test_the_page_has_every_option_and_its_example_is_good(tmp_path: Path):
    for table, key, item in every_option():
        section = document().split(f"## `[{table}]`")[1].split("## ")[0]
        assert f"| `{key}` | `" in section
        assert item.metadata["doc"] in section
    example = document().split("```toml\n")[1].split("```")[0]
    assert load(written(tmp_path, example), {}, {}).server.scheme == "https"


def test_an_option_wins_over_the_environment_that_over_the_file_that_over_the_default(tmp_path: Path):
    file = written(tmp_path, "[server]\nport = 1\nthreads = 2\nhost = '0.0.0.0'")
    config = load(file, {"COZYD_SERVER_PORT": "3", "COZYD_SERVER_THREADS": "4"}, {("server", "port"): 5, ("server", "host"): None})
    assert (config.server.port, config.server.threads, config.server.host, config.limits.form) == (5, 4, "0.0.0.0", 65536)


def test_the_first_file_of_the_usual_places_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "home"
    (home / ".config" / "cozyd").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(home)}
    assert load(None, environ, {}).source == ""
    written(home / ".config" / "cozyd", "[server]\nport = 1")
    assert load(None, environ, {}).server.port == 1
    written(tmp_path, "[server]\nport = 2")
    assert load(None, environ, {}).server.port == 2
    named = tmp_path / "other.toml"
    named.write_text("[server]\nport = 3")
    assert load(None, environ | {"COZYD_CONFIG": str(named)}, {}).server.port == 3
    assert load(written(home, "[server]\nport = 4"), environ | {"COZYD_CONFIG": str(named)}, {}).server.port == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1", "{file} [server]: unknown key prot; did you mean port?"),
        ("[serve]\nport = 1", "{file}: unknown table serve; did you mean server?"),
        ("[zzz]\n", "{file}: unknown table zzz; known: " + ", ".join((*TABLES, *FREE))),
        ("server = 1", "{file}: server has to be a table"),
        ("[server]\nport = '1'", "{file}: server.port: a whole number is expected, not '1'"),
        ("[server]\nport = true", "{file}: server.port: a whole number is expected, not True"),
        ("[server]\nport = 1.5", "{file}: server.port: a whole number is expected, not 1.5"),
        ("[server]\nport = -1", "{file}: server.port: -1 is too small, the least is 0"),
        ("[server]\nport = 65536", "{file}: server.port: 65536 is too large, the most is 65535"),
        ("[server]\nhost = 1", "{file}: server.host: text is expected, not 1"),
        ("[server]\nscheme = 'ftp'", "{file}: server.scheme: 'ftp' is none of http, https"),
        ("[storage]\npath = ''", "{file}: storage.path: a path is expected, not ''"),
        (
            "[redis]\nurl = 'http://me:secret@host'",
            "{file}: redis.url: 'http://me:...@host' is none of what it may be: ",
        ),
        ("[redis]\nurl = 6379", "{file}: redis.url: text is expected, not 6379"),
        ("[log]\nlevel = 'loud'", "{file}: log.level: 'loud' is none of debug, info, warning, error"),
        ("[server", "{file}: Expected ']'"),
        ("[server]\nport = 1\nport = 2", "{file}: Cannot overwrite a value"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, text: str, said: str):
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load(file, {}, {})
    assert str(refused.value).startswith(said.format(file=file))


def test_a_bad_file_ends_every_command_with_its_mistake(tmp_path: Path):
    file = written(tmp_path, "[server]\nprot = 1")
    for command in (["config", "show"], ["instances", "list"], ["serve"]):
        done = Command(tmp_path / "data")("--config", str(file), *command)
        assert (done.status, done.err) == (1, f"Error: {file} [server]: unknown key prot; did you mean port?\n")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("COZYD_SERVER_PRT", "1", "the environment: unknown variable COZYD_SERVER_PRT; did you mean COZYD_SERVER_PORT?"),
        ("COZYD_SERVER_PORT", "many", "COZYD_SERVER_PORT: a whole number is expected, not 'many'"),
        ("COZYD_SERVER_PORT", "", "COZYD_SERVER_PORT: a whole number is expected, not ''"),
        ("COZYD_LOG_FORMAT", "xml", "COZYD_LOG_FORMAT: 'xml' is none of text, json"),
        ("COZYD_CONFIG", "/nowhere/cozyd.toml", "/nowhere/cozyd.toml: there is no such file"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path, name: str, value: str, said: str):
    with pytest.raises(ConfigError) as refused:
        load(None, {name: value}, {})
    assert str(refused.value) == said
    assert Command(tmp_path / "data")("config", "show", **{name: value}).status == 1


def test_a_file_that_is_not_text_is_named(tmp_path: Path):
    file = tmp_path / "cozyd.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"cozyd\.toml"):
        load(file, {}, {})


def test_what_config_show_prints_can_be_read_again(tmp_path: Path):
    file = written(tmp_path, '[server]\nport = 8123\n[storage]\npath = "/tmp/a \\"b\\" \\\\ é"')
    shown = Command(tmp_path / "data")("--config", str(file), "config", "show", COZYD_STORAGE_PATH='/tmp/a "b" \\ é').out
    again = load(written(tmp_path, shown), {}, {})
    assert (again.server.port, str(again.storage.path)) == (8123, '/tmp/a "b" \\ é')
    as_json = json.loads(Command(tmp_path / "data")("config", "show", "--json").out)
    assert set(as_json) == set(tomllib.loads(shown))


def test_config_check_finds_nothing_on_a_good_set_up(tmp_path: Path):
    cozyd = Command(tmp_path / "data")
    done = cozyd("config", "check", COZYD_SERVER_PORT=str(free_port()))
    assert (done.status, done.out.splitlines()[-1]) == (0, "All is well.")
    found = json.loads(cozyd("config", "check", "--json", COZYD_SERVER_PORT=str(free_port())).out)
    assert found["findings"] == []
    assert found["server"] == "not running"


def test_config_check_knows_its_own_server(fresh: Served):
    done = Command(fresh.folder)("config", "check", "--json", COZYD_SERVER_PORT=str(fresh.port))
    assert done.status == 0
    assert json.loads(done.out)["server"] == "running"


def test_config_check_says_what_to_do(tmp_path: Path):
    open_folder = tmp_path / "open"
    open_folder.mkdir(mode=0o755)
    long = tmp_path / ("x" * 100)
    cases = [
        (open_folder, {}, f"{open_folder} can be read by others: chmod 700 {open_folder}"),
        (Path("/etc/passwd/x"), {}, "/etc/passwd is no folder: choose another storage.path"),
        (long, {}, "is too long a path for the admin socket"),
        (tmp_path / "d", {"COZYD_SERVER_HOST": "0.0.0.0"}, "put a reverse proxy before it"),
        (tmp_path / "d", {"COZYD_SERVER_SCHEME": "https"}, "set server.trusted_proxy to its address"),
    ]
    for folder, environ, advice in cases:
        done = Command(folder)("config", "check", **({"COZYD_SERVER_PORT": str(free_port())} | environ))
        assert done.status == 1
        assert advice in done.out


def test_a_password_in_an_address_is_not_shown(tmp_path: Path):
    file = written(tmp_path, "[redis]\nurl = 'redis://:secret@127.0.0.1:6379/0'")
    shown = Command(tmp_path / "data")("--config", str(file), "config", "show").out
    assert "secret" not in shown
    assert 'url = "redis://:...@127.0.0.1:6379/0"' in shown


def test_a_redis_that_does_not_answer_is_found(tmp_path: Path):
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    checked = Command(tmp_path / "data")("config", "check", COZYD_REDIS_URL=url)
    assert checked.status == 1
    assert "Redis does not answer" in checked.out
    assert "secret" not in checked.out


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("s3://127.0.0.1:80/b?AccessKey=a:b&SecretKey=x%2Fy&Region=q", "s3://127.0.0.1:80/b?AccessKey=a:b&SecretKey=...&Region=q"),
        ("swift://host:80/v3?UserName=me&Password=x", "swift://host:80/v3?UserName=me&Password=..."),
        ("http://u:se/cret@host:1/", "http://u:...@host:1/"),
        ("redis://:pw@host:6379/0", "redis://:...@host:6379/0"),
        ("https://host:5984", "https://host:5984"),
    ],
)
def test_an_address_is_shown_without_its_password(value: str, shown: str):
    assert without_secrets(value) == shown
