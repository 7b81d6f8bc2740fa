"""`cozyd.toml` and `COZYD_*` -> one frozen `Config`; every default and its check (docs/config.md is made from here)."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

FILE_NAME = "cozyd.toml"


class ConfigError(Exception):
    """A configuration that cannot be used; the text names file and key."""


def option(
    default: Any,
    doc: str,
    *,
    low: int | None = None,
    high: int | None = None,
    choices: tuple[str, ...] = (),
    pattern: str = "",
    secret: bool = False,
) -> Any:
    """A dataclass field that is an option: its default, what it is for, and what it may be.

    :param secret: it is never shown.
    """
    known = {"doc": doc, "low": low, "high": high, "choices": choices, "pattern": pattern, "secret": secret}
    return field(default=default, metadata=known)


@dataclass(frozen=True, slots=True)
class Server:
    """`[server]`: where and how the process listens."""

    host: str = option("127.0.0.1", "Address to listen on; `0.0.0.0` for every network of the machine.")
    port: int = option(8080, "TCP port; 0 picks a free one.", low=0, high=65535)
    scheme: str = option("http", "Scheme of the addresses the server gives out: `https` behind a TLS proxy.", choices=("http", "https"))
    threads: int = option(8, "Threads that work on requests.", low=1, high=512)
    environment: str = option(
        "prod",
        "What the server is for; says which apps a new instance has when nothing else does (docs/instances.md).",
        choices=("dev", "test", "prod"),
    )
    subdomains: str = option(
        "nested",
        "Where apps live: `drive.alice.example.org`, or flat, `alice-drive.example.org`, for one certificate of all.",
        choices=("nested", "flat"),
    )
    admin_port: int = option(
        0,
        "TCP port for tools that drive a cozy-stack, on `admin_host`; they show the key in `admin.key` of the data folder. 0: only the "
        "socket file.",
        low=0,
        high=65535,
    )
    admin_host: str = option("127.0.0.1", "Address of `admin_port`; another one than this machine's own wants a TLS proxy before it.")
    trusted_proxy: str = option("", "Address of the reverse proxy whose `X-Forwarded-For` and `-Proto` are believed.")
    connections: int = option(4000, "Connections open at once.", low=10)
    head_timeout: int = option(20, "Seconds a client may take to send a request's head.", low=1)
    body_timeout: int = option(30, "Seconds without a byte after which a body is given up.", low=1)


@dataclass(frozen=True, slots=True)
class Storage:
    """`[storage]`: where the data lies."""

    path: Path = option(Path("~/.local/share/cozyd"), "One folder for everything: documents, files, lock, admin socket.")
    documents: str = option(
        "sqlite:",
        "Where documents lie: `sqlite:`, below `path`, or CouchDB, `https://user:password@host:5984/` (docs/documents.md).",
        pattern=r"sqlite:|https?://\S+",
    )
    documents_password_file: str = option("", "A file that has the password of `documents`, so that the address need not have it.")
    blobs: str = option(
        "file:",
        "Where contents of files lie: `file:`, below `path`, or OpenStack Swift, `swift://host/v3?UserName=...` (docs/storage.md).",
        pattern=r"file:|swift(\+https)?://\S+",
    )
    blobs_password_file: str = option("", "A file that has the password of `blobs`, so that the address need not have it.")


@dataclass(frozen=True, slots=True)
class Documents:
    """`[documents]`: what is asked of documents (docs/doctypes/README.md)."""

    validation: str = option(
        "off",
        "Whether documents have to be as their doctype is described: `warn` writes a line in the log, `strict` refuses those that are not.",
        choices=("off", "warn", "strict"),
    )


@dataclass(frozen=True, slots=True)
class Redis:
    """`[redis]`: for several processes over the same data (docs/farm.md)."""

    url: str = option(
        "",
        "Address of a Redis that all processes share: `redis://host:6379/0`, `rediss://`, `unix:///path?db=0`; without, one process "
        "has the data folder for itself.",
        pattern=r"|rediss?://\S+|unix:///\S+",
    )


@dataclass(frozen=True, slots=True)
class Files:
    """`[files]`: how many contents of a file are kept."""

    versions: int = option(20, "Contents of one file, the present one among them; 0 keeps no earlier one. Tagged ones always stay.", low=0)
    trash_days: int = option(0, "Days after which what is in the trash is removed for good; 0: it stays until she empties it.", low=0)
    versions_apart: int = option(900, "Seconds after a version in which no further untagged one is kept.", low=0)


_ADDRESS = r"|[^@\s<>]+@[^@\s<>]+"


@dataclass(frozen=True, slots=True)
class Mail:
    """`[mail]`: how mails leave (docs/mails.md)."""

    host: str = option("", "The SMTP server that takes our mails; without, no mail leaves and each is an error; `-` drops them silently.")
    port: int = option(587, "Its port: 587 for `starttls`, 465 for `tls`, 25 for `none`.", low=1, high=65535)
    tls: str = option(
        "starttls", "How the connection is secured; `none` is for a relay on this machine.", choices=("starttls", "tls", "none")
    )
    ca_file: str = option("", "Certificates of the authority that signed the SMTP server's, where it is no public one.")
    user: str = option("", "The user name there; without, we do not log in.")
    password: str = option("", "The password there.", secret=True)
    password_file: str = option("", "A file that has it.")
    sender: str = option("", "The address in From; without, `noreply@` and the instance's domain.", pattern=_ADDRESS)
    name: str = option("", "The name in From.")
    reply_to: str = option("", "The address that answers go to.", pattern=_ADDRESS)
    support: str = option("", "Who gets requests for support; without, `reply_to`.", pattern=_ADDRESS)


@dataclass(frozen=True, slots=True)
class Push:
    """`[push]`: messages to devices and browsers by their push services (Web Push)."""

    key_file: str = option(
        "", "A file with the server's VAPID key, PEM of P-256; without, `vapid.pem` below `storage.path` is made and used."
    )
    contact: str = option(
        "",
        "Who push services may write to: `mailto:ops@example.org` or an `https:` address; without, the address of the instance.",
        pattern=r"|mailto:\S+@\S+|https://\S+",
    )


@dataclass(frozen=True, slots=True)
class Jobs:
    """`[jobs]`: who does what is done later (docs/jobs.md)."""

    in_server: str = option(
        "yes", "Whether `cozyd serve` runs jobs; `no` leaves them to `cozyd worker` processes, which need a Redis.", choices=("yes", "no")
    )


@dataclass(frozen=True, slots=True)
class Accounts:
    """`[accounts]`: how the passwords of accounts are sealed (docs/moving-in.md)."""

    encryptor_key_file: str = option(
        "",
        "The file of a cozy-stack's `vault.credentials_encryptor_key`: what it seals, we do; without, the instance's own key seals.",
    )
    decryptor_key_file: str = option("", "Its `vault.credentials_decryptor_key`.")


@dataclass(frozen=True, slots=True)
class Limits:
    """`[limits]`: the largest request bodies, in bytes."""

    upload: int = option(1 << 40, "A file's content.", low=1)
    body: int = option(16 << 20, "Any other request: documents, calendars, address books.", low=1 << 16)
    form: int = option(1 << 16, "A form of the log-in pages.", low=1 << 10)


@dataclass(frozen=True, slots=True)
class Apps:
    """`[apps]`: web apps and konnectors (docs/apps.md)."""

    registries: str = option(
        "", "Registries in order, separated by spaces: `local:///folder` or `https://...`; the first that knows a slug owns it."
    )
    requests: Path = option(
        Path("~/.config/cozyd/requests"),
        "A folder of requests to other servers, `<doctype>/request`, that apps may have sent (docs/http/remote.md).",
    )
    account_types: Path = option(
        Path("~/.config/cozyd/account_types.json"),
        "A file (JSON) of the providers that konnectors sign in at (docs/http/accounts.md).",
    )
    proxy: str = option(
        "", "Hosts that apps may fetch from by `/proxy`, separated by spaces: `api.example.org *.openstreetmap.org`. None: it is off."
    )
    npm: str = option(
        "",
        "Address of the npm registry that `npm:` sources come from; without, the one that npm itself is set up for here.",
        pattern=r"|https?://\S+",
    )


@dataclass(frozen=True, slots=True)
class Outbound:
    """`[outbound]`: requests to servers that somebody else chose: sources of apps, registries, what apps ask for (docs/outbound.md)."""

    allow: str = option(
        "",
        "Hosts, with or without a port, separated by spaces, that may be asked though their address is private: `10.0.0.7 lab.lan:8443`.",
    )
    authorities: str = option("", "A file of certificates (PEM) to trust in place of the usual ones.")


@dataclass(frozen=True, slots=True)
class Log:
    """`[log]`: what is said on standard error."""

    level: str = option("info", "The least level that is written.", choices=("debug", "info", "warning", "error"))
    format: str = option("text", "For people, or one JSON object a line.", choices=("text", "json"))


Free = Mapping[str, Mapping[str, Any]]
FREE = {
    "contexts": "What instances of a context have in common. The keys are cozy-stack's, every app may read them at `/settings/context`: no "
    "secrets here. `default` is for instances that name no context, or one that is not there.",
    "templates": "Values for new instances: `cozyd instances add DOMAIN --template NAME`.",
    "oidc": "OpenID Connect providers by context: instances of it may log in there (docs/http/auth.md).",
}
"""Tables of tables whose names, and for contexts whose keys, are the operator's."""
TEMPLATE: Mapping[str, tuple[type, str]] = {
    "context": (str, "The context."),
    "locale": (str, "The language."),
    "timezone": (str, "The time zone, as `Europe/Paris`."),
    "disk_quota": (str, "What files may take: `10GB`."),
    "apps": (list, "Slugs of the apps that are installed."),
    "settings": (dict, "Members of the settings document."),
    "features": (dict, "Feature flags of the instance."),
}
"""What a template may say: the type of its value, and what it is for."""


