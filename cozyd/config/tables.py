"""Every table and option, its default and what it may be (docs/config.md is made from here)."""

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any


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
    well_known: Path = option(
        Path("~/.config/cozyd/well-known"),
        "A folder with `security.txt`, `assetlinks.json` or `apple-app-site-association`, which every instance answers with.",
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
        "Where contents of files lie: `file:`, below `path`, OpenStack Swift, `swift://host/v3?UserName=...`, "
        "or S3, `s3://host/bucket?AccessKey=...` (docs/storage.md).",
        pattern=r"file:|(swift|s3)(\+https)?://\S+",
    )
    blobs_password_file: str = option("", "A file that has the password of `blobs`, so that the address need not have it.")

    @property
    def admin_socket(self) -> Path:
        """Where the running server listens to the operator."""
        return self.path / "admin.sock"


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
    threads: str = option(
        "",
        "How many threads a queue has in this process in place of its own number, as `programs=8 contents=0`; with 0 its jobs are left to "
        "other processes (docs/workers.md names the queues).",
        pattern=r"|[a-z]+=[0-9]{1,3}( [a-z]+=[0-9]{1,3})*",
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
        "",
        "Registries in order, separated by spaces: `local:///folder` or `https://...`; the first that knows a slug owns it. `bundled:` "
        "are the apps that come with cozyd; where it is not named, it is the first.",
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
    allowed_origins: str = option(
        "",
        "Origins that pages of apps may load from and talk to beside their own hosts, separated by spaces: `https://tile.example.org`.",
        pattern=r"|(https?|wss?)://[A-Za-z0-9.*:\[\]-]+( (https?|wss?)://[A-Za-z0-9.*:\[\]-]+)*",
    )
    remote_assets: str = option(
        "",
        "Files of other servers that apps may read by `/remote/assets/<name>`, separated by spaces: `bank=https://example.org/bank.json`.",
        pattern=r"|[A-Za-z0-9._-]+=https?://\S+( [A-Za-z0-9._-]+=https?://\S+)*",
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
    "jwt_secret_file": "A file with the secret, in base64, that a managing service signs `?jwt=` of log-ins with; may stand alone.",
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


def every_option() -> Iterator[tuple[str, str, Field[Any]]]:
    """(table, key, its definition) of every option."""
    for name, kind in TABLES.items():
        for item in fields(kind):
            yield name, item.name, item
