"""What goes wrong in apps, as Airbrake version 3 reports it: checked, cut, kept in a rotated file (docs/http/errors-of-apps.md)."""

import hashlib
import hmac
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cozyd import jsons
from cozyd.errors import BadRequest, CozyError, NotFound

LARGEST = 64 << 10
ROTATED_AT, KEPT_FILES = 4 << 20, 4
MOST_ERRORS, MOST_FRAMES, LONGEST_TEXT, DEEPEST = 20, 200, 4_000, 8
_PRIVATE = re.compile(r"pass|secret|token|authorization|cookie", re.IGNORECASE)


class Notices:
    """The file of all instances' notices.

    :param path: of the newest one; older ones end in `.1` and so on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def add(self, tenant: str, slug: str, notice: Mapping[str, Any], time: str) -> str:
        """Keep a notice; its id.

        :param notice: as `checked` gives it.
        """
        id = str(uuid.uuid4())
        line = jsons.dump({"id": id, "tenant": tenant, "slug": slug, "time": time} | dict(notice)) + b"\n"
        with self._lock:
            if self._path.exists() and self._path.stat().st_size + len(line) > ROTATED_AT:
                self._rotate()
            with open(self._path, "ab") as file:
                file.write(line)
        return id

    def list(self, tenant: str, *, limit: int = 100) -> Sequence[Mapping[str, Any]]:
        """A tenant's notices, the newest first."""
        found = [notice for notice in self._read() if notice.get("tenant") == tenant]
        return found[-limit:][::-1]

    def get(self, tenant: str, id: str) -> Mapping[str, Any]:
        """One notice of a tenant.

        :raises NotFound: it has none of this id, or no longer.
        """
        for notice in self._read():
            if notice.get("tenant") == tenant and notice.get("id") == id:
                return notice
        raise NotFound("There is no such notice")

    # -- inside -----------------------------------------------------------------------------------------------------

    def _rotate(self) -> None:
        for number in range(KEPT_FILES - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)

    def _read(self) -> Iterator[Mapping[str, Any]]:
        names = [*(f"{self._path.name}.{number}" for number in range(KEPT_FILES - 1, 0, -1)), self._path.name]
        for path in (self._path.with_name(name) for name in names):
            if not path.exists():
                continue
            for line in path.read_bytes().splitlines():
                try:
                    yield jsons.load_object(line)
                except CozyError:
                    continue  # half of a line, from before a power cut


def key_of(secret: str, slug: str) -> str:
    """What an app shows to report, and to do nothing else."""
    return f"{slug}.{hmac.digest(secret.encode(), b'airbrake' + slug.encode(), hashlib.sha256).hex()[:40]}"


def slug_of(secret: str, key: str) -> str | None:
    """The app a key is for; None: it is none."""
    slug = key.partition(".")[0]
    return slug if slug and hmac.compare_digest(key.encode("utf-8", "replace"), key_of(secret, slug).encode()) else None


def checked(body: bytes) -> Mapping[str, Any]:
    """A notice as it may be kept: secrets and queries left out, long texts cut.

    :raises BadRequest: it is none.
    """
    given = jsons.load_object(body)
    errors = given.get("errors")
    if not isinstance(errors, list) or not errors or not all(isinstance(one, dict) for one in errors):
        raise BadRequest("errors has to be a list of errors")
    context = given.get("context")
    context = dict(context) if isinstance(context, dict) else {}
    for name in ("url", "rootDirectory"):
        if isinstance(context.get(name), str):
            context[name] = _without_query(context[name])
    kept = {name: given[name] for name in ("environment", "session", "params") if isinstance(given.get(name), dict)}
    found: dict[str, Any] = _cut({"errors": errors[:MOST_ERRORS], "context": context} | kept, DEEPEST)
    return found


def _cut(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        if depth == 0:
            return {}
        return {str(name)[:200]: "[left out]" if _PRIVATE.search(str(name)) else _cut(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner, depth - 1) for inner in value[:MOST_FRAMES]] if depth else []
    return value[:LONGEST_TEXT] if isinstance(value, str) else value


def _without_query(url: str) -> str:
    try:
        return urlunsplit(urlsplit(url)._replace(query="", fragment=""))
    except ValueError:
        return ""
