"""Files that come with cozyd beside its code: pages, assets, the starter of new apps, the apps of its own."""

from pathlib import Path


def folder(name: str) -> Path:
    """Where `pages`, `assets`, `starter` or `apps` lie: in the installed package, or in the checkout."""
    package = Path(__file__).parent
    installed = package / "_static" / name
    return installed if installed.is_dir() else package.parent / "static" / name