PROVIDER: Mapping[str, str] = {
    "issuer": "Its address, as it names itself.",
    "client_id": "Who this server is there.",
    "client_secret": "The secret that goes with it; without one PKCE alone protects.",
    "client_secret_file": "A file that has the secret.",
    "name": "What the log-in page calls it.",
    "scope": "What is asked for: `openid`, and scopes that bring the claims needed.",
    "authorize_url": "These four where the provider does not describe itself (`/.well-known/openid-configuration`).",
    "token_url": "As above.",
    "jwks_url": "As above.",
    "logout_url": "As above.",
    "redirect_uri": "`https://<one instance>/oidc/redirect`, which leads on to the others; without one each instance has its own.",
    "userinfo_instance_field": "The claim that names the domain; without one `sub` is compared with the instance's `oidc_id`.",
    "userinfo_instance_prefix": "What stands before its value in the domain,",
    "userinfo_instance_suffix": "and behind it.",
}
"""What a provider may say, all of it text."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration.

    :param contexts: name -> what `[contexts.<name>]` says.
    :param templates: name -> what `[templates.<name>]` says.
    :param oidc: context -> what `[oidc.<context>]` says.
    """

    server: Server = field(default_factory=Server)
    storage: Storage = field(default_factory=Storage)
    documents: Documents = field(default_factory=Documents)
    redis: Redis = field(default_factory=Redis)
    files: Files = field(default_factory=Files)
    jobs: Jobs = field(default_factory=Jobs)
    push: Push = field(default_factory=Push)
    mail: Mail = field(default_factory=Mail)
    accounts: Accounts = field(default_factory=Accounts)
    limits: Limits = field(default_factory=Limits)
    apps: Apps = field(default_factory=Apps)
    outbound: Outbound = field(default_factory=Outbound)
    log: Log = field(default_factory=Log)
    contexts: Free = field(default_factory=dict)
    templates: Free = field(default_factory=dict)
    oidc: Free = field(default_factory=dict)
    source: str = ""


