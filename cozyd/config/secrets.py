"""Secrets of the configuration: read from the files that options name, left out of what is shown."""

import re
from pathlib import Path

from cozyd.config.errors import ConfigError


def without_secrets(value: str) -> str:
    """An option's value as it may be shown: passwords in addresses are left out."""
    return re.sub(r"((?:Password|Token|SecretKey)=)[^&\s]+|(//[^/@:\s]*:)[^@\s]+(?=@)", r"\1\2...", value)


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
