"""What a browser says about itself in `User-Agent`: its name and its system, for lists that people read. No I/O."""

import re

_BROWSERS = (
    ("Edge", r"Edg(?:e|A|iOS)?/"),
    ("Opera", r"OPR/|Opera"),
    ("Samsung Internet", r"SamsungBrowser/"),
    ("Firefox", r"Firefox/|FxiOS/"),
    ("Chrome", r"Chrome/|CriOS/|Chromium/"),
    ("Safari", r"Safari/"),
)
_SYSTEMS = (
    ("iOS", r"iPhone|iPad|iPod"),
    ("Android", r"Android"),
    ("Windows", r"Windows"),
    ("macOS", r"Mac OS X|Macintosh"),
    ("ChromeOS", r"CrOS"),
    ("Linux", r"Linux|X11"),
)
_PROGRAM = re.compile(r"[A-Za-z][\w.-]{0,39}(?=/|$)")


def browser_of(agent: str) -> str:
    """The browser's name, or the program's; empty when it does not say."""
    named = _first(_BROWSERS, agent)
    if named:
        return named
    program = _PROGRAM.match(agent)
    return program[0] if program else ""


def system_of(agent: str) -> str:
    """The operating system's name; empty when it does not say."""
    return _first(_SYSTEMS, agent)


def device_of(agent: str) -> str:
    """Both, as a person would say it: `Firefox, Linux`."""
    return ", ".join(name for name in (browser_of(agent), system_of(agent)) if name)


def _first(table: tuple[tuple[str, str], ...], agent: str) -> str:
    return next((name for name, pattern in table if re.search(pattern, agent)), "")
