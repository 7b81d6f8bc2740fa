"""The logos that the home application shows: those of the context, and of the sponsors of an instance (pure)."""

from collections.abc import Mapping
from posixpath import basename
from typing import Any

HOME, THEMES = "home", ("light", "dark")


def with_sponsors(context: Mapping[str, Any], sponsors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A context with the logos of sponsors behind its own; a sponsor's main one, and one that is there, are left out.

    :param sponsors: name -> its context.
    """
    if not sponsors:
        return dict(context)
    all_logos = _table(context.get("logos"))
    home = _table(all_logos.get(HOME))
    for theme in THEMES:
        shown = _logos(home, theme)
        for name, sponsor in sponsors.items():
            for logo in _logos(_table(_table(sponsor.get("logos")).get(HOME)), theme):
                known = {basename(str(one.get("src", ""))) for one in shown}
                if logo.get("type") != "main" and basename(str(logo.get("src", ""))) not in known:
                    shown.append({**logo, "src": f"/ext/{name}{logo.get('src', '')}"})
        if shown:
            home[theme] = shown
    return {**context, "logos": {**all_logos, HOME: home}}


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _logos(home: Mapping[str, Any], theme: str) -> list[dict[str, Any]]:
    found = home.get(theme)
    return [dict(logo) for logo in found if isinstance(logo, Mapping)] if isinstance(found, list) else []
