"""What is wrong with a configuration."""


class ConfigError(Exception):
    """A configuration that cannot be used; the text names file and key."""
