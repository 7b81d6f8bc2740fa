"""`cozyd apps create`: a new app's folder, made from the starter."""

import re
from pathlib import Path

from cozyd.apps.manifest import check_slug
from cozyd.errors import Conflict

RENAMED = {"npmrc": ".npmrc", "gitignore": ".gitignore"}


def create(starter: Path, target: Path, slug: str) -> None:
    """Write the starter's files with the app's name in them.

    :param target: made; it has to be absent or empty.
    :raises Invalid: the name cannot be a slug.
    :raises Conflict: there is something in the folder.
    """
    check_slug(slug)
    if target.exists() and any(target.iterdir()):
        raise Conflict(f"{target} is not empty")
    doctype = re.sub(r"[^a-z0-9]", "", slug) or "app"
    for source in sorted(path for path in starter.rglob("*") if path.is_file()):
        path = target / source.relative_to(starter).with_name(RENAMED.get(source.name, source.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.read_text().replace("__slug__", slug).replace("__doctype__", f"{doctype}.lines"))