TABLES: Mapping[str, type] = {
    "server": Server,
    "storage": Storage,
    "documents": Documents,
    "redis": Redis,
    "files": Files,
    "jobs": Jobs,
    "push": Push,
    "mail": Mail,
    "accounts": Accounts,
    "limits": Limits,
    "apps": Apps,
    "outbound": Outbound,
    "log": Log,
}


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
        if not given.get(key):
            raise ConfigError(f"{place}: {key} is missing")
    found = {key: str(value) for key, value in given.items() if key != "client_secret_file"}
    secret = secret_of(f"oidc.{name}.client_secret_file", str(given.get("client_secret_file", "")))
    return found | ({"client_secret": secret} if secret else {})


def without_secrets(value: str) -> str:
    """An option's value as it may be shown: passwords in addresses are left out."""
    return re.sub(r"((Password|Token)=|//[^/@:\s]*:)[^&@\s]+", r"\1...", value)


def secret_of(key: str, file: str) -> str:
    """The secret in a file that an option names; empty when it names none.

    :param key: the option.
    :raises ConfigError: the file cannot be read, or is empty.
    """
    if not file:
        return ""
    try:
        text = Path(file).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(f"{key}: {file} cannot be read: {cause}") from cause
    if not text:
        raise ConfigError(f"{key}: {file} is empty")
    return text


