"""The configuration: one frozen `Config` from a file, the environment and options of commands (docs/config.md)."""

from cozyd.config.errors import ConfigError
from cozyd.config.page import document
from cozyd.config.reading import load
from cozyd.config.secrets import secret_of, without_secrets
from cozyd.config.tables import (
    FREE,
    TABLES,
    Accounts,
    Apps,
    Config,
    Documents,
    Files,
    Jobs,
    Limits,
    Log,
    Mail,
    Outbound,
    Push,
    Redis,
    Server,
    Storage,
    every_option,
)

__all__ = [
    "FREE",
    "TABLES",
    "Accounts",
    "Apps",
    "Config",
    "ConfigError",
    "Documents",
    "Files",
    "Jobs",
    "Limits",
    "Log",
    "Mail",
    "Outbound",
    "Push",
    "Redis",
    "Server",
    "Storage",
    "document",
    "every_option",
    "load",
    "secret_of",
    "without_secrets",
]
