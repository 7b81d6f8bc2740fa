"""`cozyd.toml` and `COZYD_*` -> one frozen `Config`, each value checked."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_type_hints

from cozyd.config.errors import ConfigError
from cozyd.config.secrets import secret_of, without_secrets
from cozyd.config.tables import FREE, PROVIDER, TABLES, TEMPLATE, Config, Free, every_option

FILE_NAME = "cozyd.toml"


def load(path: Path | None, environ: Mapping[str, str], options: Mapping[tuple[str, str], Any]) -> Config:
    """Read the configuration: an option wins over the environment, that over the file, that over the default.

    :param path: the file named on the command line; None: the first found of the usual places, or none.
    :param environ: `COZYD_SERVER_PORT` for `port` in `[server]`.
    :param options: (table, key) -> value from the command line; None values count as absent.
    :raises ConfigError: unknown key, wrong type, bad value.
    """
    file = _find(path, environ)
    given = _read(file) if file is not None else {}
    where = str(file) if file is not None else "the configuration"
    for name in given:
        _known(name, {**TABLES, **FREE}, where, "table")
    values: dict[str, Any] = {name: _table(name, kind, given.get(name, {}), environ, options, where) for name, kind in TABLES.items()}
    values |= {name: _free(name, given.get(name, {}), where) for name in FREE}
    _check_templates(values["templates"], where)
    values["oidc"] = {name: _provider(name, given, where) for name, given in values["oidc"].items()}
    for name in environ:
        _check_variable(name)
    return Config(**values, source=str(file or ""))


def _provider(name: str, given: Mapping[str, Any], where: str) -> Mapping[str, str]:
    """One provider, with its secret read.

    :raises ConfigError: unknown key, wrong type, no issuer or client_id, an address that is none of the web.
    """
    place = f"{where} [oidc.{name}]"
    for key, value in given.items():
        _known(key, PROVIDER, place, "key")
        if not isinstance(value, str):
            raise ConfigError(f"{place}: {key} has to be text, not {value!r}")
        if (key == "issuer" or key.endswith(("_url", "_uri"))) and not re.fullmatch(r"https?://\S+", value):
            raise ConfigError(f"{place}: {key} has to be an address, not {value!r}")
    for key in ("issuer", "client_id"):
        if not given.get(key) and set(given) != {"jwt_secret_file"}:
            raise ConfigError(f"{place}: {key} is missing")
    found = {key: str(value) for key, value in given.items() if not key.endswith("_file")}
    secrets = {key: secret_of(f"oidc.{name}.{key}_file", str(given.get(f"{key}_file", ""))) for key in ("client_secret", "jwt_secret")}
    return found | {key: secret for key, secret in secrets.items() if secret}


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or (Path(environ["COZYD_CONFIG"]) if environ.get("COZYD_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"{named}: there is no such file")
        return named
    home = Path(environ.get("HOME", "/"))
    places = (Path(FILE_NAME), home / ".config" / "cozyd" / FILE_NAME, Path("/etc/cozyd") / FILE_NAME)
    return next((place for place in places if place.is_file()), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as cause:
        raise ConfigError(f"{file}: {cause}") from cause


def _known(name: str, known: Mapping[str, Any], where: str, what: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
    raise ConfigError(f"{where}: unknown {what} {name}{hint}")


def _table(name: str, kind: type, given: Any, environ: Mapping[str, str], options: Mapping[tuple[str, str], Any], where: str) -> Any:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: {name} has to be a table")
    known = {item.name: item for item in fields(kind)}
    for key in given:
        _known(key, known, f"{where} [{name}]", "key")
    hints = get_type_hints(kind)
    values = {}
    for key, item in known.items():
        variable = f"COZYD_{name}_{key}".upper()
        if options.get((name, key)) is not None:
            values[key] = _check(options[name, key], hints[key], item, f"option --{key.replace('_', '-')}")
        elif variable in environ:
            values[key] = _check(_from_text(environ[variable], hints[key], variable), hints[key], item, variable)
        elif key in given:
            values[key] = _check(given[key], hints[key], item, f"{where}: {name}.{key}")
        else:
            values[key] = _check(item.default, hints[key], item, f"{name}.{key}")
    return kind(**values)


def _free(name: str, given: Any, where: str) -> Free:
    """A table of tables."""
    if not isinstance(given, Mapping) or not all(isinstance(one, Mapping) for one in given.values()):
        raise ConfigError(f"{where}: {name} has to be tables, [{name}.<name>]")
    return given


_KINDS: Mapping[type, str] = {str: "text", list: "a list", dict: "a table"}


def _check_templates(templates: Free, where: str) -> None:
    """Refuse what no template may say."""
    for name, template in templates.items():
        for key, value in template.items():
            _known(key, TEMPLATE, f"{where} [templates.{name}]", "key")
            if not isinstance(value, TEMPLATE[key][0]):
                what = _KINDS[TEMPLATE[key][0]]
                raise ConfigError(f"{where}: templates.{name}.{key}: {what} is expected, not {value!r}")


def _from_text(text: str, kind: type, variable: str) -> Any:
    if kind is not int:
        return text
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{variable}: a whole number is expected, not {text!r}") from None


def _check(value: Any, kind: type, item: Field[Any], where: str) -> Any:
    if kind is Path and isinstance(value, str | Path) and str(value).strip():
        return Path(value).expanduser().absolute()
    if not isinstance(value, kind) or isinstance(value, bool):
        expected = {int: "a whole number", str: "text", Path: "a path"}[kind]
        raise ConfigError(f"{where}: {expected} is expected, not {value!r}")
    low, high, choices = (item.metadata[name] for name in ("low", "high", "choices"))
    if low is not None and value < low:
        raise ConfigError(f"{where}: {value} is too small, the least is {low}")
    if high is not None and value > high:
        raise ConfigError(f"{where}: {value} is too large, the most is {high}")
    if choices and value not in choices:
        raise ConfigError(f"{where}: {value!r} is none of {', '.join(choices)}")
    if item.metadata["pattern"] and not re.fullmatch(item.metadata["pattern"], str(value)):
        raise ConfigError(f"{where}: {without_secrets(str(value))!r} is none of what it may be: {item.metadata['doc']}")
    return value


def _check_variable(name: str) -> None:
    """A misspelt variable is an error, as a misspelt key is; those that tests set are not ours."""
    if not name.startswith("COZYD_") or name == "COZYD_CONFIG" or name.startswith("COZYD_TEST_"):
        return
    known = {f"COZYD_{table}_{key}".upper(): None for table, key, _ in every_option()}
    _known(name, known, "the environment", "variable")