def every_option() -> Iterator[tuple[str, str, Field[Any]]]:
    """(table, key, its definition) of every option."""
    for name, kind in TABLES.items():
        for item in fields(kind):
            yield name, item.name, item


def document() -> str:
    """docs/config.md."""
    lines = [
        "# Configuration",
        "One file, `cozyd.toml`, from `--config`, `$COZYD_CONFIG`, `./`, `~/.config/cozyd/` or `/etc/cozyd/`, in this order. No file",
        "is fine too. Each key may come as an environment variable (`COZYD_SERVER_PORT`); a command's option wins over the",
        "environment, that over the file. `cozyd config show` prints what is in force, `cozyd config check` says what to do about it.",
        "An unknown table, key or variable and a bad value are errors that name the file and the key. Paths may begin with `~`.",
        "This page is made from `cozyd/config.py`.",
        "",
        "```toml",
        "# /etc/cozyd/cozyd.toml, behind a TLS proxy on the same machine",
        "[server]",
        'scheme = "https"',
        'trusted_proxy = "127.0.0.1"',
        "",
        "[storage]",
        'path = "/srv/cozyd"',
        "```",
    ]
    for name, kind in TABLES.items():
        lines += [
            "",
            f"## `[{name}]`",
            (kind.__doc__ or "").split(": ", 1)[1].capitalize(),
            "",
            "| key | default | meaning |",
            "|---|---|---|",
        ]
        for item in fields(kind):
            bounds = _bounds(item)
            choices = f" One of {', '.join(f'`{one}`' for one in item.metadata['choices'])}." if item.metadata["choices"] else ""
            lines.append(f"| `{item.name}` | `{_shown(item.default)}` | {item.metadata['doc']}{choices}{bounds} |")
    return "\n".join(lines + _document_free()) + "\n"


def _document_free() -> list[str]:
    lines = [
        "",
        "## `[contexts.<name>]`",
        FREE["contexts"],
        "",
        "## `[templates.<name>]`",
        FREE["templates"],
        "",
        "| key | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{key}` | {meaning} |" for key, (_, meaning) in TEMPLATE.items()]
    lines += ["", "## `[oidc.<context>]`", FREE["oidc"], "", "| key | meaning |", "|---|---|"]
    return [*lines, *(f"| `{key}` | {meaning} |" for key, meaning in PROVIDER.items())]


def _bounds(item: Field[Any]) -> str:
    low, high = item.metadata["low"], item.metadata["high"]
    if low is None:
        return ""
    return f" At least {low}, at most {high}." if high is not None else f" At least {low}."


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, int | Path) else f'"{value}"'


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
